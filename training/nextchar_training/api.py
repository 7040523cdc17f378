"""Training, sampling, evaluation and export in Python, for notebooks and scripts.

A whole pass, from a text to a model file that the server loads:

>>> from nextchar_training import Recipe, Sizes, evaluate, export_model, fit, sample
>>> checkpoint = fit("text.txt", "run", recipe=Recipe(epochs=10), sizes=Sizes(hidden_size=128))
>>> print(sample(checkpoint, "The ", characters=200))
>>> print(evaluate(checkpoint, "The text to measure the loss on.").stateful)
>>> export_model("run", "model.onnx")

The run folder holds the same files as one of ``nextchar-train fit``, and the command's other verbs take it too.
Functions that take a model take a ``Checkpoint``, the path of one, or a run folder, which means its best checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import torch

from nextchar_model.alphabet import Spelling, Unknown
from nextchar_model.cell import Precision
from nextchar_model.description import ModelDescription

from .data.cache import default_cache
from .data.dataset import prepare
from .data.reading import plain
from .data.rereading import prepare_again
from .data.respelling import respelled
from .data.rules import Rules
from .data.sources import find_corpus
from .export import exporter
from .export.precision import Scales
from .export.summary import training_summary
from .learning import evaluation, sampling
from .learning.evaluation import Evaluation, NetworkScorer, stateful_loss
from .learning.recipe import Recipe, Sizes, Teaching
from .learning.workers import Workers
from .run import checkpoint as checkpoints
from .run import fit as runs
from .run.checkpoint import Checkpoint, find_checkpoint, read_held_out
from .run.folder import RunFolder, RunFolderError
from .run.held_out import first_characters
from .run.models import load_model, origin_of, scorer_of
from .run.snapshot import load_snapshot
from .teaching.lessons import prepare_lessons, prepare_lessons_again
from .teaching.teachers import open_teacher

AnyPath: TypeAlias = str | PathLike[str]


def load_checkpoint(path: AnyPath) -> Checkpoint:
    """Reads a checkpoint, or the best one of a run folder.

    Raises ``CheckpointError`` if it isn't a valid checkpoint, ``OSError`` if it can't be opened.
    """
    return checkpoints.load_checkpoint(find_checkpoint(Path(path)))


def fit(
    corpus: AnyPath | Sequence[AnyPath],
    out: AnyPath,
    *,
    recipe: Recipe,
    sizes: Sizes | None = None,
    rules: Rules | None = None,
    initial: Checkpoint | AnyPath | None = None,
    teachers: Sequence[AnyPath] = (),
    teaching: Teaching | None = None,
    device: str = "cpu",
    overwrite: bool = False,
) -> Checkpoint:
    """Trains a network on ``corpus`` in this process, fills the run folder ``out``, and returns the best checkpoint.

    ``corpus`` is a file, folder, pattern or named corpus, or several of them. With ``initial``, training starts from
    the weights of that checkpoint instead of random ones: it keeps its sizes and its alphabet, which must spell the
    whole corpus. ``teachers`` are model files, checkpoints or run folders with the same alphabet: the network also
    learns their mean distribution, as ``teaching`` says; the command's recipe then is ``Recipe(..., **TAUGHT)``. An
    interrupt stops the training; ``resume`` continues it.

    Raises ``CorpusError`` or ``DatasetError`` if the corpus can't be read or used, ``RunFolderError`` if ``out`` holds
    a run and ``overwrite`` is false, ``TeacherError`` if a teacher can't teach this corpus, ``TrainingError`` if the
    training fails, ``OSError`` if a file can't be written, ``ValueError`` if both ``sizes`` and ``initial`` are given.
    """
    if sizes is not None and initial is not None:
        raise ValueError("the network keeps the sizes of the checkpoint to start from: leave sizes out")
    sources = _sources(corpus)
    start = None if initial is None else _checkpoint(initial)
    rules = rules or (Rules() if start is None else start.record.rules)
    folder = RunFolder(Path(out), overwrite=overwrite)
    folder.check_writable()
    opened = [open_teacher(Path(path)) for path in teachers]
    found = find_corpus(sources, skip_undecodable=rules.skip_undecodable)
    dataset = prepare(found, rules, default_cache())
    if start is None:
        architecture = (sizes or Sizes()).architecture(dataset.alphabet.size)
    else:
        dataset, architecture = respelled(dataset, start.alphabet), start.architecture
    lessons = prepare_lessons(opened, teaching or Teaching(), dataset, default_cache()) if opened else None
    job = runs.Job(
        dataset=dataset,
        architecture=architecture,
        recipe=recipe,
        command=f"nextchar_training.fit({sources!r}, {str(out)!r}, ...)",
        device=torch.device(device),
        initial=start,
        lessons=lessons,
    )
    return runs.fit(job, folder, Workers())


def resume(run: AnyPath, *, corpus: AnyPath | Sequence[AnyPath] | None = None) -> Checkpoint:
    """Continues an interrupted run in this process, as if it had never stopped, and returns the best checkpoint.

    ``corpus`` names its text if it was moved.

    Raises ``RunFolderError`` if the run is complete or was not trained in one process, ``CheckpointError`` if its
    snapshot is damaged, ``CorpusError`` if its corpus is no longer the same, ``TeacherError`` if a teacher is needed
    again and has changed.
    """
    folder = RunFolder(Path(run), overwrite=True)
    if not folder.stopped.exists():
        raise RunFolderError(f"{folder.path}: holds no stopped run ({folder.stopped.name})")
    snapshot = load_snapshot(folder.stopped)
    if snapshot.processes > 1:
        raise RunFolderError(f"{folder.path}: has {snapshot.processes} processes; nextchar-train resume continues it")
    folder.check_writable()
    moved_to = [] if corpus is None else _sources(corpus)
    dataset = prepare_again(snapshot, snapshot.alphabet, default_cache(), moved_to=moved_to)
    taught = snapshot.taught
    lessons = None if taught is None else prepare_lessons_again(taught, dataset, default_cache())
    torch.set_num_threads(snapshot.threads)
    job = runs.Job(
        dataset=dataset,
        architecture=snapshot.architecture,
        recipe=snapshot.recipe,
        command=snapshot.command,
        device=torch.device(snapshot.device),
        tensorboard=bool(folder.event_files),
        snapshot=snapshot,
        lessons=lessons,
    )
    return runs.fit(job, folder, Workers())


def sample(
    model: Checkpoint | AnyPath, prompt: str = "", *, characters: int = 500, seed: int = 1, temperature: float = 1.0
) -> str:
    """Returns the text that a network writes after ``prompt``: at most ``characters``, fewer if its document ends.

    Raises ``UnknownCharacterError`` if the alphabet can't spell the prompt, ``SamplingError`` if a number is out of
    range.
    """
    checkpoint = _checkpoint(model)
    text = sampling.sample(
        checkpoint.network(),
        checkpoint.alphabet,
        prompt,
        characters=characters,
        seed=seed,
        temperature=temperature,
    )
    return "".join(text)


def evaluate(model: Checkpoint | AnyPath, text: str, *, unknown: Unknown = "error") -> Evaluation:
    """Returns the loss on ``text``, one document, in nats per character under both protocols.

    The path of a model file (.onnx) works too. ``unknown`` says what happens to characters outside the alphabet.
    Raises ``UnknownCharacterError`` if it is "error", ``ValueError`` if the text has no character that the model can
    spell.
    """
    if isinstance(model, Checkpoint):
        alphabet, rules, scorer = model.alphabet, model.record.rules, scorer_of(model)
    else:
        loaded = load_model(Path(model))
        origin = origin_of(loaded, Path(model))
        alphabet, rules, scorer = origin.alphabet, origin.rules, scorer_of(loaded)
    document = alphabet.spell(plain(text, rules), unknown=unknown, replacement=rules.replacement)
    if not document.text:
        raise ValueError("the text holds no character that the model can spell")
    return evaluation.evaluate(scorer, [document])


def export_model(
    model: Checkpoint | AnyPath,
    path: AnyPath,
    *,
    precision: Precision = "int8",
    scales: Scales = "output",
    text: str | None = None,
) -> ModelDescription:
    """Writes a model file and returns its description. It is checked on ``text``, or on the run's held-out text.

    ``scales`` are those of int8 weights: one per output of a matrix, or one per matrix, which is faster for few rows.

    Raises ``ExportError`` if a check fails, ``RunFolderError`` if no ``text`` is given and ``model`` isn't in a run
    folder that has held-out text, ``OSError`` if the file can't be written.
    """
    checkpoint = _checkpoint(model)
    documents: list[Spelling]
    if text is not None:
        documents = [checkpoint.alphabet.spell(plain(text, checkpoint.record.rules))]
    elif isinstance(model, Checkpoint):
        raise RunFolderError("a checkpoint in memory has no held-out text: give text, or the path of the run folder")
    else:
        documents = read_held_out(checkpoint, find_checkpoint(Path(model)))
    network, record = checkpoint.network(), checkpoint.record
    loss = record.stateful_loss
    if loss is None:  # the training was stopped
        loss = stateful_loss(NetworkScorer(network), documents)
    return exporter.export(
        network,
        checkpoint.alphabet,
        training_summary(record, loss),
        Path(path),
        precision=precision,
        scales=scales,
        text=first_characters(documents, exporter.MAX_CHARACTERS),
    )


def _sources(corpus: AnyPath | Sequence[AnyPath]) -> list[str]:
    return [str(source) for source in ([corpus] if isinstance(corpus, (str, PathLike)) else corpus)]


def _checkpoint(model: Checkpoint | AnyPath) -> Checkpoint:
    return model if isinstance(model, Checkpoint) else load_checkpoint(model)
