"""``nextchar generate`` against a real server that plays scripts.

Most tests run the command in this process; those about signals, pipes and terminals run it in its own.
"""

import json
import os
import signal
import subprocess
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_client import FinishReason
from tests.support.command import COMMAND, Run, on_a_terminal, running
from tests.support.scripted_server import FINISHED, HANG, STARTED, Abort, ScriptedServer, Status, delta

GENERATE = [*COMMAND, "generate"]
WHOLE = "한글\nwords"
SCHEMA = '{"type": "string"}'


def test_the_output_on_a_pipe_is_exactly_the_text(server: ScriptedServer, run: Run) -> None:
    assert run("generate", "ROMEO:") == (0, WHOLE, "")


def test_every_option_reaches_the_server(server: ScriptedServer, run: Run, tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text(SCHEMA)
    options = (
        "--model tiny --seed 18446744073709551615 --max-characters 400 --temperature 0.5 --top-k 5 --top-p 0.75 "
        "--min-p 0.25 --stop a --include-stop-sequence --echo --top-logprobs 3 --json --bias ==2 --bias e=-100 "
        "--regex [a-z]+ --unknown replace --replacement ? --resume-interval 64 "
        "--choice one --choice two --min-characters 3 --ignore-end-of-document --allow-malformed "
        "--activations 0:3,17"
    )
    server.scripts = [[STARTED, FINISHED]]
    schema = "--json-schema", str(tmp_path / "schema.json")
    code, _, errors = run("generate", "ROMEO:", *options.split(), *schema, "--stop", "\n\n")
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
        resume_interval=64,
        choices=["one", "two"],
        json_schema=SCHEMA,
        include_activations=pb.ActivationRequest(layer=0, units=[3, 17]),
        min_characters=3,
        ignore_end_of_document=True,
        allow_malformed=True,
    )
    assert (code, errors) == (0, "")
    assert len(parameters.ListFields()) == len(parameters.DESCRIPTOR.fields)
    assert server.requests == [pb.GenerateStreamRequest(model="tiny", prompt="ROMEO:", parameters=parameters)]


def test_without_options_the_server_chooses_everything(server: ScriptedServer, run: Run) -> None:
    run("generate")
    assert server.requests == [pb.GenerateStreamRequest(prompt="", parameters=pb.GenerationParameters())]


@pytest.mark.parametrize("value", ["-", "-x", "- "])
def test_a_text_that_starts_with_a_dash_may_be_a_value(server: ScriptedServer, run: Run, value: str) -> None:
    run("generate", "--stop", value, "--bias", f"{value[0]}=1", "--unknown", "replace", "--replacement", "-")
    parameters = server.requests[0].parameters
    assert (list(parameters.stop_sequences), dict(parameters.character_bias)) == ([value], {"-": 1})
    assert parameters.replacement_character == "-"


@pytest.mark.parametrize("prompt", ["-x", "--json", "- milk", "-"])
def test_a_prompt_that_starts_with_a_dash_follows_two_dashes(server: ScriptedServer, run: Run, prompt: str) -> None:
    assert run("generate", "--seed", "1", "--", prompt)[0] == 0
    assert server.requests[0].prompt == prompt


@pytest.mark.parametrize("prompt", ["- milk\n- bread", "-"])
def test_a_prompt_that_can_be_no_option_needs_no_dashes(server: ScriptedServer, run: Run, prompt: str) -> None:
    assert run("generate", prompt, "--seed", "1")[0] == 0
    assert (server.requests[0].prompt, server.requests[0].parameters.seed) == (prompt, 1)


@pytest.mark.parametrize("prompt", ["[1, 2]", "{", '{"a": 1}', "null", " a ", "a\n", "1_000"])
def test_a_prompt_is_taken_exactly_as_it_is(server: ScriptedServer, run: Run, prompt: str) -> None:
    run("generate", prompt, "--stop", prompt)
    assert (server.requests[0].prompt, list(server.requests[0].parameters.stop_sequences)) == (prompt, [prompt])


def test_a_timeout_reaches_the_server(server: ScriptedServer, run: Run) -> None:
    run("generate", "--timeout", "100")
    assert server.seconds_left[0] is not None


@pytest.mark.parametrize("option", ["--file", "--prompt-file", "--text-file"])
@pytest.mark.parametrize(
    ("how", "text"),
    [((), "한\n\n\n\ufeff \t"), (("--verbatim",), "\ufeff한\r\n\n\r\ufeff \t")],
    ids=["as trained", "as is"],
)
def test_lines_of_a_file_end_with_a_newline_unless_it_is_taken_verbatim(
    server: ScriptedServer, run: Run, tmp_path: Path, option: str, how: tuple[str, ...], text: str
) -> None:
    file = tmp_path / "prompt.txt"
    file.write_bytes("\ufeff한\r\n\n\r\ufeff \t".encode())
    run("generate", option, str(file), *how)
    assert server.requests[0].prompt == text


def test_a_prompt_comes_from_standard_input(server: ScriptedServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO("한\n".encode())))
    run("generate", "--file", "-")
    assert server.requests[0].prompt == "한\n"


def test_json_prints_one_object_per_event(server: ScriptedServer, run: Run) -> None:
    columns = pb.CharacterLogprobs(
        logprobs=[-0.5], alternatives_per_character=1, alternatives="b", alternative_logprobs=[-1]
    )
    with_logprobs = pb.GenerateStreamResponse(delta=pb.Delta(text="a", character_logprobs=columns))
    server.scripts = [[STARTED, with_logprobs, FINISHED]]
    code, output, _ = run("generate", "--json", "--newline", "--top-logprobs", "1")
    assert code == 0
    assert [json.loads(line) for line in output.splitlines()] == [
        {
            "event": "started",
            "request_id": "request-1",
            "model": "tiny",
            "model_digest": "0123456789abcdef",
            "seed": 2**64 - 1,
            "numeric_class": "",
        },
        {
            "event": "delta",
            "text": "a",
            "offset": 0,
            "logprobs": [
                {"character": "a", "logprob": -0.5, "alternatives": [{"character": "b", "logprob": -1.0}]},
            ],
            "resume_token": "",
        },
        {
            "event": "finished",
            "finish_reason": "max_characters",
            "stop_sequence": "",
            "usage": {"prompt_characters": 6, "generated_characters": 8},
            "resume_token": "",
        },
    ]


def test_verbose_shows_seed_and_reason_on_standard_error(server: ScriptedServer, run: Run) -> None:
    code, output, errors = run("generate", "--verbose")
    assert (code, output) == (0, WHOLE)
    assert f"seed {2**64 - 1}, request {STARTED.started.request_id}\n" in errors
    assert f"ended by {FinishReason.MAX_CHARACTERS}" in errors


def test_a_text_cut_by_a_shutdown_is_an_error(server: ScriptedServer, run: Run) -> None:
    cut = pb.GenerateStreamResponse(finished=pb.Finished(finish_reason=pb.FINISH_REASON_DRAINING))
    server.scripts = [[STARTED, delta("half"), cut]]
    code, output, errors = run("generate")
    assert (code, output) == (3, "half")
    assert errors == f"nextchar: error: the server at {server.endpoint} is shutting down and cut the text\n"


@pytest.mark.parametrize(("text", "output"), [("words", "words\n"), ("words\n", "words\n"), ("", "\n")])
def test_newline_ends_the_output_with_one_newline(server: ScriptedServer, run: Run, text: str, output: str) -> None:
    server.scripts = [[STARTED, delta(text), FINISHED] if text else [STARTED, FINISHED]]
    assert run("generate", "--newline") == (0, output, "")


def test_newline_adds_nothing_to_a_call_that_failed_without_text(server: ScriptedServer, run: Run) -> None:
    server.scripts = [[STARTED, Abort(Status.INTERNAL)]]
    assert run("generate", "--newline")[:2] == (5, "")


@pytest.mark.parametrize(("last", "shown"), [("words", b"words\r\n"), ("words\n", b"words\r\n")])
def test_on_a_terminal_the_output_ends_with_a_newline(server: ScriptedServer, last: str, shown: bytes) -> None:
    server.scripts = [[STARTED, delta(last), FINISHED]]
    assert on_a_terminal("generate")[:2] == (0, shown)


def test_text_is_utf_8_whatever_the_locale_is(server: ScriptedServer) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    ended = subprocess.run(GENERATE, capture_output=True, env=environment, timeout=120)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, WHOLE.encode(), b"")


def test_an_interrupt_cancels_the_call_and_exits_130_without_a_traceback(server: ScriptedServer) -> None:
    server.scripts = [[STARTED, delta("begun"), HANG]]
    with running(GENERATE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(5) == b"begun"  # it came at once, not with the end of the text
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == b""
    assert server.cancelled.wait(60)


def test_an_interrupt_before_the_first_event_cancels_the_call_too(server: ScriptedServer) -> None:
    server.scripts = [[HANG]]
    with running(GENERATE) as process:
        assert server.arrived.wait(60)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (130, b"", b"")
    assert server.cancelled.wait(60)


def test_a_closed_pipe_cancels_the_call_and_ends_quietly(server: ScriptedServer) -> None:
    server.scripts = [[STARTED, *[delta("text " * 10_000, 50_000 * n) for n in range(100)], HANG]]
    with running(GENERATE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr.read() == b""
    assert server.cancelled.wait(60)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a file on which nothing can be written")
def test_an_output_that_cannot_be_written_is_one_line(server: ScriptedServer) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(GENERATE, stdout=full, stderr=subprocess.PIPE, timeout=120)
    assert ended.returncode == 5
    assert ended.stderr == b"nextchar: error: cannot write the output: No space left on device\n"


def test_a_json_schema_that_cannot_be_read_is_told_before_a_server_is_asked(run: Run, tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xe9")
    for name, reason in (("missing", "No such file or directory"), ("latin", "it is not UTF-8")):
        code, _, errors = run("generate", "--json-schema", str(tmp_path / name))
        assert code == 2
        assert f"cannot read {tmp_path / name}: {reason}" in errors.replace("\n", "")
