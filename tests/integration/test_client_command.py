"""The command ``nextchar`` against a real server that plays scripts.

Most tests run it in this process; those about signals, pipes and terminals run the installed command.
"""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO, TextIOWrapper
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from nextchar.v1 import generation_pb2 as pb
from nextchar_client.commands.command import main
from tests.support.scripted_server import FINISHED, HANG, STARTED, Abort, ScriptedServer, delta

COMMAND = str(Path(sys.executable).parent / "nextchar")
Status = grpc.StatusCode

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        monkeypatch.setenv("NEXTCHAR_ENDPOINT", server.endpoint)
        yield server


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Runs the command with arguments: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        output, errors = capfdbinary.readouterr()
        return code, output.decode(), errors.decode()

    return run


def test_generate_prints_the_text_and_nothing_else(server: ScriptedServer, run: Run) -> None:
    assert run("generate", "ROMEO:") == (0, "한글\nwords", "")


def test_every_option_of_generate_reaches_the_server(server: ScriptedServer, run: Run) -> None:
    run(
        *["generate", "ROMEO:", "--model", "tiny", "--seed", "18446744073709551615", "--max-characters", "400"],
        *[
            "--temperature",
            "0.5",
            "--top-k",
            "5",
            "--top-p",
            "0.75",
            "--min-p",
            "0.25",
            "--stop",
            "a",
            "--stop",
            "\n\n",
        ],
        *["--include-stop-sequence", "--echo", "--top-logprobs", "3", "--json", "--bias", "==2", "--bias", "e=-100"],
        *["--regex", "[a-z]+", "--unknown", "replace", "--replacement", "?"],
    )
    parameters = pb.GenerationParameters(
        max_characters=400,
        temperature=0.5,
        top_k=5,
        top_p=0.75,
        min_p=0.25,
        seed=2**64 - 1,
        stop_sequences=["a", "\n\n"],
        include_stop_sequence=True,
        echo=True,
        top_logprobs=3,
        character_bias={"=": 2, "e": -100},
        regex="[a-z]+",
        unknown_characters=pb.UNKNOWN_CHARACTERS_REPLACE,
        replacement_character="?",
    )
    assert len(parameters.ListFields()) == len(parameters.DESCRIPTOR.fields)
    assert server.requests == [pb.GenerateStreamRequest(model="tiny", prompt="ROMEO:", parameters=parameters)]


def test_without_options_the_server_chooses_everything(server: ScriptedServer, run: Run) -> None:
    run("generate")
    assert server.requests == [pb.GenerateStreamRequest(prompt="", parameters=pb.GenerationParameters())]


def test_a_timeout_reaches_the_server(server: ScriptedServer, run: Run) -> None:
    run("generate", "--timeout", "100")
    assert server.seconds_left[0] is not None


def test_a_prompt_file_is_taken_exactly_as_it_is(server: ScriptedServer, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_bytes("한\r\n\n".encode())
    run("generate", "--prompt-file", str(file))
    assert server.requests[0].prompt == "한\r\n\n"


def test_a_prompt_comes_from_standard_input(server: ScriptedServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO("한\n".encode())))
    run("generate", "--prompt-file", "-")
    assert server.requests[0].prompt == "한\n"


def test_json_prints_one_object_an_event(server: ScriptedServer, run: Run) -> None:
    place = pb.CharacterLogprob(
        character="a", logprob=-0.5, alternatives=[pb.AlternativeCharacter(character="b", logprob=-1)]
    )
    with_logprobs = pb.GenerateStreamResponse(delta=pb.Delta(text="a", logprobs=[place]))
    server.scripts = [[STARTED, with_logprobs, FINISHED]]
    code, output, _ = run("generate", "--json", "--top-logprobs", "1")
    assert code == 0
    assert [json.loads(line) for line in output.splitlines()] == [
        {
            "event": "started",
            "request_id": "request-1",
            "model": "tiny",
            "model_digest": "0123456789abcdef",
            "seed": 2**64 - 1,
        },
        {
            "event": "delta",
            "text": "a",
            "offset": 0,
            "logprobs": [
                {"character": "a", "logprob": -0.5, "alternatives": [{"character": "b", "logprob": -1.0}]},
            ],
        },
        {
            "event": "finished",
            "finish_reason": "max_characters",
            "stop_sequence": "",
            "usage": {"prompt_characters": 6, "generated_characters": 8},
        },
    ]


def test_verbose_says_seed_and_reason_on_standard_error(server: ScriptedServer, run: Run) -> None:
    code, output, errors = run("generate", "--verbose")
    assert (code, output) == (0, "한글\nwords")
    assert f"seed {2**64 - 1}" in errors
    assert "ended by max_characters" in errors


def test_logprobs_without_a_place_to_show_them_are_refused(server: ScriptedServer, run: Run) -> None:
    assert run("generate", "--top-logprobs", "3")[0] == 2
    assert run("score", "text", "--top-logprobs", "3")[0] == 2
    assert server.requests == []


def test_a_text_cut_by_a_shutdown_is_an_error(server: ScriptedServer, run: Run) -> None:
    cut = pb.GenerateStreamResponse(finished=pb.Finished(finish_reason=pb.FINISH_REASON_DRAINING))
    server.scripts = [[STARTED, delta("half"), cut]]
    code, output, errors = run("generate")
    assert (code, output) == (3, "half")
    assert errors == f"nextchar: error: the server at {server.endpoint} is shutting down and cut the text\n"


@pytest.mark.parametrize(
    ("script", "code", "line"),
    [
        ([Abort(Status.INVALID_ARGUMENT, "top_p: 2")], 2, "INVALID_ARGUMENT: top_p: 2"),
        ([Abort(Status.NOT_FOUND, "no model 'x'")], 2, "NOT_FOUND: no model 'x'"),
        ([STARTED, Abort(Status.UNAVAILABLE, "gone")], 3, "UNAVAILABLE at {endpoint}: gone"),
        ([STARTED, Abort(Status.RESOURCE_EXHAUSTED, "full")], 3, "RESOURCE_EXHAUSTED: full"),
        ([Abort(Status.DEADLINE_EXCEEDED, "late")], 4, "DEADLINE_EXCEEDED: late"),
        (
            [Abort(Status.INTERNAL, "two\nlines", (("request-id", "r9"),))],
            5,
            "INTERNAL: two lines (request r9)",
        ),
        ([STARTED], 5, "the stream ended without its last event: the text may be cut"),
    ],
)
def test_a_failure_is_one_line_and_its_exit_code(
    server: ScriptedServer, run: Run, script: Sequence[object], code: int, line: str
) -> None:
    server.scripts = [script]
    assert run("generate") == (code, "", f"nextchar: error: {line.format(endpoint=server.endpoint)}\n")


def test_where_no_server_is_the_line_names_the_endpoint(run: Run) -> None:
    code, output, errors = run("models", "--endpoint", "127.0.0.1:1")
    assert (code, output) == (3, "")
    assert errors.startswith("nextchar: error: UNAVAILABLE at 127.0.0.1:1: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["generate", "--temperature", "warm"], "--temperature: 'warm' is not a finite number"),
        (["generate", "--top-p", "nan"], "--top-p: 'nan' is not a finite number"),
        (["generate", "--seed", "-1"], "--seed: '-1' is not a whole number"),
        (["generate", "--seed", str(2**64)], "is not a whole number from 0 to 2**64 - 1"),
        (["generate", "--max-characters", "1.5"], "--max-characters: '1.5' is not a whole number"),
        (["generate", "--max-characters", str(2**32)], "max_characters: "),
        (["generate", "--bias", "a"], "--bias: 'a' is not CHAR=VALUE"),
        (["generate", "--bias", "a=much"], "--bias: 'much' is not a finite number"),
        (["generate", "--unknown", "ignore"], "--unknown: invalid choice: 'ignore'"),
        (["generate", "--endpoint", "localhost"], "endpoint: 'localhost' is not HOST:PORT"),
        (["generate", "--timeout", "0"], "timeout: 0.0 is not a number of seconds above 0"),
        (["generate", "caf\udce9"], "PROMPT: byte 0xe9 at offset 3 is not UTF-8"),
        (["generate", "--stop", "한\udcff"], "--stop: byte 0xff at offset 3 is not UTF-8"),
        (["generate", "a", "--prompt-file", "b"], "--prompt-file: not allowed with argument PROMPT"),
        (["generate", "--prompt-file", "/no/such"], "cannot read /no/such: No such file or directory"),
        (["generate", "--tempera", "1"], "unrecognized arguments: --tempera"),
        (["score"], "one of the arguments TEXT --text-file is required"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_wrong_usage_is_one_line_and_asks_no_server(
    server: ScriptedServer, run: Run, arguments: list[str], complaint: str
) -> None:
    code, output, errors = run(*arguments)
    assert (code, output) == (2, "")
    assert complaint in errors
    assert errors.startswith("nextchar: error: ")
    assert errors.count("\n") == 1
    assert server.requests == []


def test_an_undecodable_prompt_is_named_with_its_offset(server: ScriptedServer, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "latin.txt"
    file.write_bytes("한".encode() + b"caf\xe9")
    code, _, errors = run("generate", "--prompt-file", str(file))
    assert code == 2
    assert f"{file}: byte 0xe9 at offset 6 is not UTF-8" in errors


def test_models_prints_a_table_with_the_default_marked(server: ScriptedServer, run: Run) -> None:
    first = pb.Model(name="tiny", is_default=True, cell="lstm", layers=1, hidden_size=512, replay=pb.REPLAY_EXACT)
    server.scripts = [[pb.ListModelsResponse(models=[first, pb.Model(name="b")])]]
    code, output, _ = run("models")
    heading, one, two = output.splitlines()
    assert code == 0
    assert heading.startswith("MODEL")
    assert one.startswith("tiny (default)  lstm 1×512")
    assert two.startswith("b ")


def test_models_as_json_is_one_object_a_model(server: ScriptedServer, run: Run) -> None:
    server.scripts = [[pb.ListModelsResponse(models=[pb.Model(name="a", alphabet=["한"]), pb.Model(name="b")])]]
    _, output, _ = run("models", "--json")
    models = [json.loads(line) for line in output.splitlines()]
    assert [(model["name"], model["alphabet"]) for model in models] == [("a", ["한"]), ("b", [])]


def score_response() -> pb.ScoreResponse:
    place = pb.CharacterLogprob(
        character="\n", logprob=-0.5, alternatives=[pb.AlternativeCharacter(character="b", logprob=-1)]
    )
    return pb.ScoreResponse(model="tiny", characters=[place], total_logprob=-0.5, bits_per_character=0.7213)


def test_score_prints_total_and_bits(server: ScriptedServer, run: Run) -> None:
    server.scripts = [[score_response()]]
    code, output, _ = run("score", "\n")
    assert code == 0
    assert [line.split() for line in output.splitlines()] == [
        ["characters", "1"],
        ["log-probability", "-0.5000", "nats"],
        ["bits", "a", "character", "0.7213"],
    ]


def test_score_prints_a_table_of_characters(server: ScriptedServer, run: Run) -> None:
    server.scripts = [[score_response()]]
    _, output, _ = run("score", "\n", "--characters", "--top-logprobs", "1")
    heading, row, *_ = output.splitlines()
    assert heading.split() == ["OFFSET", "NATS", "BITS", "CHARACTER", "LIKELIEST"]
    assert row.split() == ["0", "-0.5000", "0.7213", r"'\n'", "'b'", "-1.000"]


def test_score_as_json_is_one_object(server: ScriptedServer, run: Run) -> None:
    server.scripts = [[score_response()]]
    _, output, _ = run("score", "\n", "--json")
    score = json.loads(output)
    assert (score["total_logprob"], score["bits_per_character"]) == (-0.5, 0.7213)
    assert score["characters"][0]["character"] == "\n"


def test_options_of_score_reach_the_server(server: ScriptedServer, run: Run, tmp_path: Path) -> None:
    server.scripts = [[score_response()]]
    file = tmp_path / "text.txt"
    file.write_bytes(b"text\n")
    run("score", "--text-file", str(file), "--model", "tiny", "--unknown", "skip", "--top-logprobs", "2", "--json")
    assert server.requests == [
        pb.ScoreRequest(model="tiny", text="text\n", top_logprobs=2, unknown_characters=pb.UNKNOWN_CHARACTERS_SKIP)
    ]


def test_health_is_0_where_the_server_serves(server: ScriptedServer, run: Run) -> None:
    assert run("health") == (0, "SERVING\n", "")


def test_health_is_1_where_the_server_does_not_serve(server: ScriptedServer, run: Run) -> None:
    server.set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
    assert run("health") == (1, "NOT_SERVING\n", "")


def test_health_is_1_where_no_server_answers(run: Run) -> None:
    code, output, errors = run("health", "--endpoint", "127.0.0.1:1")
    assert (code, output) == (1, "")
    assert errors.startswith("nextchar: error: UNAVAILABLE at 127.0.0.1:1: ")


def test_health_is_1_for_an_unknown_service(server: ScriptedServer, run: Run) -> None:
    assert run("health", "--service", "nextchar.v9")[0] == 1


def test_health_as_json_is_an_object(server: ScriptedServer, run: Run) -> None:
    assert run("health", "--json") == (0, '{"health": "serving"}\n', "")


@pytest.mark.parametrize("command", ["generate", "score", "models", "health"])
def test_help_gives_the_exit_codes(run: Run, command: str) -> None:
    code, output, _ = run(command, "--help")
    assert code == 0
    assert "  130  interrupted (Ctrl-C)" in output


def test_interrupt_cancels_the_call_and_exits_130_without_a_traceback(server: ScriptedServer) -> None:
    server.scripts = [[STARTED, delta("begun"), HANG]]
    process = subprocess.Popen([COMMAND, "generate"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(5) == b"begun"  # it came at once, not with the end of the text
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr.read() == b""
    assert server.cancelled.wait(10)


def test_interrupt_before_the_first_event_cancels_the_call_too(server: ScriptedServer) -> None:
    server.scripts = [[HANG]]
    process = subprocess.Popen([COMMAND, "generate"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert server.arrived.wait(10)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, output, errors) == (130, b"", b"")
    assert server.cancelled.wait(10)


def test_a_closed_pipe_cancels_the_call_and_ends_quietly(server: ScriptedServer) -> None:
    server.scripts = [[STARTED, *[delta("text " * 10_000)] * 100, HANG]]
    process = subprocess.Popen([COMMAND, "generate"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(10) == 141
        assert process.stderr.read() == b""
    assert server.cancelled.wait(10)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a file on which nothing can be written")
def test_an_output_that_cannot_be_written_is_one_line(server: ScriptedServer) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run([COMMAND, "generate"], stdout=full, stderr=subprocess.PIPE, timeout=30)
    assert ended.returncode == 5
    assert ended.stderr == b"nextchar: error: cannot write the output: No space left on device\n"


def test_text_is_utf_8_whatever_the_terminal_can_show(server: ScriptedServer) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    ended = subprocess.run([COMMAND, "generate"], capture_output=True, env=environment, timeout=30)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "한글\nwords".encode(), b"")


@pytest.mark.parametrize(("last", "shown"), [("words", b"words\r\n"), ("words\n", b"words\r\n")])
def test_a_terminal_gets_a_last_newline_where_the_text_has_none(
    server: ScriptedServer, last: str, shown: bytes
) -> None:
    server.scripts = [[STARTED, delta(last), FINISHED]]
    ours, terminal = pty.openpty()
    ended = subprocess.run([COMMAND, "generate"], stdout=terminal, stderr=subprocess.PIPE, timeout=30)
    os.close(terminal)
    output = os.read(ours, 1000)
    os.close(ours)
    assert (ended.returncode, output) == (0, shown)
