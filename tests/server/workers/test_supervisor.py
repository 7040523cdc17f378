"""Several workers as a process that users start: it serves, is watched, and ends as one server."""

import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc
from nextchar_server import cores
from nextchar_server.settings.config import Config
from nextchar_server.shares import shares
from nextchar_server.workers.supervisor import part_of
from tests.support.server_process import COMMAND, PATIENCE, ServerProcess, started
from tests.support.tiny_model import TinyModel
from tests.support.waiting import until

ENDLESS = 2**31 - 1
TWO = ("--workers", "2", "--lanes", "1")


@contextmanager
def connected(server: ServerProcess) -> Iterator[Any]:
    """A connection of its own, to the worker that the kernel chooses."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options) as channel:
        yield generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]


def generate(stub: Any, **start: Any) -> tuple[str, bytes]:
    """Returns a text of ten characters, and the token with which it continues."""
    request = pb.GenerateStreamRequest(parameters=pb.GenerationParameters(max_characters=10), **start)
    events = list(stub.GenerateStream(request, timeout=PATIENCE))
    return "".join(event.delta.text for event in events), events[-1].finished.resume_token


def metrics(server: ServerProcess) -> dict[str, float]:
    """The metrics by their name and labels, from the worker that the kernel chooses."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://127.0.0.1:{server.http_port}/metrics", timeout=PATIENCE) as response:
        lines = response.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


@pytest.fixture(scope="module")
def server(tiny: TinyModel) -> Iterator[ServerProcess]:
    with started("--model", tiny.int8, *TWO) as server:
        yield server


def test_lines_of_workers_have_their_numbers_and_those_of_the_server_have_none(server: ServerProcess) -> None:
    assert server.events["model_loaded"]["worker"] in (0, 1)
    assert server.events["serving"]["workers"] == 2
    assert "worker" not in server.events["serving"]
    assert "worker" not in server.events["random_token_key"]


def test_each_worker_is_bound_to_its_share_of_the_cores(server: ServerProcess) -> None:
    every = os.sched_getaffinity(0)
    parts = [set(part.cores) or every for part in shares(2, cores.usable(), every)]
    assert sorted(map(sorted, map(os.sched_getaffinity, server.workers))) == sorted(map(sorted, parts))


def test_metrics_of_all_workers_and_tokens_of_any_are_the_servers(server: ServerProcess) -> None:
    served: set[int] = set()
    calls, token = 0, b""
    while len(served) < 2:  # the kernel spreads connections at random
        with connected(server) as stub:
            text, token = generate(stub, resume_token=token) if token else generate(stub)
            assert len(text) == 10
            calls += 1
        served.add(server.next("call")["worker"])
    for _ in range(6):
        told = metrics(server)
        assert told['nextchar_generated_characters_total{model="int8"}'] == 10 * calls
        assert told['nextchar_max_active_streams{model="int8"}'] == 2 * 1024
        assert told["nextchar_memory_budget_bytes"] == 256 * 2**20
        assert told["nextchar_workers"] == 2


def test_a_worker_that_is_killed_is_started_again_and_counters_stay(tiny: TinyModel) -> None:
    with started("--model", tiny.int8, *TWO) as server:
        with connected(server) as stub:
            generate(stub)
        before = metrics(server)
        subprocess.run(["kill", "-KILL", str(server.workers[0])], check=True)
        ended = server.next("worker_ended")
        assert (ended["level"], ended["reason"]) == ("error", "ended with signal 9 (Killed)")
        assert server.next("worker_restarted")["worker"] == ended["worker"]
        after = metrics(server)
        counters = [name for name in before if "_total" in name or "_bucket" in name or "_count" in name]
        assert len(counters) > 100
        assert all(after[name] >= before[name] for name in counters)
        assert (after["nextchar_worker_restarts_total"], after["nextchar_workers"]) == (1, 2)
        assert len(server.workers) == 2


async def test_workers_end_with_a_supervisor_that_is_killed(tiny: TinyModel) -> None:
    with started("--model", tiny.int8, *TWO) as server:
        pids = server.workers
        assert len(pids) == 2
        server.process.kill()
        await until(lambda: not any(is_running(pid) for pid in pids))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_one_signal_drains_all_and_a_text_comes_out_whole(tiny: TinyModel) -> None:
    with started("--model", tiny.int8, *TWO, "--drain-timeout", "300") as server:
        with connected(server) as stub:
            request = pb.GenerateStreamRequest(parameters=pb.GenerationParameters(max_characters=20_000))
            call = stub.GenerateStream(request)
            events = [next(call)]
            for pid in (server.process.pid, *server.workers):  # as systemd does
                subprocess.run(["kill", "-TERM", str(pid)], check=True)
            events += call
        assert sum(len(event.delta.text) for event in events) == 20_000
        _, log = server.process.communicate(timeout=PATIENCE)
    lines = [json.loads(line) for line in log.splitlines()]
    assert server.process.returncode == 0
    assert sorted(line["worker"] for line in lines if line["event"] == "draining") == [0, 1]
    assert (lines[-1]["event"], "worker" in lines[-1]) == ("stopped", False)


def test_a_second_signal_ends_running_streams_at_once(tiny: TinyModel) -> None:
    endless = ("--max-characters", str(ENDLESS), "--drain-timeout", "600")
    with started("--model", tiny.int8, *TWO, *endless) as server:
        with connected(server) as stub:
            request = pb.GenerateStreamRequest(parameters=pb.GenerationParameters(max_characters=ENDLESS))
            call = stub.GenerateStream(request)
            next(call)
            server.process.send_signal(signal.SIGINT)
            server.next("draining")
            server.process.send_signal(signal.SIGINT)
            *_, last = call
        assert last.finished.finish_reason == pb.FINISH_REASON_DRAINING
        assert server.process.wait(PATIENCE) == 0


def test_a_worker_that_cannot_start_again_is_tried_again_while_others_serve(tiny: TinyModel, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny.int8.read_bytes())
    with started("--model", path, *TWO) as server:
        path.rename(tmp_path / "away")
        subprocess.run(["kill", "-KILL", str(server.workers[0])], check=True)
        assert server.next("worker_ended")["reason"] == "ended with signal 9 (Killed)"
        assert server.next("worker_ended")["reason"] == f"{path}: can't be read: No such file or directory"
        with connected(server) as stub:
            assert generate(stub)[0]
        (tmp_path / "away").rename(path)
        server.next("worker_restarted")


def test_sighup_makes_every_worker_read_its_files_again(tiny: TinyModel, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"alice {'0' * 64}\n")
    with started("--model", tiny.int8, *TWO, "--auth-tokens-file", tokens) as server:
        server.process.send_signal(signal.SIGHUP)
        assert {server.next("credentials_reloaded")["worker"] for _ in range(2)} == {0, 1}


@pytest.mark.parametrize(
    ("limits", "parts"),
    [((256, 64, 1024), (64, 16, 256)), ((16, 0, 0), (16, 0, 0)), ((70, 3, 2), (17, 1, 1))],
)
def test_limits_of_the_server_are_divided_and_stay_limits(limits: tuple[int, ...], parts: tuple[int, ...]) -> None:
    names = ("memory_budget", "prefix_cache", "queue_size")
    part = part_of(Config(**dict(zip(names, limits, strict=True)), workers=4), 4)  # type: ignore[arg-type]
    assert tuple(getattr(part, name) for name in names) == parts


def run(*options: str | Path) -> tuple[int, str]:
    """Runs the command to its end, and returns its exit code and its only line."""
    command = [*COMMAND, "--http-port", "0", *TWO, *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    (line,) = done.stderr.splitlines()
    return done.returncode, line.removeprefix("nextchar-server: error: ")


def test_an_error_that_all_workers_meet_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "none.onnx"
    assert run("--grpc-port", "0", "--model", path) == (1, f"{path}: can't be read: No such file or directory")


def test_a_port_in_use_is_told_once() -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        code, line = run("--grpc-port", str(taken.getsockname()[1]))
    assert code == 1
    assert "the port is in use" in line
