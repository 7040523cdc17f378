from nextchar_training.learning.hardware import BusyMeter


class Clocks:
    """A wall clock and a CPU clock that only move when they are told to."""

    def __init__(self) -> None:
        self.wall = self.cpu = 100.0

    def meter(self, threads: int) -> BusyMeter:
        return BusyMeter(threads, wall=lambda: self.wall, cpu=lambda: self.cpu)

    def move(self, wall: float, cpu: float) -> None:
        self.wall += wall
        self.cpu += cpu


def test_busy_is_cpu_time_per_wall_time_and_thread() -> None:
    clocks = Clocks()
    meter = clocks.meter(threads=2)
    clocks.move(wall=10.0, cpu=6.0)
    assert meter.read() == 0.3


def test_the_first_window_is_read_before_it_is_whole() -> None:
    clocks = Clocks()
    meter = clocks.meter(threads=1)
    clocks.move(wall=1.0, cpu=0.5)
    assert meter.read() == 0.5


def test_a_window_that_is_not_whole_leaves_the_last_figure() -> None:
    clocks = Clocks()
    meter = clocks.meter(threads=1)
    clocks.move(wall=5.0, cpu=4.0)
    assert meter.read() == 0.8
    clocks.move(wall=4.0, cpu=0.0)
    assert meter.read() == 0.8
    clocks.move(wall=4.0, cpu=2.0)
    assert meter.read() == 0.25


def test_no_time_at_all_counts_as_busy() -> None:
    assert Clocks().meter(threads=1).read() == 1.0
