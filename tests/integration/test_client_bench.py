"""``nextchar bench`` against a server that plays scripts, and against a real one."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_client.bench.generator import LoadGenerator
from nextchar_client.bench.load import Load
from nextchar_client.bench.measurement import Report
from nextchar_client.commands.command import main
from tests.support.scripted_server import HANG, STARTED, WHOLE, Abort, ScriptedServer, delta

COMMAND = str(Path(sys.executable).parent / "nextchar")
MODEL = [pb.GetModelResponse(model=pb.Model(name="tiny", digest="0123456789abcdef", alphabet=["a", "b"]))]
Status = grpc.StatusCode

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        server.scripts = [MODEL, WHOLE]  # a text of 8 characters in 2 messages, for ever
        monkeypatch.setenv("NEXTCHAR_ENDPOINT", server.endpoint)
        yield server


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Runs ``nextchar bench`` with arguments: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(["bench", *arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        output, errors = capfdbinary.readouterr()
        return code, output.decode(), errors.decode()

    return run


async def report_of(server: ScriptedServer, load: Load) -> Report:
    generator = LoadGenerator(server.endpoint, load)
    await generator.run()
    return generator.measurement.report()


async def arrived(server: ScriptedServer, requests: int) -> None:
    """Waits until the server has so many requests, that for the model too."""
    async with asyncio.timeout(10):
        while len(server.requests) < requests:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("who", [{"streams": 4}, {"streams": 4, "ramp": 0.02}, {"streams": 30}, {"rate": 1000.0}])
async def test_so_many_requests_are_sent_and_all_is_counted(server: ScriptedServer, who: dict[str, Any]) -> None:
    report = await report_of(server, Load(requests=20, **who))
    assert len(server.requests) == 1 + 20
    assert (report.requests, report.completed, report.failed, report.unfinished) == (20, 20, 0, 0)
    assert (report.characters, report.messages) == (160, 40)
    assert (report.model, report.model_digest) == ("tiny", "0123456789abcdef")


@pytest.mark.parametrize("who", [{"streams": 1}, {"rate": 1000.0}])
async def test_the_warm_up_is_sent_but_not_counted(server: ScriptedServer, who: dict[str, Any]) -> None:
    server.scripts = [MODEL, *[[STARTED, delta("warm"), Abort(Status.INTERNAL)]] * 7, WHOLE]
    report = await report_of(server, Load(requests=5, warm_up=7, **who))
    assert len(server.requests) == 1 + 7 + 5
    assert (report.requests, report.completed, report.failed) == (5, 5, 0)


async def test_the_warm_up_is_in_no_latency(server: ScriptedServer) -> None:
    server.scripts = [MODEL, WHOLE, WHOLE, [Abort(Status.INTERNAL)]]
    report = await report_of(server, Load(streams=1, requests=3, warm_up=2))
    assert (report.characters, report.messages, report.characters_per_second) == (0, 0, 0)
    assert (report.first_character_seconds, report.inter_character_seconds) == (None, None)
    assert (report.fastest_seconds, report.slowest_seconds) == (None, None)


@pytest.mark.parametrize("who", [{"streams": 4}, {"rate": 200.0}])
async def test_all_requests_of_so_many_seconds_are_waited_for(server: ScriptedServer, who: dict[str, Any]) -> None:
    report = await report_of(server, Load(seconds=0.2, warm_up=2, **who))
    assert report.requests > 0
    assert (report.completed, report.failed, report.unfinished) == (report.requests, 0, 0)
    assert len(server.requests) >= 1 + 2 + report.requests


async def test_a_closed_loop_has_so_many_requests_under_way_and_no_more(server: ScriptedServer) -> None:
    server.scripts = [MODEL, [STARTED, HANG]]
    generator = LoadGenerator(server.endpoint, Load(streams=3, requests=20))
    running = asyncio.create_task(generator.run())
    await arrived(server, 1 + 3)
    assert generator.measurement.running == 3
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(server.requests) == 1 + 3


async def test_an_open_loop_sends_on_while_nothing_is_answered(server: ScriptedServer) -> None:
    server.scripts = [MODEL, [STARTED, HANG]]
    generator = LoadGenerator(server.endpoint, Load(rate=1000.0, requests=20))
    running = asyncio.create_task(generator.run())
    await arrived(server, 1 + 20)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    report = generator.measurement.report()
    assert (report.requests, report.completed, report.unfinished) == (20, 0, 20)
    assert await asyncio.to_thread(server.cancelled.wait, 10)


async def test_in_an_open_loop_time_runs_from_when_a_request_should_have_been_sent(server: ScriptedServer) -> None:
    generator = LoadGenerator(server.endpoint, Load(rate=100.0, requests=20))
    running = asyncio.create_task(generator.run())
    await arrived(server, 1 + 1)
    time.sleep(0.5)  # noqa: ASYNC251 - it stops the load generator while it should send all the others
    await running
    waited = generator.measurement.report().first_character_seconds
    assert waited is not None
    assert waited.p50 > 0.2


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ([Abort(Status.INVALID_ARGUMENT)], "INVALID_ARGUMENT"),
        ([Abort(Status.RESOURCE_EXHAUSTED)], "RESOURCE_EXHAUSTED"),
        ([Abort(Status.UNAVAILABLE)], "UNAVAILABLE"),
        ([STARTED], "INCOMPLETE"),
        (
            [STARTED, pb.GenerateStreamResponse(finished=pb.Finished(finish_reason=pb.FINISH_REASON_DRAINING))],
            "DRAINING",
        ),
    ],
)
async def test_an_error_is_counted_under_its_status_and_in_no_latency(
    server: ScriptedServer, script: Sequence[Any], status: str
) -> None:
    server.scripts = [MODEL, script]
    report = await report_of(server, Load(streams=2, requests=6))
    assert (report.requests, report.completed, report.failed, report.errors) == (6, 0, 6, {status: 6})
    assert (report.first_character_seconds, report.inter_character_seconds) == (None, None)
    assert (report.fastest_seconds, report.slowest_seconds) == (None, None)
    assert len(server.requests) == 1 + 6  # none was tried again


async def test_good_requests_count_beside_failed_ones(server: ScriptedServer) -> None:
    server.scripts = [MODEL, WHOLE, [STARTED, delta("abc"), Abort(Status.INTERNAL)], [Abort(Status.UNAVAILABLE)], WHOLE]
    report = await report_of(server, Load(streams=1, requests=5))
    assert (report.completed, report.failed, report.errors) == (3, 2, {"INTERNAL": 1, "UNAVAILABLE": 1})
    assert report.characters == 3 * 8 + 3


async def test_a_passed_timeout_is_counted(server: ScriptedServer) -> None:
    server.scripts = [MODEL, [STARTED, HANG]]
    report = await report_of(server, Load(streams=2, requests=2, timeout=0.1))
    assert report.errors == {"DEADLINE_EXCEEDED": 2}


def test_options_reach_the_server(server: ScriptedServer, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("한")
    run(
        *["--streams", "1", "--requests", "4", "--model", "tiny", "--max-characters", "5-6", "--timeout", "100"],
        *["--prompt-characters", "1", "--prompt-file", str(file)],
    )
    model, *requests = server.requests
    assert model == pb.GetModelRequest(name="tiny")
    assert {(request.model, request.prompt) for request in requests} == {("tiny", "한")}
    assert {request.parameters.max_characters for request in requests} <= {5, 6}
    assert None not in server.seconds_left


def test_without_lengths_prompts_have_16_characters_and_texts_256(server: ScriptedServer, run: Run) -> None:
    run("--requests", "1")
    request = server.requests[1]
    assert (len(request.prompt), request.parameters.max_characters) == (16, 256)
    assert set(request.prompt) <= {"a", "b"}


def test_json_is_one_object_with_these_keys(server: ScriptedServer, run: Run) -> None:
    code, output, errors = run("--streams", "2", "--requests", "6", "--warm-up", "1", "--seed", "7", "--json")
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
    code, output, errors = run("--requests", "5")
    rows = {line.split("  ")[0]: line.split("  ")[-1].strip() for line in output.splitlines()}
    assert code == 1
    assert list(rows) == [
        *["model", "window", "requests", "throughput", "coalescing", "streams", "load generator"],
        *["", "MILLISECONDS", "first character", "inter-character"],
    ]
    assert rows["model"] == "tiny 0123456789ab"
    assert rows["requests"] == "4 completed, 1 failed, 1 INTERNAL"
    assert rows["coalescing"] == "4.0 characters a message"
    assert errors == "nextchar: error: INTERNAL: 1 requests; the first: so the script says\n"


def test_the_report_of_requests_that_all_failed_has_dashes(server: ScriptedServer, run: Run) -> None:
    server.scripts = [MODEL, [Abort(Status.INTERNAL)]]
    code, output, _ = run("--requests", "5")
    assert code == 1
    assert output.splitlines()[-1].split() == ["inter-character", "-", "-", "-", "-"]


@pytest.mark.parametrize(
    ("script", "code"), [([Abort(Status.NOT_FOUND, "no model 'x'")], 2), ([Abort(Status.UNAVAILABLE, "loading")], 3)]
)
def test_a_server_that_does_not_describe_its_model_gets_no_load(
    server: ScriptedServer, run: Run, script: Sequence[Any], code: int
) -> None:
    server.scripts = [script]
    ended, output, errors = run()
    assert (ended, output, errors.count("\n")) == (code, "", 1)
    assert len(server.requests) == 1


def test_where_no_server_is_the_line_names_the_endpoint(run: Run) -> None:
    code, output, errors = run("--endpoint", "127.0.0.1:1")
    assert (code, output) == (3, "")
    assert errors.startswith("nextchar: error: UNAVAILABLE at 127.0.0.1:1: ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--streams", "1", "--rate", "1"], "--rate: not allowed with argument --streams"),
        (["--requests", "1", "--seconds", "1"], "--seconds: not allowed with argument --requests"),
        (["--streams", "0"], "streams: 0 is not a number above 0"),
        (["--rate", "1", "--ramp", "1"], "ramp: an open loop has no callers to start"),
        (["--max-characters", "5-"], "--max-characters: '' is not a whole number"),
        (["--max-characters", "9-5"], "max_characters: 9 to 5 is no range"),
        (["--prompt-characters", "few"], "--prompt-characters: 'few' is not a whole number"),
        (["--prompt-file", "/no/such"], "cannot read /no/such: No such file or directory"),
        (["--prompt-file", "/dev/null"], "prompt_characters: 16 of them cannot be cut from a text of 0"),
    ],
)
def test_wrong_usage_is_one_line_and_sends_nothing(
    server: ScriptedServer, run: Run, arguments: list[str], complaint: str
) -> None:
    code, output, errors = run(*arguments)
    assert (code, output) == (2, "")
    assert complaint in errors
    assert errors.count("\n") == 1
    assert server.requests == []


def test_an_interrupt_prints_what_was_measured_and_exits_130(server: ScriptedServer) -> None:
    server.scripts = [MODEL, WHOLE, WHOLE, [STARTED, delta("abc"), HANG]]
    process = subprocess.Popen(
        [COMMAND, "bench", "--requests", "9", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    asyncio.run(arrived(server, 1 + 3))
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=10)
    report = json.loads(output)
    assert (process.returncode, errors) == (130, b"")
    assert (report["requests"], report["completed"], report["failed"], report["unfinished"]) == (3, 2, 0, 1)
    assert server.cancelled.wait(10)


def test_an_interrupt_before_the_window_has_nothing_to_print(server: ScriptedServer) -> None:
    server.scripts = [[HANG]]
    process = subprocess.Popen([COMMAND, "bench"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert server.arrived.wait(10)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, output, errors) == (130, b"", b"")


def test_on_a_terminal_standard_error_tells_how_it_goes(server: ScriptedServer) -> None:
    server.scripts = [MODEL, WHOLE, [STARTED, HANG]]
    ours, terminal = pty.openpty()
    with subprocess.Popen(
        [COMMAND, "bench", "--requests", "9", "--json"], stdout=subprocess.PIPE, stderr=terminal
    ) as process:
        os.close(terminal)
        shown = b""
        while b"\x1b[K" not in shown:
            shown += os.read(ours, 1000)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=10)
    os.close(ours)
    assert b"requests: 1 running, 1 completed, 0 failed" in shown
    assert json.loads(output)["completed"] == 1


@pytest.mark.parametrize("who", [{"streams": 5}, {"rate": 100.0}])
async def test_a_real_server_answers_every_request_in_full(tiny, serve, who):
    async with serve(tiny.int8) as serving:
        load = Load(requests=12, warm_up=2, prompt_characters=(0, 40), max_characters=(70, 70), **who)
        generator = LoadGenerator(f"127.0.0.1:{serving.grpc_port}", load)
        await generator.run()
    report = generator.measurement.report()
    assert (report.requests, report.completed, report.errors) == (12, 12, {})
    assert 12 * 70 <= report.characters <= 14 * 70  # what came of the warm-up in the window counts as well
    assert report.model_digest
    assert report.first_character_seconds is not None
    assert report.inter_character_seconds is not None


async def test_a_queue_that_is_full_is_an_error_of_the_requests_that_met_it(tiny, serve):
    async with serve(tiny.int8, lanes=1, max_batch=1, queue_size=0) as serving:
        load = Load(streams=8, requests=8, max_characters=(2000, 2000))
        generator = LoadGenerator(f"127.0.0.1:{serving.grpc_port}", load)
        await generator.run()
    report = generator.measurement.report()
    assert report.completed >= 1
    assert report.errors == {"RESOURCE_EXHAUSTED": 8 - report.completed}
