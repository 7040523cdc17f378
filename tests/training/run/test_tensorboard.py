from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from nextchar_training.run.ledger import Ledger
from nextchar_training.run.tensorboard import TensorBoardReporter
from tests.support.progress import progress


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def test_tensorboard_reads_losses_speed_and_samples(tmp_path: Path) -> None:
    ledger = Ledger()
    with TensorBoardReporter(tmp_path) as board:
        for step in range(1, 42):
            board.report(ledger.add(progress(step, 1.5 if step == 30 else None), lambda: "ROMEO:\nO"))
    events = read(tmp_path)
    assert [(point.step, point.value) for point in events.Scalars("loss/training")] == [
        (20, 1.5625),
        (30, 1.71875),
        (40, 1.875),
    ]
    assert [(point.step, point.value) for point in events.Scalars("loss/validation")] == [(30, 1.5)]
    assert {point.value for point in events.Scalars("characters_per_second")} == {8192.0}
    (sample,) = events.Tensors("sample/text_summary")
    assert b"ROMEO:\nO" in sample.tensor_proto.string_val[0]


def test_resumed_run_hides_the_points_beyond_its_first_step(tmp_path: Path) -> None:
    with TensorBoardReporter(tmp_path) as killed:
        for step in range(1, 62):
            killed.report(Ledger().add(progress(step, None)))
    with TensorBoardReporter(tmp_path) as resumed:
        for step in range(35, 42):
            resumed.report(Ledger().add(progress(step, None)))
    assert [point.step for point in read(tmp_path).Scalars("loss/training")] == [20, 40]
