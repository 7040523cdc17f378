"""The lecture on a terminal: its numbers are those of the networks, its claims hold, and bad options are named."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from nextchar_training.lecture import __main__ as program
from nextchar_training.lecture import gap
from nextchar_training.lecture.learning import Network, learn, loss, sample
from nextchar_training.lecture.networks import Lstm, Rnn


@pytest.fixture
def lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> list[str]:
    """The lines that the lecture prints with the options of the test, without the long trainings of its last part."""
    monkeypatch.setattr(program, "GAP_UPDATES", 1)
    assert program.main(getattr(request, "param", [])) == 0
    return capsys.readouterr().out.splitlines()


def error_of(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        program.main(options)
    assert stopped.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_each_character_has_a_column_with_one_1(lines: list[str]) -> None:
    assert [line.split() for line in lines[1:6]] == [
        list("ehlo"),
        *([*row] for row in ("1000", "0100", "0010", "0001")),
    ]


def test_both_networks_learn_to_say_ello_and_their_losses_are_those_of_learn(lines: list[str]) -> None:
    said = [re.search(r"after +(\d+) updates: loss +([\d.]+) nats, says \"(.*)\"", line) for line in lines]
    found = [match.groups() for match in said if match]
    assert [updates for updates, _, _ in found] == ["0", "50", "100", "150", "200"] * 2
    networks: list[Network] = [Rnn(4, 16), Lstm(4, 16)]
    for network, (_, printed, answer) in zip(networks, (found[4], found[9]), strict=True):
        losses = learn(network, [1, 0, 2, 2, 3], updates=201)
        assert (printed, answer) == (f"{losses[200]:.3f}", "ello")


def test_the_table_has_the_scores_and_probabilities_of_each_step(lines: list[str]) -> None:
    first = lines[lines.index(next(line for line in lines if line.startswith("  reads"))) + 1]
    step = Rnn(4, 16).forward([1])[0]
    cells = [
        f"{y:.2f} {f'[{p:.2f}]' if id_ == 0 else f' {p:.2f} '}"
        for id_, (y, p) in enumerate(zip(step.y, step.p, strict=True))
    ]
    assert first.split() == ["h", "e", *"".join(f" {cell}" for cell in cells).split()]


def test_the_error_that_arrives_is_the_slope_of_the_loss_at_each_state() -> None:
    network = Lstm(len(gap.LETTERS), 5, seed=3, forget_bias=1.0)
    inputs = gap.texts(6, np.random.default_rng(0))[0][0]

    def slope(back: int) -> float:
        """The norm of ∂loss/∂c, by differences, ``back`` steps before the last one."""
        read = len(inputs) - back
        last = network.forward(inputs[:read])[-1]
        slopes = []
        for unit in range(5):
            losses = []
            for e in (1e-5, -1e-5):
                c = last.c.copy()
                c[unit] += e
                h = last.o * np.tanh(c)
                steps: Any = network.forward(inputs[read:], (h, c))
                losses.append(-np.log(steps[-1].p[0]))
            slopes.append((losses[0] - losses[1]) / 2e-5)
        return float(np.linalg.norm(slopes))

    flow = gap.flow(network, inputs, 0)
    assert flow[4][1] / flow[1][1] == pytest.approx(slope(4) / slope(1), rel=1e-5)


def test_the_error_fades_unless_the_forget_gates_are_open(lines: list[str]) -> None:
    last = next(line for line in lines if re.match(r" +40 ", line)).split()
    plain, half, open_ = (float(word) for word in last if "e" in word)
    assert half < plain < 0.01 < open_


@pytest.mark.slow
def test_with_seed_0_a_gap_is_learnt_by_the_lstm_with_open_forget_gates_alone() -> None:
    learnt = {
        cell: gap.attempt(gap.make(cell, program.GAP_UNITS, 0), gap=program.GAP, updates=program.GAP_UPDATES).learnt
        for cell in ("rnn", "lstm0", "lstm3")
    }
    assert learnt == {"rnn": False, "lstm0": False, "lstm3": True}


def test_samples_follow_p_and_the_seed() -> None:
    network = Rnn(4, 3)
    network.weights["Why"][:] = 0
    network.weights["by"][:] = np.log([0.1, 0.2, 0.3, 0.4])
    ids = sample(network, 0, 4000, np.random.default_rng(1))
    np.testing.assert_allclose(np.bincount(ids) / 4000, [0.1, 0.2, 0.3, 0.4], atol=0.05)
    assert ids == sample(network, 0, 4000, np.random.default_rng(1))


@pytest.mark.parametrize(
    "lines", [["--text", "나는 밥을 먹는다\n", "--cell", "lstm", "--steps", "3", "--hidden", "4"]], indirect=True
)
def test_a_text_and_a_size_of_ones_own(lines: list[str]) -> None:
    assert '3. LSTM reads "나는␣밥을␣먹는다" and learns "는␣밥을␣먹는다⏎"' in lines
    assert not [line for line in lines if line.startswith("2. RNN")]
    ids = [sorted(set("나는 밥을 먹는다\n")).index(character) for character in "나는 밥을 먹는다\n"]
    before = loss(Lstm(len(set(ids)), 4).forward(ids[:-1]), ids[1:])
    assert f"after    0 updates: loss {before:6.3f}" in "\n".join(lines)


def test_a_reader_may_leave() -> None:
    command = [sys.executable, "-m", "nextchar_training.lecture", "--steps", "1", "--text", "xabxyaby"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        first = program.stdout.readline()
        program.stdout.close()
        assert program.stderr.read() == ""
        assert program.wait(60) == 141
    assert first.startswith("1. ")


def test_lines_have_80_columns_at_most(lines: list[str]) -> None:
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    "lines",
    [["--text", "The quick brown fox jumps over the lazy dog", "--cell", "rnn", "--steps", "60", "--rate", "0.03"]],
    indirect=True,
)
def test_with_a_smaller_rate_the_plain_network_learns_a_long_text(lines: list[str]) -> None:
    assert [line for line in lines if 'says "he␣quick␣brown␣fox␣jumps␣over␣the␣lazy␣dog"' in line]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--text", "a"], "--text: 'a' is shorter than two characters"),
        (["--cell", "gru"], "--cell: invalid choice: 'gru'"),
        (["--hidden", "0"], "--hidden: '0' is not a whole number from 1"),
        (["--steps", "x"], "--steps: 'x' is not a whole number from 0"),
        (["--rate", "0"], "--rate: '0' is not a number above 0 and at most 1"),
    ],
)
def test_a_bad_option_is_named(options: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert named in error_of(capsys, *options)


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main(["--help"])
    told = capsys.readouterr().out
    assert all(option in told for option in ("--text", "--hidden", "--steps", "--rate", "--seed", "--cell"))
