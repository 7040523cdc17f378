"""The workers: processes that share one training, each of which reads its part of every batch.

Two workers of one thread each use two cores better than one process of two threads does. Rank 0 is the process that the
user started: it keeps the clock, shows the progress and writes the files, and the others take its steps with it. They
are started here, or by ``torchrun`` on any number of machines (gloo between CPUs, NCCL between GPUs).

Invariant: whenever the workers meet, after every step or after a few, all have the same weights and stand at
the same fraction of the budget.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]

_FIRST = "127.0.0.1"
_PATIENCE = 10.0  # seconds that the others have to end after rank 0
_GLANCE = 0.05  # seconds between two checks whether they have joined


class WorkersError(Exception):
    """The workers of a training can't join each other, or one of them is gone."""


class Workers:
    """The workers of a training, as one of them sees them. This class is a worker alone."""

    rank = 0
    size = 1

    def share(self, network: nn.Module) -> nn.Module:
        """Returns ``network`` with gradients that become the mean of all workers'."""
        return network

    def agree(self, values: Sequence[float]) -> list[float]:
        """Returns the ``values`` of rank 0 in all workers."""
        return list(values)

    def mean(self, value: Tensor) -> Tensor:
        """Returns the mean of the workers' ``value``."""
        return value

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Makes each of ``tensors`` the mean of all workers', in place."""

    def gather(self, part: Tensor, axis: int) -> Tensor:
        """Returns the parts of all workers, one after another along ``axis``, on the CPU."""
        return part.cpu()

    def part(self, whole: Tensor, axis: int) -> Tensor:
        """Returns this worker's part of ``whole``, one of ``size`` equal parts along ``axis``."""
        return whole.chunk(self.size, axis)[self.rank]


class _Joined(Workers):
    """Several workers, joined by torch's collective operations."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()

    def share(self, network: nn.Module) -> nn.Module:
        return nn.parallel.DistributedDataParallel(network)

    def agree(self, values: Sequence[float]) -> list[float]:
        shared = torch.tensor(values, dtype=torch.float64, device=self._device)
        distributed.broadcast(shared, src=0)
        return shared.tolist()

    def mean(self, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total / self.size

    @torch.no_grad()
    def average(self, tensors: Sequence[Tensor]) -> None:
        together = self.mean(torch.cat([one.flatten() for one in tensors]))
        for one, mean in zip(tensors, torch.split(together, [one.numel() for one in tensors]), strict=True):
            one.copy_(mean.view_as(one))

    def gather(self, part: Tensor, axis: int) -> Tensor:
        part = part.to(self._device).contiguous()
        parts = [torch.empty_like(part) for _ in range(self.size)]
        distributed.all_gather(parts, part)
        return torch.cat(parts, axis).cpu()


@contextmanager
def joined(count: int, device: torch.device, arguments: Sequence[str]) -> Iterator[Workers]:
    """Joins ``count`` workers: starts the others as ``nextchar-train`` with the same ``arguments``.

    If ``torchrun`` started this process, joins those that it started, whatever ``count`` is. Raises ``WorkersError`` if
    a worker ends before it joins, or is lost during the training.
    """
    if "WORLD_SIZE" in os.environ:  # started by torchrun, or by rank 0
        with _group(device):
            yield _Joined(device)
    elif count == 1:
        yield Workers()
    else:
        with _started(count, arguments), _group(device):
            yield _Joined(device)


@contextmanager
def _group(device: torch.device) -> Iterator[None]:
    if os.environ.get("RANK") != "0":
        # A stop reaches rank 0, alone or with all others. These ignore it, and end when rank 0 has saved everything.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
        store.set(_here(int(os.environ["RANK"])), "")
    try:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        try:
            yield
        finally:
            gc.collect()  # an object that holds the group would outlive it, and its threads abort the process at exit
            distributed.destroy_process_group()
    except RuntimeError as error:
        if not _is_lost(error):
            raise
        raise WorkersError(f"a process of the training is lost: {str(error).splitlines()[0]}") from error


def _meet(others: Sequence[subprocess.Popen[bytes]], store: TCPStore) -> None:
    """Waits until all ``others`` are about to join.

    Raises ``WorkersError`` if one ends before; torch alone would wait for it until its time-out.
    """
    for rank, other in enumerate(others, 1):
        while not store.check([_here(rank)]):
            if (code := other.poll()) is not None:
                raise WorkersError(f"process {rank} of the training ended with {code} before it joined the others")
            time.sleep(_GLANCE)


def _here(rank: int) -> str:
    """Returns the key under which a worker says that it is about to join."""
    return f"nextchar/here/{rank}"


def _is_lost(error: RuntimeError) -> bool:
    """Whether a collective operation failed because another worker is gone. Gloo's errors have no own class."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error)


@contextmanager
def _started(count: int, arguments: Sequence[str]) -> Iterator[None]:
    """Starts the workers from rank 1 on as torchrun would, and waits for their end."""
    store = TCPStore(_FIRST, 0, is_master=True, wait_for_workers=False)  # at a free port
    environment = {
        "MASTER_ADDR": _FIRST,
        "MASTER_PORT": str(store.port),
        "WORLD_SIZE": str(count),
        "TORCHELASTIC_USE_AGENT_STORE": str(True),  # rank 0 is a client of this store too
        **({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}),  # the host's name may resolve to another
    }
    command = [sys.executable, "-m", "nextchar_training", *arguments]
    others: list[subprocess.Popen[bytes]] = []
    before = dict(os.environ)
    try:
        for rank in range(1, count):
            own = {**os.environ, **environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            others.append(subprocess.Popen(command, env=own, stdout=subprocess.DEVNULL))  # noqa: S603 - this program
        _meet(others, store)
        os.environ.update(environment, RANK="0", LOCAL_RANK="0")
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        for other in others:
            try:
                other.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                other.kill()
                other.wait()
