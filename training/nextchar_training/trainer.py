"""The trainer: the loop that fits a network to a text.

Takes a network and a corpus and gives ``Progress`` after every step. It writes no files:
who runs it decides what to keep, its position too, from which it goes on as if it had never stopped.

Truncated back-propagation through time: the state goes on from step to step (see ``batches``), the gradient does not.

The recipe: AdamW, a short warm-up, then a cosine to zero over the whole budget, be it minutes or epochs
(Loshchilov & Hutter 2017, 2019).
"""

from __future__ import annotations

import math
import platform
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nextchar_training.alphabet import Alphabet
from nextchar_training.batches import Batches
from nextchar_training.corpus import Corpus
from nextchar_training.evaluation import WINDOW, NetworkScorer, windows_loss
from nextchar_training.network import Network, State, detached, restarted

VALIDATION_CHARACTERS = 64 * WINDOW
"""Characters of the validation text that are evaluated during training."""

_VALIDATIONS = 25  # evaluations a training
_BETAS = (0.9, 0.99)
_WEIGHT_DECAY = 0.05  # of matrices only
_WARM_UP = 0.05  # of the budget
_CLIP_NORM = 1.0


class TrainingError(ValueError):
    """A training cannot start, or cannot go on."""


@dataclass(frozen=True)
class Settings:
    """How to train. Exactly one of ``minutes`` and ``epochs`` is the budget."""

    minutes: float | None = None
    epochs: int | None = None
    batch_size: int = 64
    sequence_length: int = 64
    learning_rate: float = 3e-3
    dropout: float = 0.3
    input_dropout: float = 0.1
    seed: int = 1

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.epochs is None):
            raise TrainingError("the budget is either minutes or epochs")
        for name in ("minutes", "epochs", "batch_size", "sequence_length", "learning_rate"):
            number = getattr(self, name)
            if number is not None and not (0 < number < math.inf):
                raise TrainingError(f"{name} is {number}; it must be above 0")
        for name in ("dropout", "input_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise TrainingError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")
        if not 0 <= self.seed < 2**64:
            raise TrainingError(f"seed is {self.seed}; it must be 0 to 2**64 - 1")


@dataclass(frozen=True)
class Progress:
    """Where a training stands after a step.

    ``fraction`` is the part of the budget that is spent, ``characters`` how many were read so far,
    ``training_loss`` the loss of this step with dropout, in nats a character. ``validation_loss`` is
    there at the steps that were evaluated: windows of 256 characters, over at most
    ``VALIDATION_CHARACTERS``. ``scheduled`` tells the evaluations that every training with this budget has
    from the one that a stop brings.
    """

    step: int
    epoch: float
    fraction: float
    seconds: float
    characters: int
    learning_rate: float
    training_loss: float
    validation_loss: float | None
    scheduled: bool


@dataclass(frozen=True)
class Position:
    """All that a training needs, beside its network's weights, to go on as if it had never stopped."""

    step: int
    seconds: float
    fraction: float
    evaluations: int
    optimizer: dict[str, Any]
    state: State
    """Recurrent state of the streams."""
    random: Tensor
    """State of torch's generator, which dropout draws from."""


class Trainer:
    """A training, from where it stands to the end of its budget."""

    def __init__(
        self,
        network: Network,
        corpus: Corpus,
        alphabet: Alphabet,
        settings: Settings,
        position: Position | None = None,
    ) -> None:
        """Trains ``network``, whose weights are those of ``position`` where one is given.

        Raises ``TextTooShortError`` for a text shorter than one batch.
        """
        self._network = network
        self._settings = settings
        self._validation = alphabet.encode(corpus.validation)[:VALIDATION_CHARACTERS]
        self._batches = Batches(
            alphabet.encode(corpus.training),
            int(alphabet.encode("\n")[0]) if "\n" in alphabet.symbols else None,
            batch_size=settings.batch_size,
            sequence_length=settings.sequence_length,
            seed=settings.seed,
        )
        self._optimizer = _optimizer(network, settings.learning_rate)
        self._bf16 = has_fast_bf16()
        if position is None:
            torch.manual_seed(settings.seed)  # of dropout
            self._step, self._evaluations = 0, 0
            self._seconds, self._fraction = 0.0, 0.0
            self._state = network.initial_state(settings.batch_size)
        else:
            self._step, self._evaluations = position.step, position.evaluations
            self._seconds, self._fraction = position.seconds, position.fraction
            self._state = position.state
            self._optimizer.load_state_dict(position.optimizer)
            torch.set_rng_state(position.random)
            self._batches.skip(position.step)

    @property
    def position(self) -> Position:
        """Where the training stands, between two steps."""
        return Position(
            self._step,
            self._seconds,
            self._fraction,
            self._evaluations,
            self._optimizer.state_dict(),
            self._state,
            torch.get_rng_state(),
        )

    def steps(self, stop: threading.Event) -> Iterator[Progress]:
        """Trains until the budget is spent or ``stop`` is set; gives ``Progress`` after every step.

        Evaluates from time to time and after the last step, always. With ``epochs``, one thread and the
        same network, corpus and settings, every run takes the same steps, bit for bit, and so does one that goes on
        from a position. Raises ``TrainingError`` for a loss that is not finite.
        """
        settings, network = self._settings, self._network
        B, T = settings.batch_size, settings.sequence_length
        network.train()
        started = time.perf_counter() - self._seconds
        while self._fraction < 1.0:
            batch = next(self._batches)
            self._step += 1
            learning_rate = settings.learning_rate * _schedule(self._fraction)
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate

            with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
                logits, state = network(batch.inputs, restarted(self._state, batch.begins))  # (T, B, V)
            loss = functional.cross_entropy(logits.float().flatten(0, 1), batch.targets.flatten())
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), _CLIP_NORM)
            self._optimizer.step()
            self._state = detached(state)

            if not math.isfinite(loss.item()):
                raise TrainingError(f"the loss is {loss.item()} at step {self._step}: lower the learning rate")
            if settings.epochs is not None:
                self._fraction = self._step / (settings.epochs * self._batches.steps_per_epoch)
            elif settings.minutes is not None:
                self._fraction = min(1.0, (time.perf_counter() - started) / (settings.minutes * 60))
            scheduled = self._fraction >= 1.0 or self._fraction * _VALIDATIONS >= self._evaluations + 1
            stopped = stop.is_set()
            validation_loss = None
            if scheduled or stopped:
                validation_loss = windows_loss(NetworkScorer(network), self._validation)
                self._evaluations = int(self._fraction * _VALIDATIONS)
            self._seconds = time.perf_counter() - started
            yield Progress(
                step=self._step,
                epoch=self._step / self._batches.steps_per_epoch,
                fraction=self._fraction,
                seconds=self._seconds,
                characters=self._step * B * T,
                learning_rate=learning_rate,
                training_loss=loss.item(),
                validation_loss=validation_loss,
                scheduled=scheduled,
            )
            if stopped:
                return


def has_fast_bf16() -> bool:
    """Whether this CPU multiplies in bfloat16 (AMX or AVX512-BF16); on others it is slower than float32."""
    return platform.machine() in ("x86_64", "AMD64") and bool(
        torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    )


def _schedule(fraction: float) -> float:
    """The factor of the learning rate when ``fraction`` of the budget is spent."""
    if fraction < _WARM_UP:
        # Starts above zero: the first step should learn something.
        return max(fraction / _WARM_UP, 0.01)
    return 0.5 * (1.0 + math.cos(math.pi * (fraction - _WARM_UP) / (1.0 - _WARM_UP)))


def _optimizer(network: Network, learning_rate: float) -> torch.optim.Optimizer:
    parameters = list(network.parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": _WEIGHT_DECAY},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=learning_rate,
        betas=_BETAS,
        fused=True,
    )
