import io
import os
from collections.abc import Iterable
from dataclasses import replace

import pytest
from rich.console import Console

from nextchar_training.learning.progress import Progress
from nextchar_training.run.ledger import Ledger
from nextchar_training.run.terminal import TerminalReporter, evaluating, tell
from tests.support.progress import progress
from tests.training.run.test_ledger import row


def shown(
    steps: Iterable[Progress],
    *samples: str,
    width: int = 60,
    threads: int = 1,
    lines: bool = False,
    minutes: float | None = None,
) -> str:
    """The last picture on a terminal; each evaluation takes the next sample."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, color_system=None)
    ledger, left = Ledger(), list(samples)
    with TerminalReporter(console, threads=threads, lines=lines, minutes=minutes) as terminal:
        for step in steps:
            terminal.report(ledger.add(step, lambda: left.pop(0)))
    return screen.getvalue().rpartition("━ ")[2]


def test_without_a_terminal_every_evaluation_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger()
    with TerminalReporter(Console(file=io.StringIO())) as terminal:
        for step, loss in ((1, None), (100, 1.5), (101, None), (200, 1.375)):
            terminal.report(ledger.add(progress(step, loss), lambda: pytest.fail("nobody reads the sample")))
    assert capsys.readouterr().out == (
        "expected: 4.0 epochs in 0:03:20\n"
        " 25%  epoch 1.0  loss 2.812  validation 1.500 nats per character  8,192 characters/s  0:02:30 left\n"
        " 50%  epoch 2.0  loss 4.375  validation 1.375 nats per character  8,192 characters/s  0:01:40 left\n"
    )


def test_terminal_shows_the_losses_and_the_latest_sample_within_its_width() -> None:
    steps = [progress(100, 1.375), progress(200, 1.5), progress(201, None)]
    last = shown(steps, "ROMEO:\n" + "long " * 40, "JULIET:\nO [bold]Romeo")
    assert "1.5000 nats per character, best 1.3750" in last
    assert "JULIET:" in last
    assert "O [bold]Romeo" in last  # as the network wrote it, no markup
    assert "ROMEO" not in last
    assert max(len(line) for line in last.splitlines()) <= 60


def test_terminal_shows_twenty_documents_that_are_lines() -> None:
    names = [f"name-{n}" for n in range(20)]
    last = shown([progress(100, 1.5)], "\n".join(names), lines=True)
    assert all(name in last.split() for name in names)
    assert max(len(line) for line in last.splitlines()) <= 60


def test_control_characters_of_a_sample_stay_out_of_the_terminal() -> None:
    screen = shown([progress(100, 1.5)], "\x1b]0;title\x07 a\tb \u3000한글")
    assert "\x1b]0;" not in screen
    assert "\\x1b]0;title\\x07 a " in screen


def test_expectation_is_refreshed_at_an_evaluation() -> None:
    faster = replace(progress(100, 1.375), seconds=25.0)
    last = shown([progress(10, None), progress(50, None), faster], "text")
    assert "4.0 epochs in 0:01:40" in last


def test_short_training_has_an_expectation_from_its_first_evaluation_on() -> None:
    last = shown([replace(progress(5, 1.375), fraction=1.0)], "text")
    assert "0.1 epochs in 0:00:02" in last
    assert "0:00:00 left" in last


def test_time_left_of_a_budget_in_minutes_is_the_budget_without_the_seconds_spent() -> None:
    slowly_evaluated = replace(progress(100, 1.375), fraction=0.2, seconds=15.0)
    last = shown([slowly_evaluated], "text", minutes=1)
    assert "0:00:45 left" in last
    assert "4.0 epochs in 0:01:00" in last


def test_sentence_breaks_between_words_on_a_terminal() -> None:
    screen = io.StringIO()
    tell("so many words", Console(file=screen, force_terminal=True, width=7, color_system=None))
    assert [line.rstrip() for line in screen.getvalue().splitlines()] == ["so many", "words"]


def test_sentence_is_one_line_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    tell("so many words", Console(file=io.StringIO(), width=7))
    assert capsys.readouterr().out == "so many words\n"


def test_live_view_ends_with_an_empty_line_that_takes_the_echo_of_ctrl_c() -> None:
    assert shown([progress(100, 1.5)], "text").endswith("╯\n\n\x1b[?25h")  # show the cursor again


def test_continued_run_counts_the_epochs_of_the_earlier_one(capsys: pytest.CaptureFixture[str]) -> None:
    with TerminalReporter(Console(file=io.StringIO())) as terminal:
        terminal.report(Ledger(earlier=[row(300, 1.5)]).add(progress(100, 1.25)))
    assert " 25%  epoch 4.0  loss " in capsys.readouterr().out


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More threads want to run than there are cores."""
    monkeypatch.setattr(os, "getloadavg", lambda: (1000.0, 0.0, 0.0))


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hardly a thread wants to run."""
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 0.0, 0.0))


def starved(*, threads: int, share: float = 0.2, steps: int = 200) -> str:
    """All that a terminal shows while each thread has the processor for a ``share`` of the time."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200, color_system=None)
    with TerminalReporter(console, threads=threads) as terminal:
        for step in range(1, steps):
            terminal.report(Ledger().add(replace(progress(step, None), busy=share)))
    return screen.getvalue()


@pytest.mark.usefixtures("crowded")
def test_busy_processor_is_told_once() -> None:
    told = starved(threads=2)
    assert told.count("each of 2 threads has it 20% of the time; fewer --threads would be faster") == 1


@pytest.mark.usefixtures("crowded")
@pytest.mark.parametrize(("threads", "share"), [(1, 0.2), (2, 0.8)])
@pytest.mark.slow
def test_processor_is_not_called_busy_if_fewer_threads_would_not_help(threads: int, share: float) -> None:
    assert "busy" not in starved(threads=threads, share=share)


@pytest.mark.usefixtures("idle")
def test_threads_that_wait_for_each_other_are_no_busy_processor() -> None:
    assert "busy" not in starved(threads=16)


@pytest.mark.usefixtures("crowded")
def test_short_pause_is_not_called_busy() -> None:
    assert "busy" not in starved(threads=2, steps=30)


def test_evaluation_says_what_it_runs_on(capsys: pytest.CaptureFixture[str]) -> None:
    with evaluating("all held-out text") as show:
        show(0.5)
    assert capsys.readouterr() == ("evaluating the best checkpoint on all held-out text\n", "")
