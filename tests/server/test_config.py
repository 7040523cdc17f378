"""The configuration: flags before variables before defaults, checked once, then frozen."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_settings import CliApp

from nextchar_server.config import PACKAGED_MODEL, Config

Variables = Callable[..., None]


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> Variables:
    """Sets ``NEXTCHAR_*`` variables; there are no others than those that a test sets."""
    for name in list(os.environ):
        if name.startswith("NEXTCHAR_"):
            monkeypatch.delenv(name)

    def set_(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"NEXTCHAR_{name}", value)

    return set_


def config(*flags: str) -> Config:
    """The configuration that the command has with ``flags``."""
    return CliApp.run(Config, cli_args=list(flags))


def refusal(*flags: str) -> tuple[str, str]:
    """Field and message with which the command refuses ``flags``, or the variables."""
    with pytest.raises(ValidationError) as caught:
        config(*flags)
    (problem,) = caught.value.errors()
    return str(problem["loc"][0]), problem["msg"]


def test_the_defaults_are_those_of_the_manual() -> None:
    given = config()
    assert given.models == {"shakespeare": PACKAGED_MODEL}
    assert (given.host, given.grpc_port, given.http_port) == ("127.0.0.1", 50051, 8080)
    assert given.provider == "auto"
    assert 1 <= given.lanes <= len(os.sched_getaffinity(0))
    assert given.threads_per_lane == 1
    assert given.turn_budget == 0.005
    assert given.log_level == "info"


def test_a_variable_goes_before_the_default(variables: Variables) -> None:
    variables(GRPC_PORT="1234", MODEL="a.onnx", TURN_BUDGET="0.02")
    given = config()
    assert (given.grpc_port, given.model, given.turn_budget) == (1234, ("a.onnx",), 0.02)


def test_a_flag_goes_before_a_variable(variables: Variables) -> None:
    variables(GRPC_PORT="1234", MODEL="a.onnx", PROVIDER="cuda")
    given = config("--grpc-port", "5678", "--model", "b.onnx", "--provider=cpu")
    assert (given.grpc_port, given.model, given.provider) == (5678, ("b.onnx",), "cpu")


def test_variables_of_other_programs_are_left_alone(variables: Variables) -> None:
    variables(CORPUS_DIR="/somewhere", ENDPOINT="host:1")
    assert config().models == {"shakespeare": PACKAGED_MODEL}


@pytest.mark.parametrize("name", sorted(Config.model_fields))
def test_every_flag_is_also_a_variable(name: str, variables: Variables) -> None:
    values = {"model": "m.onnx", "host": "::1", "provider": "cpu", "log_level": "debug", "turn_budget": "0.5"}
    value = values.get(name, "77")
    flag = config("--" + name.replace("_", "-"), value)
    variables(**{name.upper(): value})
    assert getattr(config(), name) == getattr(flag, name) != getattr(Config.model_construct(), name)


def test_several_models_are_named_by_flags() -> None:
    given = config("--model", "runs/one.onnx", "--model", "second=runs/two.onnx")
    assert given.models == {"one": Path("runs/one.onnx"), "second": Path("runs/two.onnx")}


def test_several_models_are_named_by_a_variable(variables: Variables) -> None:
    variables(MODEL="runs/one.onnx,second=runs/two.onnx")
    assert list(config().models.items()) == [("one", Path("runs/one.onnx")), ("second", Path("runs/two.onnx"))]


def test_the_first_model_is_the_first_one_given() -> None:
    assert list(config("--model", "z.onnx", "--model", "a.onnx").models) == ["z", "a"]


def test_a_path_may_hold_an_equals_sign_after_a_name() -> None:
    assert config("--model", "name=a=b.onnx").models == {"name": Path("a=b.onnx")}


@pytest.mark.parametrize("second", ["there/same.onnx", "same=other.onnx", "here/same.onnx"])
def test_two_models_of_one_name_are_refused(second: str) -> None:
    field, message = refusal("--model", "here/same.onnx", "--model", second)
    assert field == "model"
    assert "two models are named 'same'; name one of them with NAME=PATH" in message


@pytest.mark.parametrize("value", ["", "=", "=path.onnx"])
def test_a_model_without_a_name_is_refused(value: str) -> None:
    field, message = refusal("--model", value)
    assert field == "model"
    assert f"{value!r} gives no name; write NAME=PATH or PATH" in message


def test_a_configuration_without_a_model_is_refused() -> None:
    with pytest.raises(ValidationError, match="model"):
        Config(model=())


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--grpc-port", "-1"),
        ("--grpc-port", "65536"),
        ("--grpc-port", "http"),
        ("--http-port", "1.5"),
        ("--host", ""),
        ("--provider", "tpu"),
        ("--lanes", "0"),
        ("--lanes", "4097"),
        ("--threads-per-lane", "0"),
        ("--max-batch", "0"),
        ("--queue-size", "-1"),
        ("--turn-budget", "0"),
        ("--turn-budget", "1.5"),
        ("--turn-budget", "nan"),
        ("--drain-timeout", "-1"),
        ("--drain-timeout", "nan"),
        ("--max-characters", "0"),
        ("--max-prompt-characters", "0"),
        ("--log-level", "loud"),
    ],
)
def test_a_value_that_can_not_be_is_refused_with_its_name(flag: str, value: str) -> None:
    assert refusal(flag, value)[0] == flag.removeprefix("--").replace("-", "_")


def test_a_machine_of_any_number_of_cores_gets_a_lane_for_each() -> None:
    assert config("--lanes", "1024").lanes == 1024


@pytest.mark.parametrize("flag", ["GRPC_PORT", "LANES", "PROVIDER", "MODEL", "TURN_BUDGET"])
def test_an_empty_variable_is_refused_with_its_name(flag: str, variables: Variables) -> None:
    variables(**{flag: ""})
    assert refusal()[0] == flag.lower()


def test_an_unknown_flag_ends_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        config("--gprc-port", "1")
    assert caught.value.code == 2
    assert "--gprc-port" in capsys.readouterr().err


@pytest.mark.parametrize(("flag", "value"), [("--queue-size", 0), ("--drain-timeout", 0), ("--grpc-port", 0)])
def test_zero_is_a_value(flag: str, value: Any) -> None:
    assert getattr(config(flag, str(value)), flag.removeprefix("--").replace("-", "_")) == value


@pytest.mark.parametrize("name", ["grpc_port", "model", "surprise"])
def test_a_configuration_is_frozen(name: str) -> None:
    with pytest.raises(ValidationError):
        setattr(config(), name, 1)
