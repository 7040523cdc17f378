"""Training of character-level recurrent models, and their export to one ONNX file.

Data flows one way, and a package imports only packages before it:

    text → data → learning → run → export → model file

``data`` turns text into ids on disk, ``learning`` turns ids into weights, ``run`` is one training with all that it
leaves behind, and ``export`` writes the model file that the server loads. For notebooks and scripts there is ``api``,
whose functions are here too. They are imported when they are first used, so that importing this package is fast and
needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .api import evaluate, export_model, fit, load_checkpoint, resume, sample
    from .data.rules import Rules
    from .learning.evaluation import Evaluation
    from .learning.recipe import TAUGHT, Architecture, Recipe, Sizes, Teaching
    from .run.checkpoint import Checkpoint

__all__ = [
    "TAUGHT",
    "Architecture",
    "Checkpoint",
    "Evaluation",
    "Recipe",
    "Rules",
    "Sizes",
    "Teaching",
    "evaluate",
    "export_model",
    "fit",
    "load_checkpoint",
    "resume",
    "sample",
]

_PLACES = {
    "TAUGHT": "learning.recipe",
    "Architecture": "learning.recipe",
    "Checkpoint": "run.checkpoint",
    "Evaluation": "learning.evaluation",
    "Recipe": "learning.recipe",
    "Rules": "data.rules",
    "Sizes": "learning.recipe",
    "Teaching": "learning.recipe",
}


def __getattr__(name: str) -> object:
    """Imports a public name when it is first used (PEP 562). None may be the name of a package here."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES.get(name, 'api')}"), name)


def __dir__() -> list[str]:
    """Lists the public names, also those not imported yet."""
    return sorted({*globals(), *__all__})
