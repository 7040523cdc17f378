"""The job: the training to do, from its dataset to the place where it starts.

A training starts in one of four ways:

- from random weights;
- from the weights of a checkpoint (``Job.initial``): fine-tuning, on any text that the checkpoint's alphabet spells;
- from a snapshot (``Job.snapshot``): a run that was interrupted continues, bit for bit as if it had not been;
- from the last weights of a finished run (``Job.initial`` and ``Job.earlier``): it trains for longer. Its learning rate
  has fallen to zero, so the schedule starts anew over the added budget, with a new optimizer: a warm restart
  (Loshchilov & Hutter 2017). Steps, epochs and losses count on, and ``best.pt`` stays until it is beaten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from nextchar_model.alphabet import Alphabet

from ..data.dataset import Dataset
from ..data.split import Split
from ..learning.network import Network
from ..learning.recipe import Architecture, Recipe
from ..learning.trainer import Trainer
from ..learning.workers import Workers
from .advice import about_memory, about_size, about_validation
from .ancestry import Start
from .checkpoint import Checkpoint, CheckpointError
from .folder import LossRow
from .ledger import Ledger
from .snapshot import Snapshot
from .teachers import Lessons, Taught


@dataclass(frozen=True, kw_only=True)
class Job:
    """The training to do: dataset, network, recipe, device, and where it starts (see the module).

    Raises ``CheckpointError`` if ``initial`` has another architecture, or another alphabet than the dataset.
    """

    dataset: Dataset
    architecture: Architecture
    recipe: Recipe
    command: str
    """The command line, for the checkpoint and the report; of a run that trained for longer, all of them."""
    device: torch.device
    tensorboard: bool = False
    initial: Checkpoint | None = None
    """The weights to start from."""
    earlier: Sequence[LossRow] = ()
    """The losses of the finished run that this one continues in the same folder."""
    snapshot: Snapshot | None = None
    """The interrupted run that this one continues in the same folder."""
    lessons: Lessons | None = None
    """The teachers, if there are any, read over the training text."""

    def __post_init__(self) -> None:
        if self.initial is not None:
            if self.initial.architecture != self.architecture:
                raise CheckpointError("the network's sizes are not those of the checkpoint to start from")
            if self.initial.alphabet != self.dataset.alphabet:
                raise CheckpointError("the text is not spelled in the alphabet of the checkpoint to start from")

    @property
    def title(self) -> str:
        """The corpus and the network in a few words."""
        architecture = self.architecture
        return f"{self.dataset.corpus.name}, {architecture.cell} {architecture.layers} × {architecture.hidden_size}"

    @property
    def is_new(self) -> bool:
        """Whether the run starts here, so that its folder starts empty."""
        return self.snapshot is None and not self.earlier

    @property
    def given_alphabet(self) -> Alphabet | None:
        """The alphabet of the checkpoint from whose weights the run started, if it did."""
        if self.snapshot is not None:
            return self.snapshot.alphabet
        return None if self.initial is None else self.initial.alphabet

    @property
    def taught(self) -> Taught | None:
        """Who teaches the network, for the checkpoint and the report."""
        return None if self.lessons is None else self.lessons.taught

    @cached_property
    def start(self) -> Start | None:
        """The checkpoint from whose weights the run started, if it did and that is known."""
        if self.snapshot is not None:
            return self.snapshot.start
        if self.initial is None:
            return None
        return self.initial.record.start if self.earlier else Start.of(self.initial.record, self.dataset)

    @property
    def size_advice(self) -> str | None:
        """Advice if the network is far too large for the corpus. None if it started as another run's network."""
        if self.given_alphabet is not None:
            return None
        return about_size(self.dataset.facts.characters, self.architecture.hidden_size)

    @property
    def start_warning(self) -> str | None:
        """A warning if the weights from which the run started may know the part to evaluate on."""
        return None if self.start is None else self.start.warning(self.dataset.rules.validation_name)

    @property
    def advice(self) -> list[str]:
        """All that should be known before the training starts."""
        characters = sum(len(document.text) for document in self.split.validation)
        memory = about_memory(self.architecture, self.recipe, taught=self.lessons is not None)
        short = about_validation(characters, self.dataset.rules.validation_name)
        found = (self.size_advice, self.start_warning, short, memory)
        return [one for one in found if one is not None]

    @cached_property
    def split(self) -> Split:
        """The text to train on, and the one to evaluate on."""
        return Split.of(self.dataset)

    def trainer(self, workers: Workers) -> tuple[Network, Trainer]:
        """Returns the network, with the weights that it starts from, and its trainer."""
        recipe = self.recipe
        torch.manual_seed(recipe.seed)  # of random weights
        network = Network(self.architecture, dropout=recipe.dropout, input_dropout=recipe.input_dropout)
        start = self.snapshot or self.initial
        if start is not None:
            network.load_state_dict(start.weights)
        network.to(self.device)
        position = None if self.snapshot is None else self.snapshot.position
        distillation = None if self.lessons is None else self.lessons.distillation()
        trainer = Trainer(network, self.split, recipe, position=position, workers=workers, distillation=distillation)
        return network, trainer

    def ledger(self) -> Ledger:
        """Returns the losses so far."""
        if self.snapshot is None:
            return Ledger(earlier=self.earlier)
        return Ledger(
            earlier=self.snapshot.earlier, rows=self.snapshot.losses, training_losses=self.snapshot.training_losses
        )
