"""Teachers by name: model files and checkpoints, opened and compared with the text that they are to teach.

A checkpoint reads as the fp32 model file that its export makes, which is compared with PyTorch.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nextchar_cli.printable import printable
from nextchar_model.alphabet import Alphabet
from nextchar_model.runner import Runner

from ..data.dataset import Dataset
from ..data.split import is_unseen
from ..export.exporter import MIN_CHARACTERS, ExportError, export
from ..export.summary import training_summary
from ..run.ancestry import has_same_split
from ..run.checkpoint import Checkpoint, find_checkpoint
from ..run.models import Origin, load_model, origin_of

_CHECKED_CHARACTERS = 4096  # of the training text, on which the export of a checkpoint is checked


class TeacherError(ValueError):
    """A model can't teach a training. The message names its file."""


@dataclass(frozen=True)
class OpenTeacher:
    """A teacher whose file was read."""

    path: Path
    model: Checkpoint | Runner
    sha256: str
    """SHA-256 of the file, in hexadecimal."""
    origin: Origin
    """The text that it was trained on."""

    @property
    def name(self) -> str:
        """The path, printable."""
        return printable(str(self.path))

    def check_alphabet(self, alphabet: Alphabet) -> None:
        """Raises ``TeacherError``, which names the first difference, if the teacher's alphabet isn't ``alphabet``."""
        if (difference := _difference(self.origin.alphabet, alphabet)) is not None:
            raise TeacherError(
                f"{self.name}: this teacher's alphabet isn't that of the text: {difference}; "
                "name a teacher that was trained on this text"
            )

    def has_same_split(self, dataset: Dataset) -> bool:
        """Whether it was trained on the text of ``dataset`` without the part to evaluate on.

        The same goes for all that it learned from, but a model file doesn't state them.
        """
        if isinstance(self.model, Checkpoint):
            return has_same_split(self.model.record, dataset)
        return is_unseen(dataset, self.origin.rules, self.origin.sha256)

    def runner(self, dataset: Dataset) -> Runner:
        """Returns the teacher as a model file, ready to read.

        Raises ``TeacherError`` if the export of a checkpoint fails on the text of ``dataset``, or that is too short.
        """
        if isinstance(self.model, Runner):
            return self.model
        record = self.model.record
        text = dataset.documents(dataset.training, dataset.alphabet, _CHECKED_CHARACTERS)
        if sum(len(document.text) for document in text) < MIN_CHARACTERS:
            raise TeacherError(
                f"{self.name}: a checkpoint is exported to teach, and checked on {MIN_CHARACTERS} characters of the "
                "training text, and it has fewer: give more text, or export the teacher to a model file"
            )
        with tempfile.TemporaryDirectory(prefix="nextchar-teacher-") as folder:
            file = Path(folder) / "teacher.onnx"
            summary = training_summary(record, record.validation_loss)
            try:
                export(self.model.network(), self.model.alphabet, summary, file, precision="fp32", text=text)
            except ExportError as error:
                raise TeacherError(f"{self.name}: this teacher can't be exported: {error}") from error
            return Runner(file)


def open_teacher(path: Path) -> OpenTeacher:
    """Opens the model file, the checkpoint or the best checkpoint of the run folder at ``path``.

    Raises ``CheckpointError`` or ``ModelFileError`` if it is damaged or something else, ``OSError`` if it can't be
    read.
    """
    file = find_checkpoint(path) if path.is_dir() else path
    model = load_model(file)
    digest = model.digest if isinstance(model, Runner) else hashlib.sha256(file.read_bytes()).hexdigest()
    return OpenTeacher(file, model, digest, origin_of(model, file))


def _difference(own: Alphabet, texts: Alphabet) -> str | None:
    if own.kind != texts.kind:
        return f"it spells {own.kind}, the text {texts.kind}"
    only = min(set(own.symbols) ^ set(texts.symbols), default=None)
    if only is None:
        return None
    verb, other = ("has", "lacks") if only in own.symbols else ("lacks", "has")
    return f"it {verb} {only!r} (U+{ord(only):04X}), which the text {other}"
