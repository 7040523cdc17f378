"""The training summary of a model file, from the record of a checkpoint."""

from __future__ import annotations

from nextchar_model.description import TrainingSummary

from ..data.rules import to_state
from ..run.checkpoint import TrainingRecord


def training_summary(record: TrainingRecord, validation_loss: float) -> TrainingSummary:
    """Returns how a model was trained; ``validation_loss`` is in nats per character, with the state carried along."""
    return TrainingSummary(
        corpus=record.corpus,
        corpus_characters=record.characters,
        command=record.command,
        steps=record.step,
        seconds=record.seconds,
        seed=record.seed,
        validation_loss=validation_loss,
        corpus_sha256=record.corpus_sha256,
        rules=to_state(record.rules),
    )
