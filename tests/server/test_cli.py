"""The command line: a mistake is one line that names the option or the variable, before anything starts."""

from collections.abc import Callable

import pytest

from nextchar_cli.command_line import UsageError, run
from nextchar_server import cli
from nextchar_server.settings.config import Config
from nextchar_server.settings.variables import unknown_variables

Variables = Callable[..., None]

pytestmark = pytest.mark.usefixtures("variables")


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command with options that it refuses, and returns its message."""

    def refused(*options: str) -> str:
        assert run(cli.app, options) == 2
        out, err = capsys.readouterr()
        (line,) = err.splitlines()
        assert out == ""
        return line.removeprefix("nextchar-server: error: ").removesuffix(" (see nextchar-server --help)")

    return refused


Refusal = Callable[..., str]


@pytest.mark.parametrize(
    ("option", "value", "requirement"),
    [
        ("--grpc-port", "-1", "it must be at least 0"),
        ("--grpc-port", "65536", "it must be at most 65535"),
        ("--grpc-port", "http", "it must be a whole number"),
        ("--http-port", "1.5", "it must be a whole number"),
        ("--host", "", "it must not be empty"),
        ("--provider", "tpu", "it must be 'auto', 'cpu' or 'cuda'"),
        ("--workers", "0", "it must be at least 1"),
        ("--workers", "257", "it must be at most 256"),
        ("--workers", "many", "it must be a whole number or auto"),
        ("--workers", "2.5", "it must be a whole number or auto"),
        ("--lanes", "0", "it must be at least 1"),
        ("--lanes", "4097", "it must be at most 4096"),
        ("--lanes", "abc", "it must be a whole number"),
        ("--threads-per-lane", "0", "it must be at least 1"),
        ("--max-batch", "0", "it must be at least 1"),
        ("--queue-size", "-1", "it must be at least 0"),
        ("--turn-budget", "0", "it must be above 0"),
        ("--turn-budget", "1.5", "it must be at most 1"),
        ("--turn-budget", "nan", "it must be a finite number"),
        ("--turn-budget", "soon", "it must be a number"),
        ("--drain-timeout", "-1", "it must be at least 0"),
        ("--drain-timeout", "nan", "it must be a finite number"),
        ("--drain-timeout", "inf", "it must be a finite number"),
        ("--drain-timeout", "1e9", "it must be at most 86400"),
        ("--max-characters", "0", "it must be at least 1"),
        ("--max-prompt-characters", "0", "it must be at least 1"),
        ("--log-level", "loud", "it must be 'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_an_invalid_value_is_refused_with_its_option_or_variable_and_what_it_must_be(
    option: str, value: str, requirement: str, refusal: Refusal, variables: Variables
) -> None:
    assert refusal(option, value) == f"{option}: {value!r} is invalid; {requirement}"
    if value:
        name = option.removeprefix("--").replace("-", "_").upper()
        variables(**{name: value})
        assert refusal() == f"NEXTCHAR_{name}: {value!r} is invalid; {requirement}"


def test_an_option_without_a_value_is_refused(refusal: Refusal) -> None:
    assert refusal("--lanes") == "--lanes needs a value"


def test_a_misspelt_option_gets_a_suggestion(refusal: Refusal) -> None:
    assert refusal("--gprc-port", "1") == "unknown option: --gprc-port. Did you mean --grpc-port?"


def test_a_positional_argument_is_refused(refusal: Refusal) -> None:
    assert "model.onnx" in refusal("model.onnx")


@pytest.mark.parametrize("second", ["there/same.onnx", "same=other.onnx", "here/same.onnx"])
def test_two_models_of_one_name_are_refused(second: str, refusal: Refusal, variables: Variables) -> None:
    problem = "two models are named 'same'; name one of them with NAME=PATH"
    assert refusal("--model", "here/same.onnx", "--model", second) == f"--model: {problem}"
    variables(MODEL=f"here/same.onnx,{second}")
    assert refusal() == f"NEXTCHAR_MODEL: {problem}"


@pytest.mark.parametrize("value", ["", "=", "=path.onnx"])
def test_a_model_without_a_name_is_refused(value: str, refusal: Refusal) -> None:
    assert refusal("--model", value) == f"--model: {value!r} has no name; write NAME=PATH or PATH"


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "a\nb", "x" * 300])
def test_a_name_that_no_model_can_have_is_refused(name: str, refusal: Refusal) -> None:
    assert "can't be the name of a model" in refusal("--model", f"{name}=m.onnx")


def test_one_port_for_both_is_refused_before_a_model_is_loaded(refusal: Refusal) -> None:
    expected = "--grpc-port and --http-port are both 5000; choose another one for HTTP"
    assert refusal("--grpc-port", "5000", "--http-port", "5000") == expected


# Variables that are no settings.


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("NEXTCHAR_LANE", "NEXTCHAR_LANES"),
        ("NEXTCHAR_MODELS", "NEXTCHAR_MODEL"),
        ("NEXTCHAR_MODEL_DIR", "NEXTCHAR_MODELS_DIR"),
        ("NEXTCHAR_TOKEN_KEYS", "NEXTCHAR_TOKEN_KEY"),
        ("NEXTCHAR_CONFIG_FILE", "NEXTCHAR_CONFIG"),
        ("NEXTCHAR_GPRC_PORT", "NEXTCHAR_GRPC_PORT"),
        ("NEXTCHAR_MAX_CHARACTER", "NEXTCHAR_MAX_CHARACTERS"),
        ("NEXTCHAR_LOGLEVEL", "NEXTCHAR_LOG_LEVEL"),
        ("NEXTCHAR_Lanes", "NEXTCHAR_LANES"),
    ],
)
def test_a_misspelt_variable_is_refused_with_a_suggestion(
    misspelt: str, meant: str, refusal: Refusal, variables: Variables
) -> None:
    variables(**{misspelt.removeprefix("NEXTCHAR_"): "3"})
    assert refusal() == f"there is no setting {misspelt}; did you mean {meant}?"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NEXTCHAR_LANES", "3"),
        ("NEXTCHAR_ENDPOINT", "host:1"),
        ("NEXTCHAR_ENDPOINT_CA", "/ca.pem"),
        ("NEXTCHAR_TOKEN", "secret"),
        ("NEXTCHAR_CACHE_DIR", "/cache"),
        ("NEXTCHAR_CORPUS_DIR", "/corpora"),
        ("NEXTCHAR_TOKEN_KEY", "secret"),
        ("NEXTCHAR_PUBLISHED_GRPC_PORT", "50051"),
        ("NEXTCHAR_TRAIN_MINUTES", "1"),
        ("NEXTCHAR_SERVICE_HOST", "10.0.0.1"),
        ("NEXTCHAR_SERVICE_PORT", "50051"),
        ("NEXTCHAR_SERVICE_PORT_GRPC", "50051"),
        ("NEXTCHAR_PORT", "tcp://10.0.0.1:50051"),
        ("NEXTCHAR_PORT_50051_TCP", "tcp://10.0.0.1:50051"),
        ("NEXTCHAR_PORT_50051_TCP_PROTO", "tcp"),
        ("NEXTCHAR_PORT_50051_TCP_PORT", "50051"),
        ("NEXTCHAR_PORT_50051_TCP_ADDR", "10.0.0.1"),
        ("NEXTCHAR_SERVER_SERVICE_HOST", "10.0.0.1"),
        ("NEXTCHAR_SERVER_PORT", "tcp://10.0.0.1:50051"),
        ("NEXTCHAR_SERVER_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("NEXTCHAR_HTTPS_PORT", "tcp://10.0.0.1:443"),
        ("NEXTCHAR_LANE", ""),
        ("PATH", "/bin"),
    ],
)
def test_a_variable_that_is_empty_or_of_another_program_or_of_kubernetes_passes(name: str, value: str) -> None:
    assert list(unknown_variables({name: value})) == []


@pytest.mark.parametrize("name", ["NEXTCHAR_VERSION", "NEXTCHAR_COLOUR", "NEXTCHAR_OPTIONS"])
def test_a_variable_that_nothing_reads_is_reported(name: str) -> None:
    assert list(unknown_variables({name: "1", "NEXTCHAR_LANES": "2"})) == [name]


def test_a_port_that_is_no_service_link_is_taken_for_a_misspelt_setting() -> None:
    with pytest.raises(UsageError, match="NEXTCHAR_HTTP_PORT"):
        list(unknown_variables({"NEXTCHAR_HTTPS_PORT": "443"}))


def test_a_setting_in_small_letters_is_taken_for_a_misspelt_one() -> None:
    with pytest.raises(UsageError, match="no setting nextchar_lanes; did you mean NEXTCHAR_LANES"):
        list(unknown_variables({"nextchar_lanes": "2"}))


# Help.


def test_help_fits_80_columns_and_shows_no_python(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli.app, ["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert not any(mark in shown for mark in ("(', ", "',)", "tuple", "Path(", "None", "    ."))
    words = " ".join(shown.replace("│", " ").split())
    for wanted in (
        "--model [NAME=]PATH Model file.",
        "[default: the packaged shakespeare.onnx, unless --models-dir is given]",
        "--lanes NUMBER",
        "[default: one per core, 4 at most]",
        "--workers NUMBER|auto",
        "--turn-budget SECONDS",
        "[choices: auto, cpu, cuda]",
        "Exit codes: 0:",
        "NEXTCHAR_GRPC_PORT for --grpc-port",
    ):
        assert wanted in words


def test_workers_auto_leaves_a_model_file_that_cannot_be_read_to_whoever_opens_it() -> None:
    name_too_long = "n" * 300 + ".onnx"
    assert callable(cli._runner(Config(workers="auto", model=(f"verse={name_too_long}",))))
