import io

import pytest
from rich.console import Console

from nextchar_training.run.terminal import Display
from tests.support.progress import progress


def test_without_a_terminal_every_evaluation_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(Console(file=io.StringIO())) as display:
        assert not display.wants_sample
        for step, loss in ((1, None), (100, 1.5), (101, None), (200, 1.375)):
            display.show(progress(step, loss))
    assert capsys.readouterr().out == (
        "expected: 4.0 epochs in 0:03:20\n"
        " 25%  epoch 1.0  loss 2.812  validation 1.500  8,192 char/s  0:02:30 left\n"
        " 50%  epoch 2.0  loss 4.375  validation 1.375  8,192 char/s  0:01:40 left\n"
    )


def test_a_terminal_shows_the_losses_and_the_latest_sample_within_its_width() -> None:
    screen = io.StringIO()
    with Display(Console(file=screen, force_terminal=True, width=60, color_system=None)) as display:
        assert display.wants_sample
        display.show(progress(100, 1.5), "ROMEO:\n" + "long " * 40)
        display.show(progress(200, 1.375), "JULIET:\nO [bold]Romeo")
        display.show(progress(201, None))
    last = screen.getvalue().rpartition("━ ")[2]
    assert "1.3750, best 1.3750" in last
    assert "JULIET:" in last
    assert "O [bold]Romeo" in last  # as the network wrote it, no markup
    assert "ROMEO" not in last
    assert max(len(line) for line in last.splitlines()) <= 60
