"""The snapshot: all that a training needs to continue as if it had never been interrupted.

``fit`` writes one beside its checkpoints, once a minute and at every evaluation, and removes it when the run is
complete. So a run that was stopped or killed has one, and a complete run has none.
"""

from __future__ import annotations

from dataclasses import asdict, field
from pathlib import Path

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor

from nextchar_model.alphabet import Alphabet

from ..data.rules import Rules, to_state
from ..learning.progress import Position
from ..learning.recipe import Architecture, Recipe
from .ancestry import Start
from .checkpoint import alphabet_content, complete_rules, load_tensors, save_tensors, validated
from .folder import LossRow
from .teachers import Taught

_FORMAT = "nextchar stopped run"
_VERSION = 5
_KIND = "stopped run"


@dataclass(frozen=True, config=ConfigDict(arbitrary_types_allowed=True, extra="forbid"))
class Snapshot:
    """A run at one moment.

    ``losses`` are the scheduled evaluations so far; ``training_losses`` those of the steps since the last of them.
    ``earlier`` are those of the finished run that this one continues. ``alphabet`` is that of the checkpoint from whose
    weights the run started; None: the corpus has its own. ``taught`` says who teaches the network, if it has teachers.
    ``sources``, ``folder``, ``start`` and ``files_sha256`` are those of ``TrainingRecord``.
    ``processes``, and ``threads`` of each, have to be the same again: others would add in another order.
    """

    command: str
    sources: tuple[str | bytes, ...]
    corpus_sha256: str
    rules: Rules
    device: str
    processes: int
    threads: int
    architecture: Architecture
    recipe: Recipe
    weights: dict[str, Tensor]
    position: Position
    losses: list[LossRow]
    training_losses: list[float]
    earlier: list[LossRow] = field(default_factory=list)
    alphabet: Alphabet | None = None
    folder: str | bytes | None = None
    taught: Taught | None = None
    start: Start | None = None
    files_sha256: str | None = None


def save_snapshot(snapshot: Snapshot, path: Path) -> None:
    """Writes a snapshot. If this raises ``OSError``, the file that was at ``path`` before is intact."""
    content = {
        **vars(snapshot),
        "rules": to_state(snapshot.rules),
        "architecture": asdict(snapshot.architecture),
        "settings": asdict(snapshot.recipe),
        "position": vars(snapshot.position),
        "losses": [asdict(row) for row in snapshot.losses],
    }
    del content["recipe"]
    for name in ("earlier", "alphabet", "folder", "taught", "start", "files_sha256"):  # left out if they are none
        del content[name]
    if snapshot.earlier:
        content["earlier"] = [asdict(row) for row in snapshot.earlier]
    if snapshot.alphabet is not None:
        content["alphabet"] = alphabet_content(snapshot.alphabet)
    if snapshot.folder is not None:
        content["folder"] = snapshot.folder
    if snapshot.taught is not None:
        content["taught"] = asdict(snapshot.taught)
    if snapshot.start is not None:
        content["start"] = asdict(snapshot.start)
    if snapshot.files_sha256 is not None:
        content["files_sha256"] = snapshot.files_sha256
    save_tensors(path, content, form=_FORMAT, version=_VERSION, kind=_KIND)


def load_snapshot(path: Path) -> Snapshot:
    """Reads a snapshot.

    Raises ``CheckpointError`` if the file isn't a valid snapshot, ``OSError`` if it can't be opened.
    """
    content = load_tensors(path, form=_FORMAT, version=_VERSION, kind=_KIND)
    content["recipe"] = content.pop("settings", None)
    complete_rules(content)
    return validated(Snapshot, content, path)
