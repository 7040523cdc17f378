"""Forked processes: a client belongs to the process that made it, and says so in another one.

A fork copies memory and connections, but none of the threads that gRPC and a client's event loop run on. There a call
would hang or crash, so each client checks first. Invariant: in a forked process nothing of gRPC is touched, not even to
free it.
"""

from __future__ import annotations

import ctypes
import os
from typing import TypeVar
from weakref import WeakSet

T = TypeVar("T")

_REMEDY = "make the first client after the fork, or start processes by 'spawn' or 'forkserver' instead"

_alive: WeakSet[object] = WeakSet()  # channels and calls
_grpc_process: int | None = None  # the process that opened the first channel


class Origin:
    """The process in which a client was made."""

    def __init__(self) -> None:
        self._process = os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether this is that process."""
        return os.getpid() == self._process

    def require_here(self) -> None:
        """Raises ``RuntimeError`` in any other process."""
        if not self.is_here:
            raise RuntimeError(
                f"this client was made in process {self._process} and can't be used in process {os.getpid()}, which "
                f"was forked from it; {_REMEDY}"
            )


def claim_grpc() -> None:
    """Declares that this process uses gRPC. Raises ``RuntimeError`` if it was forked from one that does."""
    global _grpc_process
    if _grpc_process is None:
        _grpc_process = os.getpid()
    elif _grpc_process != os.getpid():
        raise RuntimeError(
            f"a client was made in process {_grpc_process}, from which process {os.getpid()} was forked, and gRPC "
            f"can't run in both; {_REMEDY}"
        )


def keep_at_fork(resource: T) -> T:
    """Returns ``resource``, a channel or a call, and makes sure that a forked process never frees its copy of it."""
    _alive.add(resource)
    return resource


def _keep_for_ever() -> None:
    for resource in _alive:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(resource))


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_keep_for_ever)
