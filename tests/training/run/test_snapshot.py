import threading
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from nextchar_training.data.dataset import Dataset, prepare
from nextchar_training.data.rules import Rules, stated
from nextchar_training.data.sources import find_corpus
from nextchar_training.learning.workers import Workers
from nextchar_training.run.ancestry import Start
from nextchar_training.run.checkpoint import CheckpointError, load_checkpoint
from nextchar_training.run.fit import Job
from nextchar_training.run.snapshot import load_snapshot, save_snapshot

BEFORE = Path(__file__).parents[2] / "compatibility"
"""Files that the release before wrote."""


def dataset_of_the_same_alphabet(folder: Path) -> Dataset:
    """Lines in the alphabet of the run that the release before stopped."""
    symbols = "".join(load_checkpoint(BEFORE / "best.pt").alphabet.symbols)
    (folder / "text.txt").write_text("".join(f"{symbols[n % 20 :]}{symbols[: n % 20]}\n" for n in range(200)))
    return prepare(find_corpus([str(folder / "text.txt")]), Rules(documents="line"), folder)


def test_snapshot_of_the_release_before_is_resumed(tmp_path: Path) -> None:
    snapshot = load_snapshot(BEFORE / "stopped.pt")
    job = Job(
        dataset=dataset_of_the_same_alphabet(tmp_path),
        architecture=snapshot.architecture,
        recipe=snapshot.recipe,
        command=snapshot.command,
        device=torch.device(snapshot.device),
        snapshot=snapshot,
    )
    _, trainer = job.trainer(Workers())
    steps = [progress.step for progress in islice(trainer.steps(threading.Event()), 3)]
    assert steps == [snapshot.position.step + n for n in (1, 2, 3)]


def test_snapshot_is_written_as_the_release_before_wrote_it(tmp_path: Path) -> None:
    save_snapshot(load_snapshot(BEFORE / "stopped.pt"), tmp_path / "stopped.pt")
    old, new = (torch.load(folder / "stopped.pt", weights_only=True) for folder in (BEFORE, tmp_path))
    assert old.keys() == new.keys()
    assert new["rules"].items() <= old["rules"].items()  # none that the release before doesn't know
    assert stated(new["rules"]) == stated(old["rules"])
    for key in ("format", "version", "settings", "architecture", "training_losses", "processes"):
        assert old[key] == new[key]
    assert old["position"].keys() == new["position"].keys()


def test_snapshot_keeps_from_whose_weights_the_run_started(tmp_path: Path) -> None:
    start = Start("nextchar-train fit text.txt", step=121, same_split=False, knows_part=True)
    save_snapshot(replace(load_snapshot(BEFORE / "stopped.pt"), start=start), tmp_path / "stopped.pt")
    assert load_snapshot(tmp_path / "stopped.pt").start == start


def test_the_files_of_a_run_are_kept_if_they_are_documents(tmp_path: Path) -> None:
    snapshot = replace(load_snapshot(BEFORE / "stopped.pt"), files_sha256="0" * 64)
    save_snapshot(snapshot, tmp_path / "stopped.pt")
    assert load_snapshot(tmp_path / "stopped.pt").files_sha256 == "0" * 64


def test_checkpoint_is_told_from_a_snapshot() -> None:
    with pytest.raises(CheckpointError, match="not a nextchar stopped run but a nextchar checkpoint"):
        load_snapshot(BEFORE / "best.pt")
