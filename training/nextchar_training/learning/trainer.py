"""The trainer: the loop that fits a network to a text.

Takes a network and a text and gives ``Progress`` after every step or few. It writes no files:
who runs it decides what to keep, its position too, from which it goes on as if it had never stopped.
Several processes that run one training each have a trainer. They share every step, or each takes some for itself
before they average what they learned (local SGD): less travels between them, and less often.

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

from ..data.batches import Batches
from ..data.split import Split
from .evaluation import WINDOW, NetworkScorer, nats, spread, windows
from .network import Network, NetworkState, detached, restarted
from .recipe import Recipe, TrainingError
from .workers import Workers

VALIDATION_CHARACTERS = 64 * WINDOW
"""Characters of the validation text that are evaluated during training, about: windows from all over it."""

_MOST_VALIDATIONS, _LEAST_VALIDATIONS = 25, 5  # evaluations a training
_SECONDS_A_VALIDATION = 20.0  # at least, between those; one and what is kept then takes a third of a second
_SECONDS_AT_RISK = 60.0  # most work that a killed training has to do again
_BETAS = (0.9, 0.99)
_WARM_UP = 0.05  # of the budget
_CLIP_NORM = 1.0


@dataclass(frozen=True)
class Progress:
    """Where a training stands, its processes together.

    ``fraction`` is the part of the budget that is spent, ``characters`` how many were read so far,
    ``training_loss`` the mean loss of the steps since the ``Progress`` before, with dropout, in nats a character.
    ``validation_loss`` is there at the steps that were evaluated: windows of 256 characters, about
    ``VALIDATION_CHARACTERS``, in the precision of the training. ``scheduled`` tells the evaluations that every
    training with this budget has from the one that a stop brings. ``keep`` says that it is time to keep the position:
    at evaluations, and once a minute.
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
    keep: bool


@dataclass(frozen=True)
class Position:
    """All that a training needs, beside its network's weights, to go on as if it had never stopped."""

    step: int
    seconds: float
    fraction: float
    evaluations: int
    best_loss: float
    """Lowest validation loss of the scheduled evaluations so far."""
    stale: int
    """Scheduled evaluations since that one."""
    optimizer: dict[str, Any]
    state: NetworkState
    """Recurrent state of the streams."""
    random: Tensor
    """NetworkState of torch's generators, which dropout draws from, uint8 [processes, bytes]."""


class Trainer:
    """A training, from where it stands to the end of its budget."""

    def __init__(
        self,
        network: Network,
        lesson: Split,
        settings: Recipe,
        *,
        position: Position | None = None,
        workers: Workers | None = None,
    ) -> None:
        """Trains ``network``, on its device; its weights are those of ``position`` where one is given.

        Raises ``TextTooShortError`` for a text shorter than one batch, ``TrainingError`` for a batch that the
        processes cannot divide among themselves.
        """
        self._network = network
        self._settings = settings
        self._workers = workers or Workers()
        self._device = next(network.parameters()).device
        if settings.batch_size % self._workers.size:
            raise TrainingError(
                f"batch_size is {settings.batch_size}; {self._workers.size} processes cannot divide it evenly"
            )
        self._lesson = lesson
        self._windows = spread(windows(lesson.validation), VALIDATION_CHARACTERS)
        self._validations = _validations(settings)
        self._batches = Batches(
            lesson.training,
            lesson.line_end,
            batch_size=settings.batch_size,
            sequence_length=settings.sequence_length,
            seed=settings.seed,
            continuing=lesson.continuing,
        )
        self._optimizer = _optimizer(network, settings)
        self._bf16 = has_fast_bf16(self._device)
        self._period = settings.averaging_period if self._workers.size > 1 else 1
        if position is None:
            self._generator.manual_seed((settings.seed + self._workers.rank) % 2**64)
            self._step, self._evaluations, self._stale = 0, 0, 0
            self._seconds, self._fraction, self._best_loss = 0.0, 0.0, math.inf
            self._state = network.initial_state(settings.batch_size // self._workers.size)
        else:
            self._step, self._evaluations, self._stale = position.step, position.evaluations, position.stale
            self._seconds, self._fraction, self._best_loss = position.seconds, position.fraction, position.best_loss
            self._state = tuple(
                tuple(self._workers.part(one, 1).to(self._device) for one in layer) for layer in position.state
            )
            self._optimizer.load_state_dict(position.optimizer)
            self._generator.set_state(position.random[self._workers.rank].clone())
            self._batches.skip(position.step)

    @property
    def position(self) -> Position:
        """Where the training stands, between two steps. All its processes have to ask for it at once."""
        gather = self._workers.gather
        return Position(
            step=self._step,
            seconds=self._seconds,
            fraction=self._fraction,
            evaluations=self._evaluations,
            best_loss=self._best_loss,
            stale=self._stale,
            optimizer=self._optimizer.state_dict(),
            state=tuple(tuple(gather(one, 1) for one in layer) for layer in self._state),
            random=gather(self._generator.get_state()[None], 0),
        )

    @property
    def _generator(self) -> torch.Generator:
        """The one that dropout draws from."""
        if self._device.type == "cuda":
            return torch.cuda.default_generators[self._device.index or 0]
        return torch.default_generator

    def steps(self, stop: threading.Event) -> Iterator[Progress]:
        """Trains until the budget is spent or ``stop`` is set.

        Gives ``Progress`` after every step, or where processes take some for themselves, whenever these are averaged.
        Evaluates from time to time and after the last step, always. With ``epochs``, on a CPU, with one thread a
        process, as many processes, and the same network, corpus and settings, every run takes the same steps, bit
        for bit, and so does one that goes on from a position. Raises ``TrainingError`` for a loss that is not finite.
        """
        settings, network = self._settings, self._network
        shared = self._workers.share(network) if self._period == 1 else network
        network.train()
        started = time.perf_counter() - self._seconds
        kept = time.monotonic()
        while self._fraction < 1.0:
            learning_rate = settings.learning_rate * _schedule(self._fraction)
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate
            losses = [self._take_step(shared) for _ in range(self._steps_alone)]
            if self._period > 1:
                self._average()
            training_loss = self._workers.mean(torch.stack(losses).mean()).item() / self._lesson.characters_an_id
            if not math.isfinite(training_loss):
                raise TrainingError(f"the loss is {training_loss} at step {self._step}: lower the learning rate")
            spent = self._spent(time.perf_counter() - started)
            at_risk = time.monotonic() > kept + _SECONDS_AT_RISK
            self._fraction, stopped, keep = self._workers.agree([spent, stop.is_set(), at_risk])
            scheduled = self._fraction >= 1.0 or self._fraction * self._validations >= self._evaluations + 1
            validation_loss = None
            if scheduled or stopped:
                validation_loss = self._validate()
                self._evaluations = int(self._fraction * self._validations)
                keep = True
            if scheduled and validation_loss is not None:
                self._stale = 0 if validation_loss < self._best_loss else self._stale + 1
                self._best_loss = min(validation_loss, self._best_loss)
                if self._stale == settings.patience:
                    self._fraction = 1.0
            if keep:
                kept = time.monotonic()
            self._seconds = time.perf_counter() - started
            yield Progress(
                step=self._step,
                epoch=self._step / self._batches.steps_per_epoch,
                fraction=self._fraction,
                seconds=self._seconds,
                characters=round(self._step * self._batches.size * self._lesson.characters_an_id),
                learning_rate=learning_rate,
                training_loss=training_loss,
                validation_loss=validation_loss,
                scheduled=scheduled,
                keep=bool(keep),
            )
            if stopped:
                return

    @property
    def _steps_alone(self) -> int:
        """How many steps each process takes now before they meet."""
        if self._settings.epochs is None:
            return self._period
        return min(self._period, self._settings.epochs * self._batches.steps_per_epoch - self._step)

    def _take_step(self, shared: nn.Module) -> Tensor:
        """Learns from the next batch, or this process's part of it; gives the loss in nats an id."""
        batch = next(self._batches)
        inputs, targets, begins = (
            self._workers.part(whole, axis).to(self._device)
            for whole, axis in ((batch.inputs, 1), (batch.targets, 1), (batch.begins, 0))
        )
        self._step += 1
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            logits, state = shared(inputs, restarted(self._state, begins))  # (T, B, V)
        loss = functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._network.parameters(), _CLIP_NORM)
        self._optimizer.step()
        self._state = detached(state)
        return loss.detach()

    def _average(self) -> None:
        """Makes weights and moments the mean of all processes: local SGD (Stich 2019), with AdamW."""
        weights = list(self._network.parameters())
        moments = [self._optimizer.state[weight][name] for weight in weights for name in ("exp_avg", "exp_avg_sq")]
        self._workers.average([*weights, *moments])

    def _validate(self) -> float:
        """The validation loss, of which each process computes its part."""
        scorer = NetworkScorer(self._network, bf16=self._bf16)
        own = self._windows[self._workers.rank :: self._workers.size]
        loss = torch.tensor(nats(scorer, own), dtype=torch.float64, device=self._device)
        characters = sum(window.characters for window in self._windows)
        return self._workers.mean(loss).item() * self._workers.size / characters

    def _spent(self, seconds: float) -> float:
        """The fraction of the budget that is spent."""
        if self._settings.epochs is not None:
            return self._step / (self._settings.epochs * self._batches.steps_per_epoch)
        assert self._settings.minutes is not None
        return min(1.0, seconds / (self._settings.minutes * 60))


def has_fast_bf16(device: torch.device) -> bool:
    """Whether ``device`` multiplies in bfloat16; where it does not, that is slower than float32.

    On a CPU, AMX or AVX512-BF16; on a GPU, compute capability 8.0 or later.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return platform.machine() in ("x86_64", "AMD64") and bool(
        torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    )


def _validations(settings: Recipe) -> int:
    """How many evaluations a training has: few in a short one, which has better things to do."""
    if settings.minutes is None:
        return _MOST_VALIDATIONS
    wanted = int(settings.minutes * 60 / _SECONDS_A_VALIDATION)
    return min(max(wanted, _LEAST_VALIDATIONS), _MOST_VALIDATIONS)


def _schedule(fraction: float) -> float:
    """The factor of the learning rate when ``fraction`` of the budget is spent."""
    if fraction < _WARM_UP:
        # Starts above zero: the first step should learn something.
        return max(fraction / _WARM_UP, 0.01)
    return 0.5 * (1.0 + math.cos(math.pi * (fraction - _WARM_UP) / (1.0 - _WARM_UP)))


def _optimizer(network: Network, settings: Recipe) -> torch.optim.Optimizer:
    parameters = list(network.parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=_BETAS,
        fused=True,
    )
