"""The trainer: the loop that fits a network to a text.

Takes a network and a text, and yields ``Progress`` after every step or after a few. It writes no files. Whoever runs it
decides what to keep: from a kept ``Position`` the training continues as if it had never stopped.

Several workers that run one training each have a trainer. They share every step, or each takes a few alone before they
average their weights (local SGD), which sends less and sends it less often.

Truncated back-propagation through time: the state passes from step to step (see ``batches``), the gradient doesn't.

Shapes: B sequences, T characters, V ids in the alphabet.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data.batches import Batches
from ..data.split import Split
from .distillation import Distillation
from .evaluation import WINDOW, NetworkScorer, nats, spread, windows
from .hardware import BusyMeter, has_fast_bf16
from .network import Network, detached, restarted
from .optimization import learning_rate_factor, make_optimizer
from .progress import Position, Progress
from .recipe import Recipe, TrainingError
from .workers import Workers

VALIDATION_CHARACTERS = 64 * WINDOW
"""About how many characters an evaluation during training covers, in windows from all over the held-out text."""

_MOST_VALIDATIONS, _LEAST_VALIDATIONS = 25, 5  # evaluations per training
_SECONDS_PER_VALIDATION = 20.0  # at least; an evaluation and its checkpoint take 0.3 seconds
_SECONDS_AT_RISK = 60.0  # most work that a killed training has to repeat
_CLIP_NORM = 1.0


class Trainer:
    """A training, from where it stands to the end of its budget."""

    def __init__(
        self,
        network: Network,
        split: Split,
        recipe: Recipe,
        *,
        position: Position | None = None,
        workers: Workers | None = None,
        distillation: Distillation | None = None,
    ) -> None:
        """Trains ``network`` on its device. If ``position`` is given, the weights must be those of that moment.

        With ``distillation``, it learns from teachers too. Raises ``TextTooShortError`` if the text is shorter than a
        batch, ``TrainingError`` if the workers can't divide a batch evenly or are not as many as at ``position``, or if
        no text is held out.
        """
        self._network = network
        self._recipe = recipe
        self._distillation = distillation
        self._workers = workers or Workers()
        self._device = next(network.parameters()).device
        if recipe.batch_size % self._workers.size:
            raise TrainingError(
                f"{self._workers.size} processes can't divide a batch of {recipe.batch_size} sequences evenly: "
                f"choose a batch size that is a multiple of {self._workers.size}"
            )
        self._windows = spread(windows(split.validation), VALIDATION_CHARACTERS)
        if not self._windows:
            raise TrainingError("no text is held out to evaluate the network on: give more text")
        self._characters_per_id = split.characters_per_id
        self._batches = Batches(
            split.training,
            split.line_end,
            batch_size=recipe.batch_size,
            sequence_length=recipe.sequence_length,
            seed=recipe.seed,
            continuing=split.continuing,
        )
        self._optimizer = make_optimizer(network, recipe)
        self._bf16 = has_fast_bf16(self._device)
        self._period = recipe.averaging_period if self._workers.size > 1 else 1
        self._validations = _validations(recipe)
        self._step, self._evaluations, self._stale = 0, 0, 0
        self._seconds, self._fraction, self._best_loss = 0.0, 0.0, math.inf
        self._state = network.initial_state(recipe.batch_size // self._workers.size)
        if position is None:
            self._generator.manual_seed((recipe.seed + self._workers.rank) % 2**64)
        else:
            self._continue_from(position)

    def _continue_from(self, position: Position) -> None:
        """Takes over ``position``: this worker's rows of the state, its generator, and all that the workers share."""
        if len(position.random) != self._workers.size:
            ran = len(position.random)
            raise TrainingError(f"the training ran in {ran} process{'' if ran == 1 else 'es'}; use as many to continue")
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
        """The position between two steps. All workers must ask for it at the same step."""
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
        """The random generator from which dropout is drawn."""
        if self._device.type == "cuda":
            return torch.cuda.default_generators[self._device.index or 0]
        return torch.default_generator

    def steps(self, stop: threading.Event) -> Iterator[Progress]:
        """Trains until the budget is spent or ``stop`` is set.

        Yields ``Progress`` after every step or, if workers take steps alone, whenever these are averaged. Evaluates
        from time to time, and always after the last step. With a budget in epochs, on a CPU, with one thread per
        worker, every run of the same network, corpus, recipe and number of workers takes the same steps, bit for bit,
        and so does one that continues from a position. Raises ``TrainingError`` if the loss isn't finite.
        """
        shared = self._workers.share(self._network) if self._period == 1 else self._network
        self._network.train()
        busy = BusyMeter(torch.get_num_threads())
        started = time.perf_counter() - self._seconds
        kept = time.monotonic()
        while self._fraction < 1.0:
            learning_rate = self._set_learning_rate()
            training_loss = self._take_steps(shared)
            spent = self._spent(time.perf_counter() - started)
            is_late = time.monotonic() > kept + _SECONDS_AT_RISK
            self._fraction, stopped, keep = self._workers.agree([spent, stop.is_set(), is_late])
            scheduled = self._fraction >= 1.0 or self._fraction * self._validations >= self._evaluations + 1
            validation_loss = self._evaluate(scheduled) if scheduled or stopped else None
            if keep or validation_loss is not None:
                keep = True
                kept = time.monotonic()
            self._seconds = time.perf_counter() - started
            yield Progress(
                step=self._step,
                epoch=self._step / self._batches.steps_per_epoch,
                fraction=self._fraction,
                seconds=self._seconds,
                characters=round(self._step * self._batches.size * self._characters_per_id),
                learning_rate=learning_rate,
                training_loss=training_loss,
                validation_loss=validation_loss,
                scheduled=scheduled,
                keep=bool(keep),
                busy=busy.read() if self._device.type == "cpu" else 1.0,
            )
            if stopped:
                return

    def _set_learning_rate(self) -> float:
        """Sets the learning rate of the next steps and returns it."""
        learning_rate = self._recipe.learning_rate * learning_rate_factor(self._fraction)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        return learning_rate

    def _take_steps(self, shared: nn.Module) -> float:
        """Takes the steps until the workers meet, and returns their mean loss in nats per character."""
        steps = self._period
        if self._recipe.epochs is not None:
            steps = min(steps, self._recipe.epochs * self._batches.steps_per_epoch - self._step)
        losses = torch.stack([self._take_step(shared) for _ in range(steps)])
        if self._period > 1:
            self._average()
        loss = self._workers.mean(losses.mean()).item() / self._characters_per_id
        if not math.isfinite(loss):
            raise TrainingError(f"the loss is {loss} at step {self._step}: lower the learning rate")
        return loss

    def _take_step(self, shared: nn.Module) -> Tensor:
        """Learns from the next batch, or from this worker's part of it. Returns the text's loss in nats per id."""
        batch = next(self._batches)
        places = self._workers.part(batch.places, 0)
        inputs, targets, begins = (
            self._workers.part(whole, axis).to(self._device)
            for whole, axis in ((batch.inputs, 1), (batch.targets, 1), (batch.begins, 0))
        )
        self._step += 1
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            logits, state = shared(inputs, restarted(self._state, begins))  # (T, B, V)
        logits = logits.float()
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        whole_loss = loss if self._distillation is None else self._distillation.mixed(loss, logits, places)
        self._optimizer.zero_grad()
        whole_loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._network.parameters(), _CLIP_NORM)
        self._optimizer.step()
        self._state = detached(state)
        return loss.detach()

    def _average(self) -> None:
        """Makes weights and moments the mean of all workers': local SGD (Stich 2019), with AdamW."""
        weights = list(self._network.parameters())
        moments = [self._optimizer.state[weight][name] for weight in weights for name in ("exp_avg", "exp_avg_sq")]
        self._workers.average([*weights, *moments])

    def _evaluate(self, scheduled: bool) -> float:
        """Returns the validation loss. If ``scheduled``, it counts for the patience, which may end the training."""
        loss = self._validation_loss()
        self._evaluations = int(self._fraction * self._validations)
        if scheduled:
            self._stale = 0 if loss < self._best_loss else self._stale + 1
            self._best_loss = min(loss, self._best_loss)
            if self._stale == self._recipe.patience:
                self._fraction = 1.0
        return loss

    def _validation_loss(self) -> float:
        """Returns the loss of the validation windows in nats per character. Each worker scores its part of them."""
        scorer = NetworkScorer(self._network, bf16=self._bf16)
        own = self._windows[self._workers.rank :: self._workers.size]
        loss = torch.tensor(nats(scorer, own), dtype=torch.float64, device=self._device)
        characters = sum(window.characters for window in self._windows)
        return self._workers.mean(loss).item() * self._workers.size / characters

    def _spent(self, seconds: float) -> float:
        """Returns the fraction of the budget that is spent."""
        if self._recipe.epochs is not None:
            return self._step / (self._recipe.epochs * self._batches.steps_per_epoch)
        assert self._recipe.minutes is not None
        return min(1.0, seconds / (self._recipe.minutes * 60))


def _validations(recipe: Recipe) -> int:
    """Returns the number of scheduled evaluations. A short training has few, because they cost a share of its time."""
    if recipe.minutes is None:
        return _MOST_VALIDATIONS
    wanted = int(recipe.minutes * 60 / _SECONDS_PER_VALIDATION)
    return min(max(wanted, _LEAST_VALIDATIONS), _MOST_VALIDATIONS)
