"""The command ``nextchar``: wrong usage, failures and help of all its commands.

A real server plays scripts; the command runs in this process.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from nextchar_client.commands import main
from tests.support.command import Run
from tests.support.scripted_server import STARTED, Abort, ScriptedServer, Status

COMMANDS = ["generate", "score", "models", "health", "bench"]


@pytest.mark.parametrize(
    ("script", "code", "line"),
    [
        ([Abort(Status.INVALID_ARGUMENT, "top_p: 2")], 2, "INVALID_ARGUMENT: --top-p: 2"),
        ([Abort(Status.INVALID_ARGUMENT, "no field: 2")], 2, "INVALID_ARGUMENT: no field: 2"),
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


def test_if_no_server_answers_the_line_names_the_endpoint(run: Run) -> None:
    code, output, errors = run("models", "--endpoint", "127.0.0.1:1")
    assert (code, output) == (3, "")
    assert errors.startswith(
        "nextchar: error: no server answers at 127.0.0.1:1: is nextchar-server running? (UNAVAILABLE: "
    )
    assert errors.endswith("Connection refused)\n")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (
            "parameters.replacement_character: only goes with UNKNOWN_CHARACTERS_REPLACE",
            "--replacement: only goes with --unknown replace",
        ),
        ("parameters.unknown_characters: 9", "--unknown: 9"),
        ("parameters.stop_sequences: 17 stop sequences", "--stop: 17 stop sequences"),
        ("parameters.stop_sequences[1]: can never appear", "--stop number 2: can never appear"),
        ("parameters.character_bias['€']: the key is unknown", "--bias '€': the key is unknown"),
        ("parameters.character_bias[']']: the key is unknown", "--bias ']': the key is unknown"),
        ("prompt: 9 characters", "PROMPT: 9 characters"),
    ],
)
def test_a_field_that_the_server_refuses_is_named_by_its_option(
    server: ScriptedServer, run: Run, message: str, line: str
) -> None:
    server.scripts = [[Abort(Status.INVALID_ARGUMENT, message)]]
    assert run("generate") == (2, "", f"nextchar: error: INVALID_ARGUMENT: {line}\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["generate", "--temperature", "warm"], "--temperature: 'warm' is invalid; it must be a finite number"),
        (["generate", "--top-p", "nan"], "--top-p: 'nan' is invalid; it must be a finite number"),
        (["generate", "--seed", "-1"], "--seed: '-1' is invalid; it must be a whole number from 0 to 2**64 - 1"),
        (["generate", "--seed", str(2**64)], "it must be a whole number from 0 to 2**64 - 1"),
        (["generate", "--max-characters", "1.5"], "--max-characters: '1.5' is invalid; it must be a whole number"),
        (["generate", "--max-characters", str(2**32)], "--max-characters: Value out of range: 4294967296"),
        (["generate", "--bias", "a"], "--bias: 'a' is invalid; it must be CHAR=VALUE"),
        (["generate", "--bias", "a=much"], "--bias: 'much' is invalid; it must be a finite number"),
        (["generate", "--unknown", "ignore"], "--unknown: 'ignore' is invalid; it must be error or skip or replace"),
        (
            ["generate", "--timeout", "0"],
            "--timeout: 0.0 is invalid; it must be above 0 and at most 31,536,000 seconds",
        ),
        (["generate", "--top-logprobs", "3"], "--top-logprobs needs --json"),
        (["generate", "--stop"], "--stop needs a value"),
        (["generate", "caf\udce9"], "PROMPT: byte 0xe9 at offset 3 is not UTF-8"),
        (["generate", "--stop", "한\udcff"], "--stop: byte 0xff at offset 3 is not UTF-8"),
        (["generate", "--endpoint", "caf\udce9:1"], "--endpoint: byte 0xe9 at offset 3 is not UTF-8"),
        (["generate", "a", "--file", "b"], "PROMPT, --file: give one of them, not both"),
        (["generate", "--file", "/no/such"], "--file: cannot read /no/such: No such file or directory"),
        (["generate", "--file", "/"], "--file: cannot read /: Is a directory"),
        (["generate", "--file", "a\0b"], "--file: cannot read a"),
        (["generate", "-x"], "-x"),
        (["generate", "two", "prompts"], "prompts"),
        (["score"], "TEXT or --file is required"),
        (["score", "a", "--file", "b"], "TEXT, --file: give one of them, not both"),
        (["score", "a", "--top-logprobs", "3"], "--top-logprobs needs --json or --characters"),
        (["score", "a", "--activations", "0:3"], "--activations needs --json, without --lines"),
        (["score", "caf\udce9"], "TEXT: byte 0xe9 at offset 3 is not UTF-8"),
        (["health", "--timeout", "1e300"], "--timeout: 1e+300 is invalid; it must be above 0 and at most 31,536,000"),
        (["bench", "--timeout", "9223372036"], "--timeout: 9223372036.0 is invalid; it must be above 0 and at most"),
        (
            ["models", "--timeout", "-1"],
            "--timeout: -1.0 is invalid; it must be above 0 and at most 31,536,000 seconds",
        ),
        (["bench", "--model", "\udce9"], "--model: byte 0xe9 at offset 0 is not UTF-8"),
        (["bench", "--requests", "2.5"], "--requests: '2.5' is invalid; it must be a whole number"),
        (["health", "--service", "\udce9"], "--service: byte 0xe9 at offset 0 is not UTF-8"),
    ],
)
def test_wrong_usage_is_one_line_that_points_to_the_help_of_the_command(
    server: ScriptedServer, run: Run, arguments: list[str], complaint: str
) -> None:
    code, output, errors = run(*arguments)
    assert (code, output) == (2, "")
    assert complaint in errors
    assert errors.startswith("nextchar: error: ")
    assert errors.endswith(f" (see nextchar {arguments[0]} --help)\n")
    assert errors.count("\n") == 1
    assert server.requests == []


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["generate", "--tempera", "1"], "--temperature"),
        (["score", "a", "--character"], "--characters"),
        (["bench", "--stream", "2"], "--streams"),
    ],
)
def test_a_misspelt_option_gets_a_suggestion(run: Run, arguments: list[str], suggestion: str) -> None:
    code, output, errors = run(*arguments)
    assert (code, output) == (2, "")
    assert errors.endswith(f" Did you mean {suggestion}? (see nextchar {arguments[0]} --help)\n")


@pytest.mark.parametrize("arguments", [[], ["generat"], ["--seed", "1"]])
def test_without_a_command_the_line_names_the_commands(run: Run, arguments: list[str]) -> None:
    code, output, errors = run(*arguments)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert "generate" in errors
    assert errors.endswith(" (see nextchar --help)\n")


@pytest.mark.parametrize(
    ("endpoint", "complaint"),
    [
        ("tcp://10.0.0.1:1", "'tcp://10.0.0.1:1' is a web address; it must be HOST:PORT, such as 10.0.0.1:1"),
        ("localhost", "'localhost' has no port; it must be HOST:PORT, such as localhost:50051"),
        (
            "http://localhost:8080/x",
            "'http://localhost:8080/x' is a web address; it must be HOST:PORT, such as localhost:8080",
        ),
    ],
)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_malformed_endpoint_is_a_mistake_of_its_flag_or_its_variable(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str, endpoint: str, complaint: str
) -> None:
    arguments = [command, "text"] if command == "score" else [command]
    line = f"{complaint} (see nextchar {command} --help)\n"
    assert run(*arguments, "--endpoint", endpoint) == (2, "", f"nextchar: error: --endpoint: {line}")
    monkeypatch.setenv("NEXTCHAR_ENDPOINT", endpoint)
    assert run(*arguments) == (2, "", f"nextchar: error: NEXTCHAR_ENDPOINT: {line}")


def test_the_flag_wins_over_the_variable(server: ScriptedServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCHAR_ENDPOINT", "127.0.0.1:1")
    assert run("health", "--endpoint", server.endpoint)[0] == 0


def test_an_empty_variable_counts_as_absent_and_an_empty_flag_does_not(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXTCHAR_ENDPOINT", "")
    assert "NEXTCHAR_ENDPOINT" not in run("health", "--timeout", "1e-9")[2]
    assert "--endpoint: it is empty; it must be HOST:PORT" in run("health", "--endpoint", "")[2]


def test_an_undecodable_file_is_named_with_the_offset(server: ScriptedServer, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "latin.txt"
    file.write_bytes("한".encode() + b"caf\xe9")
    code, _, errors = run("generate", "--file", str(file))
    assert code == 2
    assert f"{file}: byte 0xe9 at offset 6 is not UTF-8" in errors


def test_a_closed_output_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["models"]) == 5
    assert capsys.readouterr().err == "nextchar: error: cannot write the output: standard output is closed\n"


def test_a_closed_input_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    complaint = "nextchar: error: --file: standard input is closed (see nextchar score --help)\n"
    assert run("score", "--file", "-") == (2, "", complaint)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_the_exit_codes(run: Run, command: str) -> None:
    code, output, _ = run(command, "--help")
    assert code == 0
    assert "  130  interrupted (Ctrl-C)" in output
