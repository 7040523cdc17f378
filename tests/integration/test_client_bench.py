"""``nextchar bench`` against a server that plays scripts."""

import asyncio
import json
import os
import pty
import re
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from nextchar.v1 import generation_pb2 as pb
from tests.support.command import COMMAND, Run, running
from tests.support.scripted_server import HANG, MODEL, STARTED, WHOLE, Abort, ScriptedServer, Status, delta


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        server.scripts = [MODEL, WHOLE]  # a text of 8 characters in 2 messages, forever
        monkeypatch.setenv("NEXTCHAR_ENDPOINT", server.endpoint)
        yield server


def test_options_reach_the_server(server: ScriptedServer, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("한")
    run(
        "bench",
        *["--streams", "1", "--requests", "4", "--model", "tiny", "--max-characters", "5-6", "--timeout", "100"],
        *["--prompt-characters", "1", "--prompt-file", str(file)],
    )
    model, *requests = server.requests
    assert model == pb.GetModelRequest(name="tiny")
    assert {(request.model, request.prompt) for request in requests} == {("tiny", "한")}
    assert {request.parameters.max_characters for request in requests} <= {5, 6}
    assert None not in server.seconds_left


def test_without_lengths_prompts_have_16_characters_and_texts_256(server: ScriptedServer, run: Run) -> None:
    run("bench", "--requests", "1")
    request = server.requests[1]
    assert (len(request.prompt), request.parameters.max_characters) == (16, 256)
    assert set(request.prompt) <= {"a", "b"}


def test_json_is_one_object_with_these_keys(server: ScriptedServer, run: Run) -> None:
    code, output, errors = run("bench", "--streams", "2", "--requests", "6", "--warm-up", "1", "--seed", "7", "--json")
    assert (code, errors, output.count("\n")) == (0, "", 1)
    report = json.loads(output)
    assert list(report) == [
        "model",
        "model_digest",
        "load",
        "window_seconds",
        "requests",
        "completed",
        "failed",
        "unfinished",
        "errors",
        "characters",
        "messages",
        "characters_per_second",
        "requests_per_second",
        "first_character_seconds",
        "inter_character_seconds",
        "fastest_seconds",
        "slowest_seconds",
        "cpu",
    ]
    assert report["load"] == {
        "streams": 2,
        "rate": None,
        "requests": 6,
        "seconds": None,
        "warm_up": 1,
        "ramp": 0.0,
        "prompt_characters": [16, 16],
        "max_characters": [256, 256],
        "seed": 7,
        "model": "",
        "timeout": None,
    }
    assert list(report["first_character_seconds"]) == list(report["inter_character_seconds"])
    assert list(report["first_character_seconds"]) == ["p50", "p90", "p99", "max"]


def test_the_report_is_a_table(server: ScriptedServer, run: Run) -> None:
    server.scripts = [MODEL, WHOLE, [Abort(Status.INTERNAL)], WHOLE]
    code, output, errors = run("bench", "--requests", "5")
    rows = {line.split("  ")[0]: line.split("  ")[-1].strip() for line in output.splitlines()}
    assert code == 1
    assert list(rows) == [
        *["model", "window", "requests", "throughput", "coalescing", "streams", "load generator"],
        *["", "MILLISECONDS", "first character", "inter-character"],
    ]
    assert rows["model"] == "tiny 0123456789ab"
    assert rows["requests"] == "4 completed, 1 failed, 1 INTERNAL"
    assert rows["coalescing"] == "4.0 characters per message"
    assert re.fullmatch(r"fastest \d\.\d{3} s, slowest \d\.\d{3} s \(ratio \d+\.\d\d\)", rows["streams"])
    assert errors == "nextchar: error: INTERNAL: 1 requests; the first: so the script says\n"


def test_a_request_that_the_server_refuses_is_reported_with_the_option(server: ScriptedServer, run: Run) -> None:
    server.scripts = [MODEL, [Abort(Status.INVALID_ARGUMENT, "parameters.max_characters: 256 is too much")]]
    _, _, errors = run("bench", "--requests", "2")
    assert "INVALID_ARGUMENT: 2 requests; the first: --max-characters: 256 is too much\n" in errors


def test_the_report_of_requests_that_all_failed_has_dashes(server: ScriptedServer, run: Run) -> None:
    server.scripts = [MODEL, [Abort(Status.INTERNAL)]]
    code, output, _ = run("bench", "--requests", "5")
    assert code == 1
    assert output.splitlines()[-1].split() == ["inter-character", "-", "-", "-", "-"]


@pytest.mark.parametrize(
    ("script", "code"), [([Abort(Status.NOT_FOUND, "no model 'x'")], 2), ([Abort(Status.UNAVAILABLE, "loading")], 3)]
)
def test_a_server_that_does_not_describe_its_model_gets_no_load(
    server: ScriptedServer, run: Run, script: Sequence[Any], code: int
) -> None:
    server.scripts = [script]
    ended, output, errors = run("bench")
    assert (ended, output, errors.count("\n")) == (code, "", 1)
    assert len(server.requests) == 1


def test_if_no_server_answers_the_line_names_the_endpoint(run: Run) -> None:
    code, output, errors = run("bench", "--endpoint", "127.0.0.1:1")
    assert (code, output) == (3, "")
    assert errors.startswith("nextchar: error: no server answers at 127.0.0.1:1: is nextchar-server running? (")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--streams", "1", "--rate", "1"], "--streams, --rate: give one of them, not both"),
        (["--requests", "1", "--seconds", "1"], "--requests, --seconds: give one of them, not both"),
        (["--streams", "0"], "--streams: 0 is invalid; it must be above 0"),
        (["--rate", "nan"], "--rate: nan is invalid; it must be above 0"),
        (["--rate", "1", "--ramp", "1"], "--ramp: an open loop has no callers to start"),
        (["--requests", "few"], "--requests: 'few' is invalid; it must be"),
        (["--max-characters", "5-"], "--max-characters: '5-' is invalid; it must be a whole number or MIN-MAX"),
        (["--max-characters", "9-5"], "--max-characters: 9 to 5 is invalid; it must be a range"),
        (["--prompt-characters", "few"], "--prompt-characters: 'few' is invalid; it must be a whole number or MIN-MAX"),
        (["--file", "/no/such"], "--file: cannot read /no/such: No such file or directory"),
        (["--file", "/dev/null"], "--prompt-characters: a prompt of 16 can't be cut from a text of 0 characters"),
        (["text"], "text"),
    ],
)
def test_wrong_usage_is_one_line_that_points_to_the_help_and_sends_nothing(
    server: ScriptedServer, run: Run, arguments: list[str], complaint: str
) -> None:
    code, output, errors = run("bench", *arguments)
    assert (code, output) == (2, "")
    assert complaint in errors
    assert errors.endswith(" (see nextchar bench --help)\n")
    assert errors.count("\n") == 1
    assert server.requests == []


def test_an_interrupt_prints_the_report_so_far_and_exits_130(server: ScriptedServer) -> None:
    server.scripts = [MODEL, WHOLE, WHOLE, [STARTED, delta("abc"), HANG]]
    with running([*COMMAND, "bench", "--requests", "9", "--json"]) as process:
        asyncio.run(server.received(1 + 3))
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    report = json.loads(output)
    assert (process.returncode, errors) == (130, b"")
    assert (report["requests"], report["completed"], report["failed"], report["unfinished"]) == (3, 2, 0, 1)
    assert server.cancelled.wait(60)


def test_an_interrupt_before_the_window_has_nothing_to_print(server: ScriptedServer) -> None:
    server.scripts = [[HANG]]
    with running([*COMMAND, "bench"]) as process:
        assert server.arrived.wait(60)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (130, b"", b"")


def test_on_a_terminal_standard_error_shows_the_progress(server: ScriptedServer) -> None:
    server.scripts = [MODEL, WHOLE, [STARTED, HANG]]
    ours, terminal = pty.openpty()
    with running([*COMMAND, "bench", "--requests", "9", "--json"], stderr=terminal) as process:
        os.close(terminal)
        shown = b""
        while b"requests: 1 running, 1 completed, 0 failed" not in shown:
            shown += os.read(ours, 1000)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    os.close(ours)
    assert json.loads(output)["completed"] == 1
