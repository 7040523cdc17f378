"""The lines of calls: their rate is bounded by kind, and what is left out is counted."""

from nextchar_server.rpc.call_log import LINES, LineLimit


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_second_has_a_bounded_number_of_lines_of_a_kind() -> None:
    limit = LineLimit(clock=Clock())
    assert [limit.left_out("refused") for _ in range(10_000)].count(None) == 10_000 - LINES


def test_the_next_line_says_how_many_were_left_out() -> None:
    clock = Clock()
    limit = LineLimit(clock=clock)
    for _ in range(LINES + 7):
        limit.left_out("refused")
    clock.now = 1.0
    assert [limit.left_out("refused") for _ in range(2)] == [7, 0]


def test_a_kind_with_many_lines_leaves_room_for_the_others() -> None:
    limit = LineLimit(clock=Clock())
    for _ in range(LINES + 1):
        limit.left_out("refused")
    assert limit.left_out("failed") == 0
