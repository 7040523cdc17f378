"""The generator: many texts from one model file, without a server.

Each thread advances batches of its own over one session, and replaces a row whose text has ended at once.

Invariant: a text is bit for bit the one that a server returns for the same prompt, seed and parameters, whatever the
number of threads and the order in which the texts end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from .parameters import Parameters, Request, Text

_PARAMETERS = Parameters()


class Generator:
    """Generates texts with one model file, on the processors of this machine."""

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Opens the model file at ``path``; ``threads`` generate at once, or as many as this process may use cores.

        Raises ``ModelFileError`` if the file can't be used.
        """
        raise NotImplementedError

    digest: str
    """SHA-256 of the model file, in hexadecimal."""
    numeric_class: str
    """Machines of one numeric class return the same bytes; as in the protocol's ``Started``."""

    def samples(
        self, prompt: str = "", *, seed: int, first: int = 0, count: int, parameters: Parameters = _PARAMETERS
    ) -> Iterator[Text]:
        """Yields the samples ``first`` to ``first + count - 1`` of one request, in order; ``index`` is their number.

        Sample i is the text of the seed ``sample_seed(seed, i)`` of ``draws``. Takes bounded memory; generates ahead of
        its reader by a bounded number of texts, and ends its threads when it is closed. Raises ``ParameterError``,
        whose ``field`` is the parameter or ``prompt``, before the first text.
        """
        raise NotImplementedError

    def texts(self, requests: Iterable[Request]) -> Iterator[Text]:
        """Yields the text of each of ``requests``, in order, as ``samples`` does.

        Takes ``requests`` lazily, in threads that take turns. A ``ParameterError`` comes in the place of the text of
        the request that it concerns, and ends the iteration.
        """
        raise NotImplementedError
