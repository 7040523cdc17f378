"""The configuration: options go before variables, variables before defaults; checked once, then frozen."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from nextchar_server.cli import app
from nextchar_server.settings.config import PACKAGED_MODEL, Config

Variables = Callable[..., None]

pytestmark = pytest.mark.usefixtures("variables")


def config(*options: str) -> Config:
    """Returns the configuration of the command with ``options``."""
    _, bound, _ = app.parse_args(list(options), exit_on_error=False, print_error=False)
    given = bound.arguments.get("config") or Config()
    assert isinstance(given, Config)
    return given


def test_the_defaults_are_those_of_the_manual() -> None:
    given = config()
    assert given.models == {"shakespeare": PACKAGED_MODEL}
    assert (given.host, given.grpc_port, given.http_port) == ("127.0.0.1", 50051, 8080)
    assert given.provider == "auto"
    assert (given.workers, given.lanes) == (1, None)
    assert given.threads_per_lane == 1
    assert given.turn_budget == 0.005
    assert given.log_level == "info"


def test_a_variable_goes_before_the_default(variables: Variables) -> None:
    variables(GRPC_PORT="1234", MODEL="a.onnx", TURN_BUDGET="0.02")
    given = config()
    assert (given.grpc_port, given.model, given.turn_budget) == (1234, ("a.onnx",), 0.02)


def test_an_option_goes_before_a_variable(variables: Variables) -> None:
    variables(GRPC_PORT="1234", MODEL="a.onnx", PROVIDER="cuda")
    given = config("--grpc-port", "5678", "--model", "b.onnx", "--provider=cpu")
    assert (given.grpc_port, given.model, given.provider) == (5678, ("b.onnx",), "cpu")


SETTINGS = sorted(setting.name for setting in fields(Config))
NEEDS = {
    "auth_exempt": ("--auth-tokens-file", "tokens"),
    "auth_jwks_file": ("--auth-jwt-issuer", "i", "--auth-jwt-audience", "a"),
    "auth_jwt_audience": ("--auth-jwks-file", "keys", "--auth-jwt-issuer", "i"),
    "auth_jwt_issuer": ("--auth-jwks-file", "keys", "--auth-jwt-audience", "a"),
    "caller_rate": ("--auth-tokens-file", "tokens"),
    "caller_streams": ("--auth-tokens-file", "tokens"),
    "connection_age_grace": ("--connection-age", "1"),
    "tls_cert": ("--tls-key", "key.pem"),
    "tls_key": ("--tls-cert", "certificate.pem"),
    "tls_client_ca": ("--tls-cert", "certificate.pem", "--tls-key", "key.pem"),
}
"""Options without which others are refused."""
VALUES = {
    "auth_exempt": "metrics",
    "host": "::1",
    "http_cors_origin": "https://example.org",
    "keep_versions": "7",
    "log_format": "console",
    "log_level": "debug",
    "model": "m.onnx",
    "provider": "cpu",
    "turn_budget": "0.5",
}
"""Values of options that can't be 77."""


@pytest.mark.parametrize("name", SETTINGS)
def test_every_option_is_also_a_variable(name: str, variables: Variables) -> None:
    value = VALUES.get(name, "77")
    needed = NEEDS.get(name, ())
    option = config("--" + name.replace("_", "-"), value, *needed)
    variables(**{name.upper(): value})
    assert getattr(config(*needed), name) == getattr(option, name) != getattr(Config(), name)


@pytest.mark.parametrize("name", SETTINGS)
def test_an_empty_variable_means_the_default(name: str, variables: Variables) -> None:
    variables(**{name.upper(): ""})
    assert config() == Config()


def test_ports_that_kubernetes_sets_for_services_of_these_names_are_ignored(variables: Variables) -> None:
    variables(GRPC_PORT="tcp://10.0.0.1:50051", HTTP_PORT="tcp://10.0.0.1:8080")
    assert config() == Config()


def test_several_models_are_named_by_options() -> None:
    given = config("--model", "runs/one.onnx", "--model", "second=runs/two.onnx")
    assert given.models == {"one": Path("runs/one.onnx"), "second": Path("runs/two.onnx")}


def test_several_models_are_named_by_a_variable(variables: Variables) -> None:
    variables(MODEL="runs/one.onnx,second=runs/two.onnx")
    assert list(config().models.items()) == [("one", Path("runs/one.onnx")), ("second", Path("runs/two.onnx"))]


def test_the_first_model_is_the_first_one_given() -> None:
    assert list(config("--model", "z.onnx", "--model", "a.onnx").models) == ["z", "a"]


def test_a_path_in_an_option_may_hold_a_comma_and_spaces() -> None:
    assert config("--model", "my models/a,b.onnx").models == {"a,b": Path("my models/a,b.onnx")}


def test_a_path_in_a_variable_may_hold_spaces(variables: Variables) -> None:
    variables(MODEL="my models/a.onnx,b.onnx")
    assert config().models == {"a": Path("my models/a.onnx"), "b": Path("b.onnx")}


def test_a_path_may_hold_an_equals_sign_after_a_name() -> None:
    assert config("--model", "name=a=b.onnx").models == {"name": Path("a=b.onnx")}


def test_a_path_that_exists_is_not_taken_apart(tmp_path: Path, variables: Variables) -> None:
    path = tmp_path / "lr=0.006" / "a,b=c.onnx"
    path.parent.mkdir()
    path.touch()
    assert config("--model", str(path)).models == {"a,b=c": path}
    variables(MODEL=f"{path},verse={path}")
    assert config().models == {"a,b=c": path, "verse": path}


def test_the_brackets_of_an_address_are_left_out() -> None:
    assert config("--host", "[::1]").host == "::1"


def test_two_ports_may_be_any_free_ones() -> None:
    given = config("--grpc-port", "0", "--http-port", "0")
    assert (given.grpc_port, given.http_port) == (0, 0)


def test_the_packaged_model_is_not_served_beside_a_folder() -> None:
    assert config("--models-dir", "folder").models == {}


def test_a_machine_of_any_number_of_cores_gets_a_lane_for_each() -> None:
    assert config("--lanes", "1024").lanes == 1024


@pytest.mark.parametrize(("option", "value"), [("--queue-size", 0), ("--drain-timeout", 0), ("--grpc-port", 0)])
def test_zero_is_a_value(option: str, value: Any) -> None:
    assert getattr(config(option, str(value)), option.removeprefix("--").replace("-", "_")) == value


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        config().grpc_port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tls_cert", "--tls-cert needs --tls-key"),
        ("tls_key", "--tls-key needs --tls-cert"),
        ("tls_client_ca", "--tls-client-ca needs --tls-cert and --tls-key"),
    ],
)
def test_an_option_of_tls_without_its_partner_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config(**{name: Path("file")})  # type: ignore[arg-type]
