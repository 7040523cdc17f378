"""Measuring: from the trainings in a folder to the points of the map."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.kernel import K, steps_of
from benchmarks.map.names import Name
from benchmarks.map.points import ROWS, Point, Points
from benchmarks.map.trainings import is_there
from benchmarks.timing import interleave
from nextchar_model.alphabet import Spelling
from nextchar_model.cell import Cell
from nextchar_model.description import ModelDescription
from nextchar_model.runner import Runner
from nextchar_training.api import export_model
from nextchar_training.data.cache import default_cache
from nextchar_training.data.dataset import Dataset, prepare
from nextchar_training.data.rules import Rules
from nextchar_training.data.sources import find_corpus
from nextchar_training.data.split import Split, is_unseen
from nextchar_training.learning.evaluation import evaluate
from nextchar_training.run.checkpoint import load_checkpoint
from nextchar_training.run.folder import RunFolder
from nextchar_training.run.machine import processor
from nextchar_training.run.models import origin_of

SECONDS = 20.0
_LEFT_OUT = ("--cell", "--hidden-size", "--seed", "--out", "--overwrite", "--cache", "--threads")


def measured(runs: Path, corpus: str, *, seconds: float = SECONDS) -> Points:
    """Measures the models in ``runs``, which were all trained on ``corpus``, with timings of ``seconds`` in all.

    Raises ``ValueError`` if there are no models, or if one isn't the one that its name says.
    """
    files = model_files(runs)
    if not files:
        raise ValueError(f"{runs}: no complete training with a name such as lstm-256; make bench-map trains them")
    dataset = prepare(find_corpus([corpus]), Rules(), default_cache())
    runners = {name: _opened(name, file, dataset) for name, file in files.items()}
    microseconds = _microseconds(runners, seconds)
    documents = Split.of(dataset).validation
    return Points(
        corpus=dataset.corpus.name,
        processor=processor(),
        points=tuple(
            _point(name, files[name], runner, documents, microseconds[name.cell, name.hidden_size])
            for name, runner in runners.items()
        ),
    )


def model_files(runs: Path) -> dict[Name, Path]:
    """Returns the int8 files of the models in ``runs``, which it exports if they are older than their checkpoints."""
    files = {}
    for name in _names(runs):
        file, last = runs / f"{name}.onnx", RunFolder(runs / str(name), overwrite=True).last
        if last.exists() and (not file.exists() or file.stat().st_mtime < last.stat().st_mtime):
            export_model(last, file)
        files[name] = file
    return files


def _names(runs: Path) -> Iterator[Name]:
    """Yields the names of the models in ``runs`` that are complete."""
    found = {Name.of(path.stem if path.suffix == ".onnx" else path.name) for path in runs.glob("*")}
    for name in sorted(name for name in found if name is not None):
        if is_there(name, runs):
            yield name
        else:
            print(f"{name}: left out, because its training isn't complete", flush=True)


def _opened(name: Name, file: Path, dataset: Dataset) -> Runner:
    runner = Runner(file)
    found: ModelDescription = runner.description
    if (found.cell, found.hidden_size, found.layers) != (name.cell, name.hidden_size, 1):
        raise ValueError(f"{file}: a {found.cell} of {found.layers} × {found.hidden_size}, which its name doesn't say")
    if found.training.corpus_sha256 != dataset.facts.sha256:
        raise ValueError(f"{file}: trained on another text than {dataset.corpus.name}")
    if found.alphabet != dataset.alphabet:
        raise ValueError(
            f"{file}: its alphabet isn't the usual one of {dataset.corpus.name}, so its losses don't compare"
        )
    if not is_unseen(dataset, origin_of(runner, file).rules, found.training.corpus_sha256):
        raise ValueError(
            f"{file}: read {dataset.corpus.name} by rules of its own, so it may have learned the held-out text"
        )
    return runner


def _microseconds(runners: Mapping[Name, Runner], seconds: float) -> dict[tuple[Cell, int], dict[int, float]]:
    """Returns the time per character by cell and size, and by rows. The weights of one model stand for all."""
    graphs = {(name.cell, name.hidden_size): runner for name, runner in runners.items()}
    contestants = {(graph, rows): steps_of(runner, rows) for graph, runner in graphs.items() for rows in ROWS}
    taken = interleave(contestants, seconds=seconds)
    return {graph: {rows: taken[graph, rows] / (K * rows) * 1e6 for rows in ROWS} for graph in graphs}


def _point(
    name: Name, file: Path, runner: Runner, documents: Sequence[Spelling], microseconds: dict[int, float]
) -> Point:
    loss, training = evaluate(runner, documents), runner.description.training
    print(f"{name}: {loss.stateful:.4f} nats per character, {microseconds} µs", flush=True)
    return Point(
        cell=name.cell,
        hidden_size=name.hidden_size,
        taught=name.taught,
        seed=training.seed,
        characters=_characters(name, file.with_suffix("")),
        options=options_of(training.command),
        stateful=loss.stateful,
        windows=loss.windows,
        microseconds=microseconds,
        bytes=file.stat().st_size,
    )


def _characters(name: Name, run: Path) -> int | None:
    """Returns the characters that a run read.

    Raises ``ValueError`` if only the run or only its name has teachers, or if a teacher may know the held-out text.
    """
    folder = RunFolder(run, overwrite=True)
    if not folder.last.exists():
        return None
    taught = load_checkpoint(folder.last).record.taught
    if (taught is not None) != name.taught:
        raise ValueError(f"{run}: {'not ' if name.taught else ''}taught by teachers, unlike its name")
    if taught is not None and not all(teacher.same_split for teacher in taught.teachers):
        raise ValueError(f"{run}: one of its teachers may have learned the held-out text")
    return folder.read_losses()[-1].characters


def options_of(command: str) -> str:
    """Returns the options that the name of a training doesn't tell. Of a path, the name of run or model is left."""
    options: list[list[str]] = []
    for word in shlex.split(command):
        if word.startswith("--"):
            name, _, value = word.partition("=")
            options.append([name, value])
        elif options and not options[-1][1]:
            options[-1][1] = word
    chosen = [(name, _last_name(Path(value))) for name, value in options if name not in _LEFT_OUT]
    return " ".join(" ".join(option).rstrip() for option in chosen)


def _last_name(path: Path) -> str:
    return path.parent.name if path.suffix == ".pt" else path.name
