"""Dynamic evaluation on the command line: a line for each form, and one for both together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nextchar_cli.command_line import UsageError
from nextchar_model.alphabet import Alphabet, Spelling
from nextchar_model.runner import Runner

from ..learning.adapting_scorer import AdaptingScorer
from ..learning.adaptive import DynamicLosses, dynamic_losses, mixture
from ..learning.evaluation import Scorer, bits
from ..learning.network import Network
from ..run.checkpoint import Checkpoint
from ..run.terminal import preparing

_STEPS = "gradient steps on the text so far"


def network_of(model: Checkpoint | Runner) -> Network:
    """Returns the network of a checkpoint. Raises ``UsageError`` if ``model`` is a model file."""
    if isinstance(model, Checkpoint):
        return model.network()
    raise UsageError(
        "--adaptive-gradient needs a checkpoint (.pt) or a run folder, such as the one that this model file was "
        "exported from: the weights of a model file can't learn"
    )


def print_dynamic_losses(
    scorer: Scorer[Any],
    network: Network | None,
    documents: Sequence[Spelling],
    alphabet: Alphabet,
    learned: Sequence[Spelling] | None,
) -> None:
    """Prints the losses of ``scorer`` mixed with an n-gram model, of ``network`` with gradient steps, and of both.

    The n-gram model reads ``learned`` first; None leaves it out. Without a ``network`` there are no gradient steps.
    """

    def losses(scorer: Scorer[Any]) -> DynamicLosses:
        with preparing() as show:
            mixed_with = None if learned is None else mixture(alphabet, learned)
            return dynamic_losses(scorer, documents, mixed_with, lambda fraction: show("evaluating", fraction))

    mixed = f"mixed with an n-gram model of {'the training text and ' if learned else ''}the text so far"
    if learned is not None:
        _print(losses(scorer).mixed, mixed)
    if network is not None:
        stepped = losses(AdaptingScorer(network))
        _print(stepped.network, _STEPS)
        _print(stepped.mixed, f"{_STEPS}, {mixed}")


def _print(nats: float | None, form: str) -> None:
    if nats is not None:
        print(
            f"adaptive  {nats:.4f} nats per character  {bits(nats):.4f} bits per character  "
            f"(dynamic evaluation: {form})"
        )
