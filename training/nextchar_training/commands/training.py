"""A training on the command line: its device, its workers and its last lines. ``fit`` and ``resume`` share it."""

from __future__ import annotations

import os

import torch

from nextchar_cli.printable import printable, shell_path, shell_word

from ..learning.allocator import keep_freed_memory
from ..learning.evaluation import bits
from ..learning.recipe import TrainingError
from ..learning.workers import WorkersError, joined
from ..run.fit import Job, fit, follow
from ..run.folder import RunFolder
from . import INTERRUPTED, command_line


def train(job: Job, folder: RunFolder, processes: int) -> int:
    """Trains as rank 0 or beside it, and returns the exit code.

    Raises ``WorkersError`` if the run was interrupted with another number of processes.
    """
    keep_freed_memory()
    with joined(processes, job.device, command_line.get()) as workers:
        if job.snapshot is not None and workers.size != job.snapshot.processes:
            raise WorkersError(f"the run had {job.snapshot.processes} processes; it continues with as many")
        if workers.rank > 0:
            follow(job, workers)
            return 0
        record = fit(job, folder, workers).record
    print(printable(str(folder.report)))
    if record.stateful_loss is None or record.windows_loss is None:
        print(f"stopped before the end; nextchar-train resume {shell_path(folder.path)} continues it")
        return INTERRUPTED
    print_losses(record.stateful_loss, record.windows_loss)
    return 0


def print_losses(stateful: float, windows: float) -> None:
    """Prints the losses under both protocols, given in nats per character."""
    for protocol, nats in (("stateful", stateful), ("windows", windows)):
        print(f"{protocol:8}  {nats:.4f} nats per character  {bits(nats):.4f} bits per character")


def set_threads(threads: int | None, processes: int) -> None:
    """Sets the threads of this process, by default its share of the cores."""
    torch.set_num_threads(threads or max(1, torch.get_num_threads() // processes))


def device_of(kind: str, processes: int) -> torch.device:
    """Returns this worker's device. Raises ``TrainingError`` if the machine lacks one of that kind per process."""
    if kind == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        reason = "finds no GPU" if torch.version.cuda else "is built without CUDA"
        raise TrainingError(f"device cuda is not available: torch {torch.__version__} {reason}; use --device cpu")
    number, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    last = max(number, processes - 1)  # rank 0 says it before it waits for the others
    if last >= gpus:
        raise TrainingError(f"device cuda:{last} is not available: there are {gpus} GPUs, and each process needs one")
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def command() -> str:
    """Returns the command line, for the checkpoint and the report."""
    return " ".join(map(shell_word, ["nextchar-train", *command_line.get()]))
