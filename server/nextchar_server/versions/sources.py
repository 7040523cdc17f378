"""The model files that are to be served: those of ``--model``, and those of the folder ``--models-dir``.

Stands between the configuration and ``versions``, which loads them.

Invariant: models and shares depend on the configuration and the names in the folder only, so replicas with the same
files serve the same ones, however the files came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..settings.model_paths import check_name, name_and_share

SUFFIX = ".onnx"
"""End of the names of the files in the folder that are served."""


@dataclass(frozen=True)
class Refused:
    """A model file that can't be served."""

    reason: str
    """Label of ``nextchar_model_load_failures_total``."""
    message: str
    """The reason, with the path of the file."""


@dataclass(frozen=True)
class ModelSource:
    """A model file that is to be served."""

    key: str
    """Its name as whoever runs the server gives it, with the share: ``verse@10%``."""
    path: Path
    is_named: bool
    """Whether ``--model`` names it. Otherwise it was found in the folder."""
    refused: Refused | None = None
    """Why it can't be served, if that shows without a look into the file."""

    @property
    def name(self) -> str:
        """Name by which requests ask for it."""
        return name_and_share(self.key)[0]

    @property
    def share(self) -> float | None:
        """Part of the requests by its name that it serves; None for the rest of them."""
        return name_and_share(self.key)[1]


class ModelSources:
    """The model files that the configuration names. All methods may be called in any thread."""

    def __init__(self, models: Mapping[str, Path], folder: Path | None) -> None:
        """``models`` are those of ``--model`` by name; ``folder`` is that of ``--models-dir``."""
        self._models = models
        self.folder = folder

    def paths(self) -> list[Path]:
        """Returns the paths of all files, for a look at their state."""
        try:
            found = self._in_folder()
        except OSError:
            found = []
        return [*self._models.values(), *found]

    def find(self) -> list[ModelSource]:
        """Returns all files: those of ``--model`` in their order, then those of the folder by name.

        Raises ``OSError`` if the folder can't be read.
        """
        found = [ModelSource(name, path, is_named=True) for name, path in self._models.items()]
        found += [self._found(path) for path in self._in_folder()]
        return _with_shares(found)

    def _in_folder(self) -> list[Path]:
        if self.folder is None:
            return []
        # Programs that copy a file give it a hidden name until it is whole.
        return sorted(path for path in self.folder.iterdir() if path.suffix == SUFFIX and not path.name.startswith("."))

    def _found(self, path: Path) -> ModelSource:
        source = ModelSource(path.stem, path, is_named=False)
        if path.stem in self._models:
            return replace(
                source, refused=Refused("name", f"{path}: --model names another file {path.stem!r}; rename one of them")
            )
        try:
            check_name(path.name, path.stem)
        except ValueError as error:
            return replace(source, refused=Refused("name", f"{path}: {error}"))
        return source


def _with_shares(sources: list[ModelSource]) -> list[ModelSource]:
    """Returns ``sources``; those are refused that have a share of nothing, or one that is more than the rest."""
    mains = {source.key for source in sources if source.refused is None and source.share is None}
    left = dict.fromkeys(mains, 100.0)  # percent of the requests by each name
    refused: dict[str, Refused] = {}
    for source in sorted(sources, key=lambda source: source.key):
        if source.refused is not None or source.share is None:
            continue
        name, percent = source.name, 100 * source.share
        if name not in left:
            message = f"{source.path}: there is no model {name!r} of which it could serve {percent:g} %"
            refused[source.key] = Refused("share", message)
        elif percent > left[name] + 1e-9:
            message = f"{source.path}: other versions of {name!r} leave it {left[name]:g} % of the requests"
            refused[source.key] = Refused("share", message)
        else:
            left[name] -= percent
    return [replace(source, refused=refused.get(source.key, source.refused)) for source in sources]
