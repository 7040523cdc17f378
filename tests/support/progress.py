"""A made-up report of a training after a step."""

from nextchar_training.learning.progress import Progress


def progress(step: int, validation_loss: float | None, *, busy: float = 1.0) -> Progress:
    return Progress(
        step=step,
        epoch=step / 100,
        fraction=step / 400,
        seconds=step * 0.5,
        characters=step * 4096,
        learning_rate=0.003,
        training_loss=1.25 + step / 64,
        validation_loss=validation_loss,
        scheduled=validation_loss is not None,
        keep=validation_loss is not None,
        busy=busy,
    )
