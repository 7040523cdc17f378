"""The usage of ``nextchar-train``: a mistake is one line that names the option, said before torch is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.trainings import error_of, main

VERBS = ["fit", "resume", "export", "evaluate", "sample", "compare", "gates", "gradients"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("fit a --out x --epochs 1 --threads 0", "--threads: '0' is invalid; it must be at least 1"),
        ("fit a --out x --epochs 1 --processes two", "--processes: 'two' is invalid; it must be a whole number"),
        ("fit a --out x --minutes 0", "--minutes: '0' is invalid; it must be above 0"),
        ("fit a --out x --minutes 1e300", "--minutes: '1e300' is invalid; it must be at most 527040"),
        ("fit a --out x --minutes inf", "--minutes: 'inf' is invalid; it must be a finite number"),
        ("fit a --out x --epochs -1", "--epochs: '-1' is invalid; it must be at least 1"),
        ("fit a --out x --epochs 1.5", "--epochs: '1.5' is invalid; it must be a whole number"),
        ("fit a --out x --epochs 1 --dropout 1", "--dropout: '1' is invalid; it must be below 1"),
        ("fit a --out x --epochs 1 --layers 0", "--layers: '0' is invalid; it must be at least 1"),
        ("fit a --out x --epochs 1 --hidden-size 99999999999", "it must be at most 65536"),
        ("fit a --out x --epochs 1 --hidden-size=", "--hidden-size: '' is invalid; it must be a whole number"),
        (
            "fit a --out x --epochs 1 --learning-rate nan",
            "--learning-rate: 'nan' is invalid; it must be a finite number",
        ),
        ("fit a --out x --epochs 1 --seed -1", "--seed: '-1' is invalid; it must be at least 0"),
        (f"fit a --out x --epochs 1 --seed {2**64}", f"--seed: '{2**64}' is invalid; it must be below {2**64}"),
        ("fit a --out x --epochs 1 --minimum-count 0", "--minimum-count: '0' is invalid; it must be at least 1"),
        ("fit a --out x --epochs 1 --replacement ab", "--replacement: 'ab' is not one character"),
        ("fit a --out x --epochs 1 --replacement b", "--replacement needs --rare replace"),
        ("fit a --out x --epochs 1 --cell elman", "--cell: 'elman' is invalid; it must be 'rnn', 'gru' or 'lstm'"),
        ("fit a --out x --epochs 1 --minutes 1", "--minutes and --epochs exclude each other: give one of them"),
        ("fit a --out x --patience 3", "--minutes or --epochs is required"),
        ("fit a --out= --epochs 1", "--out: '' is invalid; it must not be empty"),
        ("fit a --epochs 1", "--out is required"),
        ("fit --out x --epochs 1", "CORPUS is required"),
        ("fit a --out x --epoch 1", "unknown option: --epoch. Did you mean --epochs?"),
        ("fit a --out x b --epochs 1", "unexpected argument 'b'"),
        ("fit - --out x --epochs 1 --processes 2", "standard input can be read only once"),
        ("fit a --out x --epochs 1 --from r --layers 2", "--from keeps the network's sizes: leave out --layers"),
        ("resume r --minutes 0", "--minutes: '0' is invalid; it must be above 0"),
        ("resume r --epochs 1 --minutes 1", "--minutes and --epochs exclude each other"),
        ("export r --out nowhere/m.onnx", "--out: there is no folder nowhere"),
        ("export r --out .", "--out: . is a folder; name a file in it"),
        ("export r --out m.onnx --precision fp16", "--precision: 'fp16' is invalid; it must be int8 or fp32"),
        ("export r --out m.onnx --text", "--text needs a value"),
        ("export r --out m.onnx --scales row", "--scales: 'row' is invalid; it must be output or matrix"),
        ("export r --out m.onnx --precision fp32 --scales matrix", "--scales goes with --precision int8"),
        ("evaluate r", "TEXT is required"),
        ("evaluate r a --characters 0", "--characters: '0' is invalid; it must be at least 1"),
        ("evaluate r a --adaptive-training", "--adaptive-training needs --split validation"),
        ("evaluate r a --unknown-characters drop", "it must be 'error', 'skip' or 'replace'"),
        ("sample r --characters 0", "--characters: '0' is invalid; it must be at least 1"),
        ("sample r --count 0", "--count: '0' is invalid; it must be at least 1"),
        ("sample r --temperature -1", "--temperature: '-1' is invalid; it must be at least 0"),
        ("sample r --temperature 100.5", "--temperature: '100.5' is invalid; it must be at most 100"),
        ("sample r --temperature inf", "--temperature: 'inf' is invalid; it must be a finite number"),
        ("sample r --temperature nan", "--temperature: 'nan' is invalid; it must be a finite number"),
        ("sample r --temperature=", "--temperature: '' is invalid; it must be a number"),
        (f"sample r --seed {2**64}", f"--seed: '{2**64}' is invalid; it must be below {2**64}"),
        ("compare", "RUNS is required"),
        ("compare r --out nowhere/x.png", "--out: there is no folder nowhere"),
        (f"gates r a --out x --characters {2**63}", "it must be at most 20000"),
        ("export r --out m.onnx --unknown skip", "--unknown-characters goes with --text"),
        ("gates r a --out x --unit -1", "--unit: '-1' is invalid; it must be at least 0"),
        ("gradients a --out x --epochs 1 --cell elman", "--cell: 'elman' is invalid; it must be rnn or gru or lstm"),
        ("gradients a --out x", "--minutes or --epochs is required"),
        ("train a", 'unknown command "train"'),
    ],
)
def test_a_mistake_is_one_line_that_names_the_option(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = error_of(arguments.split(), capsys)
    assert message in said
    verb = arguments.partition(" ")[0]
    command = f"nextchar-train {verb}" if verb in VERBS else "nextchar-train"
    assert said.endswith(f"(see {command} --help)\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("fit a.txt --out a.txt --epochs 1", "a.txt: not a folder"),
        ("fit a.txt --out x --epochs 1 --cache a.txt", "Not a directory; --cache names another folder"),
        ("fit a.txt --out x --epochs 1 --from a.txt", "a.txt: not a checkpoint but a text"),
        ("fit a.txt --out x --epochs 1 --from .", "this folder has no best.pt"),
        ("fit nowhere --out x --epochs 1", "'nowhere': no such file or folder"),
        ("evaluate . a.txt", "this folder has no best.pt"),
        ("evaluate nowhere a.txt", "nowhere: No such file or directory"),
        ("sample a.txt", "a.txt: not a checkpoint but a text"),
        ("gates a.txt a.txt --out x", "a.txt: not a checkpoint but a text"),
        ("gates r a.txt --out a.txt", "--out: a.txt is not a folder"),
        ("compare a.txt", "a.txt: not a folder"),
        ("resume a.txt", "a.txt: not a folder"),
        ("resume nowhere", "nowhere: holds no run to resume (stopped.pt or last.pt)"),
    ],
)
def test_a_path_of_the_wrong_kind_is_one_line_that_names_it(
    arguments: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("a text\n" * 100)
    assert message in error_of(arguments.split(), capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        *([verb, "--help"] for verb in VERBS),
        ["fit", "a", "--out", "x", "--minutes", "1", "--epochs", "1"],
        ["sample", "r", "--count", "0"],
        ["export", "r", "--out", "nowhere/m.onnx"],
    ],
    ids=" ".join,
)
@pytest.mark.slow
def test_help_and_mistakes_are_answered_without_torch(arguments: list[str]) -> None:
    program = f"import sys, nextchar_training.commands as c; c.main({arguments!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_help_of_a_verb_has_all_groups_of_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--help"]) == 0
    shown = capsys.readouterr().out
    for group in ("Budget", "Network", "Training", "Machine", "How the corpus is read"):
        assert f"─ {group} ─" in shown
    assert "130: interrupted by Ctrl-C or SIGTERM" in " ".join(shown.split())
