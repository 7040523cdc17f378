"""The configuration file: after options and variables, checked as they are, and written as it is read."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from nextchar_cli.command_line import run
from nextchar_server import cli
from nextchar_server.settings.config import Config
from nextchar_server.settings.config_file import written

ROOT = Path(__file__).parents[3]
Variables = Callable[..., None]
Write = Callable[[str], Path]

pytestmark = pytest.mark.usefixtures("variables")


def config(*options: str | Path) -> Config:
    """Returns the configuration of the command with ``options``."""
    _, bound, _ = cli.app.parse_args(list(map(str, options)), exit_on_error=False, print_error=False)
    given = bound.arguments.get("config") or Config()
    assert isinstance(given, Config)
    return given


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the configuration file and returns its path."""

    def to_file(content: str) -> Path:
        path = tmp_path / "nextchar.toml"
        path.write_text(content, encoding="utf-8")
        return path

    return to_file


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str], write: Write) -> Callable[[str], str]:
    """Runs the command with a file that it refuses, and returns its message without the file's name."""

    def refused(content: str) -> str:
        path = write(content)
        assert run(cli.app, ["--config", str(path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        beginning = f"nextchar-server: error: {path}: "
        assert line.startswith(beginning)
        return line.removeprefix(beginning).removesuffix(" (see nextchar-server --help)")

    return refused


Refusal = Callable[[str], str]


def test_a_key_is_the_name_of_its_option(write: Write) -> None:
    given = config(
        "--config",
        write('grpc-port = 1234\nturn-budget = 0.02\nhost = "::1"\nmemory-budget = 1_024\nstall-timeout = 5'),
    )
    assert (given.grpc_port, given.turn_budget, given.host) == (1234, 0.02, "::1")
    assert (given.memory_budget, given.stall_timeout) == (1024, 5.0)


def test_workers_are_a_number_or_auto_in_quotes(write: Write) -> None:
    assert config("--config", write("workers = 3")).workers == 3
    assert config("--config", write('workers = "auto"')).workers == "auto"


def test_an_option_goes_before_a_variable_and_a_variable_before_the_file(write: Write, variables: Variables) -> None:
    path = write("lanes = 3\nmax-batch = 3\nqueue-size = 3")
    variables(CONFIG=str(path), LANES="2", MAX_BATCH="2", QUEUE_SIZE="")
    given = config("--lanes", "1")
    assert (given.lanes, given.max_batch, given.queue_size) == (1, 2, 3)


def test_a_value_of_the_file_is_checked_even_if_an_option_goes_before_it(write: Write) -> None:
    assert run(cli.app, ["--config", str(write('lanes = "many"')), "--lanes", "1", "--print-config"]) == 2


def test_relative_paths_start_from_the_folder_of_the_file(write: Write, tmp_path: Path) -> None:
    (tmp_path / "a=b.onnx").touch()
    models = '["m.onnx", "verse=sub/n.onnx", "/absolute/o.onnx", "p=/absolute/p.onnx", "a=b.onnx"]'
    given = config("--config", write(f'model = {models}\ntoken-key-file = "keys"'))
    assert given.models == {
        "m": tmp_path / "m.onnx",
        "verse": tmp_path / "sub" / "n.onnx",
        "o": Path("/absolute/o.onnx"),
        "p": Path("/absolute/p.onnx"),
        "a=b": tmp_path / "a=b.onnx",
    }
    assert given.token_key_file == tmp_path / "keys"


def test_one_model_needs_no_list_and_its_path_may_hold_a_comma(write: Write, tmp_path: Path) -> None:
    assert config("--config", write('model = "a,b.onnx"')).models == {"a,b": tmp_path / "a,b.onnx"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("gprc-port = 1", "there is no key 'gprc-port'; did you mean grpc-port?"),
        ("grpc_port = 1", "there is no key 'grpc_port'; write grpc-port, as in the option"),
        ("GRPC-PORT = 1", "there is no key 'GRPC-PORT'; write grpc-port, as in the option"),
        ("colour = 1", "there is no key 'colour'; keys are the names of the options, such as grpc-port"),
        ("check = true", "there is no key 'check'; --check is an option only"),
        ('config = "other.toml"', "there is no key 'config'; --config is an option only"),
        ("[server]\ngrpc-port = 1", "there is no table [server]; all keys stand at the top of the file"),
        ('grpc-port = "50051"', "grpc-port: '50051' is invalid; it must be a whole number, without quotes"),
        ("grpc-port = true", "grpc-port: True is invalid; it must be a whole number, without quotes"),
        ("grpc-port = 1.0", "grpc-port: 1.0 is invalid; it must be a whole number, without quotes"),
        ("grpc-port = 99999", "grpc-port: '99999' is invalid; it must be at most 65535"),
        ('turn-budget = "soon"', "turn-budget: 'soon' is invalid; it must be a number, without quotes"),
        ("turn-budget = nan", "turn-budget: 'nan' is invalid; it must be a finite number"),
        ("workers = 2.0", 'workers: 2.0 is invalid; it must be a whole number, or "auto" in quotes'),
        ("host = 1", "host: 1 is invalid; it must be a text in quotes"),
        ("token-key-file = 1", "token-key-file: 1 is invalid; it must be a text in quotes"),
        ('provider = "tpu"', "provider: 'tpu' is invalid; it must be 'auto', 'cpu' or 'cuda'"),
        ("model = []", "model: [] is invalid; it must be a text in quotes, or a list of them"),
        ("model = [1]", "model: [1] is invalid; it must be a text in quotes, or a list of them"),
        ('model = ["a.onnx", "b/a.onnx"]', "model: two models are named 'a'; name one of them with NAME=PATH"),
        ("lanes: 1", "is not valid TOML: Expected '=' after a key in a key/value pair (at line 1, column 6)"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place_and_the_remedy(
    content: str, message: str, refusal: Refusal
) -> None:
    assert refusal(content) == message


def test_a_file_that_cannot_be_read_is_named_with_its_option_or_variable(
    tmp_path: Path, variables: Variables, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "none.toml"
    assert run(cli.app, ["--config", str(path)]) == 2
    assert f"--config: {path}: can't be read: No such file or directory" in capsys.readouterr().err
    variables(CONFIG=str(path))
    assert run(cli.app, []) == 2
    assert f"NEXTCHAR_CONFIG: {path}: can't be read" in capsys.readouterr().err
    path.write_bytes(b'host = "\xff"')
    assert run(cli.app, []) == 2
    assert "it is not UTF-8" in capsys.readouterr().err


# The effective configuration.


def printed(capsys: pytest.CaptureFixture[str], *options: str | Path) -> str:
    """Returns the output of --print-config."""
    assert run(cli.app, [*map(str, options), "--print-config"]) == 0
    return capsys.readouterr().out


def test_the_printed_configuration_is_read_as_the_same_one_from_any_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--model", 'a "b"=sub/c\\d.onnx', "--model", "é.onnx", "--token-key-file", "keys", "--lanes", "3"]
    options += ["--turn-budget", "1e-05", "--connection-age", "600"]
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "folder" / "printed.toml"
    path.parent.mkdir()
    path.write_text(printed(capsys, *options), encoding="utf-8")
    given = config(*options)
    assert given.models == {'a "b"': Path("sub/c\\d.onnx"), "é": Path("é.onnx")}
    monkeypatch.chdir("/")
    read = config("--config", path)
    assert read.models == {name: tmp_path / model for name, model in given.models.items()}
    assert read.token_key_file == tmp_path / "keys"
    assert (read.lanes, read.turn_budget, read.connection_age) == (3, 1e-05, 600.0)


def test_each_printed_value_has_its_origin(
    capsys: pytest.CaptureFixture[str], write: Write, variables: Variables
) -> None:
    path = write("queue-size = 7\nlanes = 2")
    variables(CONFIG=str(path), MAX_BATCH="9")
    lines = printed(capsys, "--lanes", "3").splitlines()
    assert "lanes = 3  # --lanes" in lines
    assert "max-batch = 9  # NEXTCHAR_MAX_BATCH" in lines
    assert f"queue-size = 7  # {path}" in lines
    assert "grpc-port = 50051  # default" in lines
    assert "# token-key-file is not set" in lines


def test_the_key_of_resume_tokens_is_not_printed(capsys: pytest.CaptureFixture[str], variables: Variables) -> None:
    variables(TOKEN_KEY="s3cret" * 8)
    assert "s3cret" not in printed(capsys)


def test_a_path_of_any_characters_is_written_so_that_it_is_read_again() -> None:
    path = "/" + "".join(map(chr, [*range(1, 32), 0x7F, 0x22, 0x5C, 0x85, 0x2028, 0x1F600]))
    assert tomllib.loads(written(Config(token_key_file=Path(path)), {}))["token-key-file"] == path


def test_the_example_in_the_repository_is_read() -> None:
    assert config("--config", ROOT / "deploy" / "nextchar.toml") != Config()


# Actions.


def test_check_and_print_config_are_no_variables(variables: Variables, capsys: pytest.CaptureFixture[str]) -> None:
    variables(CHECK="nonsense")
    printed(capsys)
