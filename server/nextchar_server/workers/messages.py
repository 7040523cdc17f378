"""The messages between the supervisor and its workers, pickled over a pair of sockets that nobody else has."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client.core import Metric

from ..settings.config import Config

# From the supervisor.


@dataclass(frozen=True)
class Start:
    """The first message, which makes a process a worker."""

    number: int
    """Its number, from 0."""
    config: Config
    """Its own configuration, with its part of the server's limits."""
    token_keys: tuple[bytes, ...]
    cores: tuple[int, ...]
    """Cores to which it is bound; none: it runs on any."""
    lock: int
    """Descriptor of the lock on standard error, which all share."""


@dataclass(frozen=True)
class Open:
    """The ports may be opened."""


@dataclass(frozen=True)
class Stop:
    """The server got a signal to stop."""


@dataclass(frozen=True)
class Reload:
    """The server got a signal to read its files again."""


@dataclass(frozen=True)
class Collect:
    """Asks for ``Collected``."""


@dataclass(frozen=True)
class Encoded:
    """Answers ``Scrape``."""

    body: bytes


# From a worker.


@dataclass(frozen=True)
class Loaded:
    """All is loaded, and the ports can be opened."""


@dataclass(frozen=True)
class Opened:
    """The ports are open."""

    grpc_port: int
    http_port: int


@dataclass(frozen=True)
class Failed:
    """The worker can't start. It ends after this message."""

    message: str


@dataclass(frozen=True)
class Collected:
    """The metrics of the worker."""

    metrics: list[Metric]
    seconds: float
    """Processor time that this took it."""


@dataclass(frozen=True)
class Scrape:
    """Asks for the metrics of all workers, in the form that ``accept``, a header, names."""

    accept: str
