"""The stopped run: all that a training needs to go on where it was, as if it had never stopped.

``fit`` writes one beside its checkpoints, every minute and whenever it evaluates, and removes it when the run is
complete. So a run that was stopped, or killed, has one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from ..data.rules import Rules
from ..learning.recipe import Architecture, Recipe
from ..learning.trainer import Position
from .checkpoint import CheckpointError, read_whole, write_whole
from .folder import LossRow

_FORMAT = "nextchar stopped run"
_VERSION = 5


@dataclass(frozen=True)
class StoppedRun:
    """A run at one moment. ``losses`` are the scheduled evaluations so far; ``training_losses`` those of the steps
    since the last of them. Other ``processes``, or other ``threads`` of each, would add in another order.
    """

    command: str
    sources: tuple[str, ...]
    corpus_sha256: str
    rules: Rules
    device: str
    processes: int
    threads: int
    architecture: Architecture
    settings: Recipe
    weights: dict[str, Tensor]
    position: Position
    losses: list[LossRow]
    training_losses: list[float]


def save_stopped_run(run: StoppedRun, path: Path) -> None:
    """Writes a run. Where this raises ``OSError``, what was at ``path`` before is intact."""
    document = {
        "format": _FORMAT,
        "version": _VERSION,
        **vars(run),
        "rules": asdict(run.rules),
        "architecture": asdict(run.architecture),
        "settings": asdict(run.settings),
        "position": vars(run.position),
        "losses": [asdict(row) for row in run.losses],
    }
    write_whole(document, path, "stopped run")


def load_stopped_run(path: Path) -> StoppedRun:
    """Reads a run. Raises ``CheckpointError`` for what is none, ``OSError`` where there is no file."""
    content = read_whole(path, _FORMAT, _VERSION, "stopped run")
    try:
        del content["format"], content["version"]
        content["rules"] = Rules(**content["rules"])
        content["architecture"] = Architecture(**content["architecture"])
        content["settings"] = Recipe(**content["settings"])
        content["position"] = Position(**content["position"])
        content["losses"] = [LossRow(**row) for row in content["losses"]]
        return StoppedRun(**content)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged: {error}") from error
