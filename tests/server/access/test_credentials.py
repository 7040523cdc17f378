"""Credentials: what a server needs in order to read them."""

import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from nextchar_server.access.credentials import Credentials, bearer
from nextchar_server.access.token_list import CredentialError
from nextchar_server.listening import StartError
from nextchar_server.metrics import CallerMetrics
from nextchar_server.settings.config import Config
from nextchar_server.watching import Watch


def test_signed_tokens_without_their_library_are_an_error_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    monkeypatch.delitem(sys.modules, "nextchar_server.access.signed_tokens", raising=False)
    config = Config(auth_jwks_file=tmp_path / "keys", auth_jwt_issuer="a", auth_jwt_audience="b")
    with pytest.raises(
        StartError, match=r"needs PyJWT \(jwt is missing\): pip install 'nextchar\[server,server-jwt\]'"
    ):
        Credentials(config, Watch(), CallerMetrics(CollectorRegistry()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"caller_rate": 5}, "--caller-rate needs --auth-tokens-file or --auth-jwks-file"),
        ({"auth_exempt": "metrics"}, "--auth-exempt needs --auth-tokens-file or --auth-jwks-file"),
        ({"auth_jwks_file": Path("keys")}, "signed tokens also need --auth-jwt-issuer and --auth-jwt-audience"),
        ({"auth_tokens_file": Path("a"), "auth_exempt": "metrics,health"}, "'health' can't be exempt; metrics,"),
    ],
)
def test_settings_that_do_nothing_alone_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "token", "Basic token", "Bearer " + "a" * 9000]
)
def test_a_header_of_another_form_has_no_token(authorization: str | None) -> None:
    with pytest.raises(CredentialError):
        bearer(authorization)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_read_in_any_case(scheme: str) -> None:
    assert bearer(f"{scheme}  token ") == "token"
