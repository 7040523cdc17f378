"""The output of ``nextchar models``, ``score`` and ``health``: tables, JSON and exit codes.

A real server plays scripts; the command runs in this process.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2

from nextchar.v1 import generation_pb2 as pb
from tests.support.command import COMMAND, Run, on_a_terminal
from tests.support.scripted_server import ScriptedServer


def test_models_prints_a_table_with_the_default_marked(server: ScriptedServer, run: Run) -> None:
    first = pb.Model(name="tiny", is_default=True, cell="lstm", layers=1, hidden_size=512, replay=pb.REPLAY_EXACT)
    server.scripts = [[pb.ListModelsResponse(models=[first, pb.Model(name="[b]")])]]
    code, output, _ = run("models")
    heading, one, two = output.splitlines()
    assert code == 0
    assert heading.startswith("MODEL")
    assert one.startswith("tiny (default)  lstm 1×512")
    assert two.startswith("[b] ")


@pytest.mark.parametrize("environment", [{}, {"COLUMNS": "20"}, {"FORCE_COLOR": "1"}, {"LC_ALL": "C"}])
def test_a_wide_table_on_a_pipe_is_plain_and_neither_wrapped_nor_cut(
    server: ScriptedServer, environment: dict[str, str]
) -> None:
    server.scripts = [[pb.ListModelsResponse(models=[pb.Model(name="n" * 500, digest="0123456789abcdef")])]]
    ended = subprocess.run([*COMMAND, "models"], capture_output=True, env=os.environ | environment, timeout=120)
    heading, row = ended.stdout.decode().splitlines()
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert heading.endswith("  DIGEST")
    assert row.startswith("n" * 500 + "   0×0")
    assert row.endswith("  0123456789ab")
    assert "\x1b" not in heading + row


def test_models_on_a_narrow_terminal_are_listed_one_below_the_other(server: ScriptedServer) -> None:
    models = [pb.Model(name=name, precision="int8", provider="cpu", digest="0123456789abcdef") for name in "ab"]
    server.scripts = [[pb.ListModelsResponse(models=models)]]
    code, output, _ = on_a_terminal("models", columns=40)
    lines = output.decode().splitlines()
    assert code == 0
    assert max(map(len, lines)) <= 40
    assert [line for line in lines if line.startswith(("MODEL", "ARITHMETIC"))] == [
        *["MODEL       a", "ARITHMETIC  int8 on cpu", "MODEL       b", "ARITHMETIC  int8 on cpu"]
    ]


def test_models_on_a_wide_terminal_are_a_table(server: ScriptedServer) -> None:
    server.scripts = [[pb.ListModelsResponse(models=[pb.Model(name="a"), pb.Model(name="b")])]]
    assert len(on_a_terminal("models", columns=120)[1].splitlines()) == 3


def test_models_as_json_is_one_object_per_model(server: ScriptedServer, run: Run) -> None:
    server.scripts = [[pb.ListModelsResponse(models=[pb.Model(name="a", alphabet=["한"]), pb.Model(name="b")])]]
    _, output, _ = run("models", "--json")
    models = [json.loads(line) for line in output.splitlines()]
    assert [(model["name"], model["alphabet"]) for model in models] == [("a", ["한"]), ("b", [])]


def test_models_shows_the_share_of_each_version_and_warns_of_files_that_could_not_be_loaded(
    server: ScriptedServer, run: Run
) -> None:
    versions = [pb.Model(name="verse", is_current=True, weight=0.9), pb.Model(name="verse")]
    failure = pb.LoadFailure(name="verse@10%", reason="damaged", message="not a model file\x1b")
    server.scripts = [[pb.ListModelsResponse(models=versions, load_failures=[failure])]]
    code, output, errors = run("models")
    assert code == 0
    assert [line.split()[-1] for line in output.splitlines()[1:]] == ["90%", "digest"]
    assert errors == "nextchar: warning: the server can't load verse@10%: not a model file\\x1b\n"


def score_response() -> pb.ScoreResponse:
    columns = pb.CharacterLogprobs(
        logprobs=[-0.5], alternatives_per_character=1, alternatives="b", alternative_logprobs=[-1]
    )
    return pb.ScoreResponse(
        model="tiny", text="\n", character_logprobs=columns, total_logprob=-0.5, bits_per_character=0.7213
    )


def test_score_prints_total_and_bits(server: ScriptedServer, run: Run) -> None:
    server.scripts = [[score_response()]]
    code, output, _ = run("score", "\n")
    assert code == 0
    assert [line.split() for line in output.splitlines()] == [
        ["characters", "1"],
        ["log-probability", "-0.5000", "nats"],
        ["bits", "per", "character", "0.7213"],
    ]


def test_score_prints_a_table_of_characters(server: ScriptedServer, run: Run) -> None:
    server.scripts = [[score_response()]]
    _, output, _ = run("score", "\n", "--characters", "--top-logprobs", "1")
    heading, row, *_ = output.splitlines()
    assert heading.split() == ["OFFSET", "LOG-PROBABILITY", "(NATS)", "BITS", "CHARACTER", "LIKELIEST"]
    assert row.split() == ["0", "-0.5000", "0.7213", r"'\n'", "'b'", "-1.000"]


def test_score_as_json_is_one_object(server: ScriptedServer, run: Run) -> None:
    server.scripts = [[score_response()]]
    _, output, _ = run("score", "\n", "--json")
    score = json.loads(output)
    assert (score["total_logprob"], score["bits_per_character"]) == (-0.5, 0.7213)
    assert score["characters"][0]["character"] == "\n"


@pytest.mark.parametrize("option", ["--file", "--prompt-file", "--text-file"])
def test_options_of_score_reach_the_server(server: ScriptedServer, run: Run, tmp_path: Path, option: str) -> None:
    file = tmp_path / "text.txt"
    file.write_bytes(b"text\n")
    run("score", option, str(file), "--model", "tiny", "--unknown", "skip", "--top-logprobs", "2", "--json")
    settings = pb.ScoreSettings(model="tiny", top_logprobs=2, unknown_characters=pb.UNKNOWN_CHARACTERS_SKIP)
    ((first, end),) = server.requests
    assert first == pb.ScoreStreamRequest(settings=settings, text="text\n")
    assert end == pb.ScoreStreamRequest(is_end=True)


def test_health_is_0_if_the_server_serves(server: ScriptedServer, run: Run) -> None:
    assert run("health") == (0, "SERVING\n", "")


def test_health_is_1_if_the_server_does_not_serve(server: ScriptedServer, run: Run) -> None:
    server.set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
    assert run("health") == (1, "NOT_SERVING\n", "")


def test_health_is_1_if_no_server_answers(run: Run) -> None:
    code, output, errors = run("health", "--endpoint", "127.0.0.1:1")
    assert (code, output) == (1, "")
    assert errors.startswith("nextchar: error: no server answers at 127.0.0.1:1: ")


def test_health_is_1_for_an_unknown_service(server: ScriptedServer, run: Run) -> None:
    line = "nextchar: error: NOT_FOUND: the server has no service 'nextchar.v9'\n"
    assert run("health", "--service", "nextchar.v9") == (1, "", line)


def test_health_as_json_is_an_object(server: ScriptedServer, run: Run) -> None:
    assert run("health", "--json") == (0, '{"health": "serving"}\n', "")
