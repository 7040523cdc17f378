"""``nextchar score`` of files, lines and dynamic evaluations, against a real server that plays scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_cli.command_line import UsageError
from nextchar_client.commands.reading import parts_of
from nextchar_client.commands.scored_lines import blocks_of, fewest, threshold
from tests.support.command import Run, on_a_terminal
from tests.support.scripted_server import Abort, ScriptedServer, Status

STARTED = pb.ScoreStreamResponse(started=pb.ScoreStarted(request_id="r1", model="tiny", model_digest="00ff"))
MODEL = [pb.GetModelResponse(model=pb.Model(alphabet=["a", "b"], alphabet_kind="characters", max_prompt_characters=30))]
LABEL = "dynamic evaluation"


def part(text: str, *logprobs: float) -> pb.ScoreStreamResponse:
    columns = pb.CharacterLogprobs(logprobs=logprobs, ranks=[2] * len(text), entropies=[0.5] * len(text))
    return pb.ScoreStreamResponse(part=pb.ScoredPart(text=text, character_logprobs=columns))


def total(characters: int, nats: float) -> pb.ScoreStreamResponse:
    scored = pb.ScoredText(characters=characters, total_logprob=nats, bits_per_character=1.25)
    return pb.ScoreStreamResponse(text=scored)


def candidates(*texts: str, nats: float = -1.0) -> list[pb.RescoreResponse]:
    """Scores in which each character has ``nats``."""
    scores = []
    for text in texts:
        columns = pb.CharacterLogprobs(logprobs=[nats] * len(text))
        scores.append(pb.CandidateScore(text=text, total_logprob=nats * len(text), character_logprobs=columns))
    return [pb.RescoreResponse(scores=scores)]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "text.txt"
    path.write_text("a\nb")
    return str(path)


@pytest.fixture
def scored(server: ScriptedServer) -> ScriptedServer:
    server.scripts = [[STARTED, part("a\n", -0.5, -8), part("b", -2), total(3, -10.5)]]
    return server


def test_a_file_is_streamed_for_its_totals_alone(server: ScriptedServer, run: Run, file: str) -> None:
    server.scripts = [[STARTED, total(3, -10.5)]]
    _, output, _ = run("score", "--file", file)
    assert output == "characters          3\nlog-probability     -10.5000 nats\nbits per character  1.2500\n"
    assert server.requests[0][0].settings.totals_only


def test_csv_has_a_line_for_each_character(scored: ScriptedServer, run: Run, file: str) -> None:
    _, output, _ = run("score", "--file", file, "--csv", "--details")
    assert output.splitlines()[:2] == [
        "offset,character,logprob,bits,rank,entropy",
        "0,a,-0.5,0.7213475204444817,2,0.5",
    ]
    assert output.endswith("2,b,-2.0,2.8853900817779268,2,0.5\n")
    assert scored.requests[0][0].settings.details


def test_json_lines_are_an_object_for_each_character(scored: ScriptedServer, run: Run, file: str) -> None:
    _, output, _ = run("score", "--file", file, "--json-lines")
    objects = [json.loads(line) for line in output.splitlines()]
    assert objects[1] == {
        "offset": 1,
        "character": "\n",
        "logprob": -8.0,
        "bits": pytest.approx(11.5416, abs=1e-4),
        "rank": 2,
        "entropy": 0.5,
    }


def test_json_of_a_file_is_one_object(scored: ScriptedServer, run: Run, file: str) -> None:
    _, output, _ = run("score", "--file", file, "--json")
    score = json.loads(output)
    assert list(score) == [
        "request_id",
        "model",
        "model_digest",
        "characters",
        "total_logprob",
        "bits_per_character",
    ]
    assert [place["character"] for place in score["characters"]] == ["a", "\n", "b"]


def test_on_a_terminal_the_text_is_coloured(scored: ScriptedServer, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    output = on_a_terminal("score", "--file", file, "--endpoint", scored.endpoint)[1].decode()
    text, scale, *_ = output.split("\r\n\r\n")
    assert text.startswith("a\x1b[")
    assert "↵\x1b[0m\r\n\x1b[" in text
    assert scale.startswith("surprise in bits:")


def test_without_colours_a_terminal_shows_the_totals(
    server: ScriptedServer, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    server.scripts = [[STARTED, total(3, -10.5)]]
    output = on_a_terminal("score", "--file", file, "--endpoint", server.endpoint)[1].decode()
    assert output.startswith("characters")


def test_lines_are_documents_with_numbers(server: ScriptedServer, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("ab\n\nb\n")
    server.scripts = [MODEL, candidates("ab", "b", nats=-2)]
    _, output, _ = run("score", "--lines", "--file", str(file))
    assert [line.split() for line in output.splitlines()] == [
        ["LINE", "CHARACTERS", "BITS", "TOTAL", "(NATS)", "TEXT"],
        ["1", "2", "2.8854", "-4.0000", "ab"],
        ["2", "0", "0.0000", "0.0000"],
        ["3", "1", "2.8854", "-2.0000", "b"],
    ]
    assert server.requests[1] == pb.RescoreRequest(candidates=["ab", "b"])


def test_a_line_that_is_longer_than_a_prompt_goes_by_a_stream(server: ScriptedServer, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("a" * 40)
    server.scripts = [MODEL, [STARTED, total(40, -20)]]
    _, output, _ = run("score", "--lines", "--json", "--file", str(file))
    assert json.loads(output) == {
        "line": 1,
        "characters": 40,
        "bits_per_character": pytest.approx(0.7213, abs=1e-4),
        "total_logprob": -20.0,
        "text": "a" * 40,
    }


def test_an_unknown_character_is_told_with_its_line(server: ScriptedServer, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("ab\n\né\n")
    server.scripts = [MODEL, [Abort(Status.INVALID_ARGUMENT, "candidates[1]: character 'é'")]]
    code, _, errors = run("score", "--lines", "--file", str(file))
    assert (code, errors) == (2, "nextchar: error: INVALID_ARGUMENT: --file: line 3: character 'é'\n")


def test_lines_above_the_threshold_of_normal_ones_are_marked(server: ScriptedServer, run: Run, tmp_path: Path) -> None:
    normal, file = tmp_path / "normal.txt", tmp_path / "lines.txt"
    normal.write_text("a\na\n")
    file.write_text("ab\n")
    server.scripts = [MODEL, candidates("a", "a", nats=-1), candidates("ab", nats=-2)]
    options = ["--lines", "--csv", "--threshold-from", str(normal), "--quantile", "0.5"]
    code, output, errors = run("score", "--file", str(file), *options)
    heading, row = output.splitlines()
    assert heading == "line,characters,bits_per_character,total_logprob,above_threshold,text"
    assert row.endswith(",-4.0,1,ab")
    assert (code, errors) == (0, "nextchar: 1 of 1 lines are above 1.4427 bits per character\n")


def test_too_few_normal_lines_are_told(server: ScriptedServer, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("a\nb\n")
    server.scripts = [MODEL, candidates("a", "b")]
    _, _, errors = run("score", "--file", str(file), "--lines", "--threshold-from", str(file))
    assert "2 normal lines are too few for a quantile of 0.999, which needs 999" in errors


@pytest.mark.parametrize("form", [[], ["--characters"], ["--json"], ["--json-lines"], ["--csv"]])
def test_a_dynamic_evaluation_is_named_in_every_form(
    server: ScriptedServer, run: Run, file: str, form: list[str]
) -> None:
    server.scripts = [MODEL, [STARTED, part("a\nb", -1, -1, -1), total(3, -3)]]
    code, output, _ = run("score", "--file", file, "--adaptive", *form)
    assert code == 0
    assert "dynamic" in output


def test_the_total_of_a_dynamic_evaluation_is_the_sum_of_its_characters(
    server: ScriptedServer, run: Run, file: str
) -> None:
    server.scripts = [MODEL, [STARTED, part("a\n", -1, -1), part("b", -1), total(3, -3)]]
    score = json.loads(run("score", "--file", file, "--adaptive-text", file, "--json")[1])
    assert score["total_logprob"] == pytest.approx(sum(place["logprob"] for place in score["characters"]))
    assert score["total_logprob"] != -3
    assert score["dynamic_evaluation"] is True


def test_the_lines_of_a_dynamic_evaluation_are_learnt_one_after_another(
    server: ScriptedServer, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "lines.txt"
    file.write_text("abab\nabab\n")
    server.scripts = [MODEL, candidates("abab", "abab")]
    _, output, _ = run("score", "--lines", "--json", "--adaptive", "--file", str(file))
    first, second = (json.loads(line) for line in output.splitlines())
    assert second["total_logprob"] > first["total_logprob"]
    assert first["dynamic_evaluation"] is True


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["a", "--lines"], "--lines needs --file"),
        (["a", "--csv", "--json"], "--json, --csv: give one of them"),
        (["a", "--details"], "--details needs --json, --json-lines, --csv or --characters"),
        (["a", "--threshold-from", "x"], "--threshold-from needs --lines"),
        (["--file", "x", "--quantile", "0.9"], "--quantile needs --threshold-from"),
        (["--file", "nowhere"], "--file: cannot read nowhere: No such file or directory"),
        (["a", "--adaptive-text", "nowhere"], "--adaptive-text: cannot read nowhere: No such file or directory"),
    ],
)
def test_options_that_do_not_go_together_are_refused(run: Run, options: list[str], complaint: str) -> None:
    code, _, errors = run("score", *options)
    assert (code, errors) == (2, f"nextchar: error: {complaint} (see nextchar score --help)\n")


def test_parts_of_a_file_are_as_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextchar_client.commands.reading._PART", 1)
    file = tmp_path / "text.txt"
    file.write_bytes("\ufeffa\r\n한\r".encode())
    assert "".join(parts_of(str(file), name="--file")) == "a\n한\n"
    assert "".join(parts_of(str(file), name="--file", verbatim=True)) == "\ufeffa\r\n한\r"


def test_a_byte_that_is_not_utf_8_is_told_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextchar_client.commands.reading._PART", 4)
    file = tmp_path / "text.txt"
    file.write_bytes(b"abc\xed\x95\x9cd\xffe")
    with pytest.raises(UsageError, match=r"--file: .*: byte 0xff at offset 7 is not UTF-8"):
        list(parts_of(str(file), name="--file"))


def test_blocks_hold_the_lines_that_have_come() -> None:
    parts = ["ab\nc", "d", "\n\nefghij\nk"]
    assert list(blocks_of(parts, 5)) == [["ab"], ["cd", ""], ["efghij"], ["k"]]


def test_the_threshold_is_the_rank_of_split_conformal_prediction() -> None:
    normal = [float(n) for n in range(1, 100)]
    assert (threshold(normal, 0.9), threshold(normal, 0.99), threshold(normal, 0.999)) == (90, 99, 99)
    assert (fewest(0.9), fewest(0.99), fewest(0.999)) == (9, 99, 999)
