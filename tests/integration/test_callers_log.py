"""No token reaches the log, whether it is right or wrong, on whichever port, and at the lowest level."""

import signal
from hashlib import sha256
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import grpc

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc
from tests.support.server_process import PATIENCE, started
from tests.support.signed import AUDIENCE, ISSUER, Issuer
from tests.support.tiny_model import TinyModel

TOKEN = "s3cret-of-ann"


def test_the_log_has_callers_and_no_token(tiny: TinyModel, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"ann {sha256(TOKEN.encode()).hexdigest()}\n")
    issuer = Issuer()
    keys = issuer.write(tmp_path / "keys")
    signed = issuer.token(sub="eve")
    shown = [TOKEN, "s3cret-that-is-wrong", signed, f"{signed[:-4]}AAAA", issuer.token(exp=1), "s3cret.s3cret.s3cret"]
    options = ("--auth-tokens-file", tokens, "--auth-jwks-file", keys, "--auth-jwt-issuer", ISSUER)
    log_level = ("--auth-jwt-audience", AUDIENCE, "--log-level", "debug")
    with started("--model", tiny.int8, *options, *log_level) as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            stub = generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]
            assert [served(server.http_port, stub, token) for token in shown] == [
                True,
                False,
                True,
                False,
                False,
                False,
            ]
        server.process.send_signal(signal.SIGTERM)
        _, log = server.process.communicate(timeout=PATIENCE)
    assert '"caller": "ann"' in log
    assert '"caller": "eve"' in log
    assert "credential_refused" in log
    assert not [part for token in shown for part in token.split(".") if part in log]
    assert "s3cret" not in log


def served(http_port: int, stub: generation_pb2_grpc.GenerationServiceStub, token: str) -> bool:
    """Returns whether both ports accept ``token``."""
    found = set()
    try:
        stub.ListModels(pb.ListModelsRequest(), metadata=(("authorization", f"Bearer {token}"),))
        found.add("OK")
    except grpc.RpcError as error:
        found.add(error.code().name)
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with urlopen(Request(f"http://127.0.0.1:{http_port}/metrics", headers=headers)):
            found.add("OK")
    except HTTPError as error:
        found.add("UNAUTHENTICATED" if error.code == 401 else str(error.code))
    (outcome,) = found
    return outcome == "OK"
