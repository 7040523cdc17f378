"""A model file as the source of texts, in this process, without a server.

The only module of the client that needs the model package, and with it NumPy and onnxruntime: it imports them when a
model file is opened. Invariant: the texts are those that a server returns for the same plan.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any
from unicodedata import normalize

from ..errors import InvalidArgumentError
from ..options import GenerationOptions
from .plan import Block, Piece
from .source import Made

_TEXTS_AT_ONCE = 1024  # that are handed from the generator's threads to the event loop
_NAMES = {"stop": "stop_sequences"}  # of parameters, if they aren't those of options


class ModelFile:
    """``Source`` of the model file at ``path``.

    Raises ``InvalidArgumentError`` if the file can't be used, or the packages that it needs aren't installed.
    """

    def __init__(self, path: str) -> None:
        try:
            from nextchar_model import description, draws, generator, parameters
        except ImportError as error:
            raise InvalidArgumentError(
                f"model_file: it needs {error.name}, which is not installed; pip install 'nextchar[server]'"
            ) from None
        self._parameters = parameters
        self._sample_seed = draws.sample_seed
        try:
            self._generator = generator.Generator(Path(path))
        except description.ModelFileError as error:
            raise InvalidArgumentError(f"model_file: {error}") from None
        self.digest, self.numeric_class = self._generator.digest, self._generator.numeric_class

    async def texts(self, blocks: Iterable[Block]) -> AsyncGenerator[list[Made], None]:
        """As ``Source`` says."""
        asked: deque[tuple[int, str]] = deque()  # number and echoed prompt of the texts that are being made
        texts = self._generator.texts(self._requests(blocks, asked))
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "nextchar-batch") as executor:
            try:
                while made := await loop.run_in_executor(executor, self._taken, texts, asked):
                    yield made
            finally:
                executor.submit(getattr(texts, "close", int))

    async def close(self) -> None:
        """As ``Source`` says."""

    def _taken(self, texts: Iterator[Any], asked: deque[tuple[int, str]]) -> list[Made]:
        made = []
        try:
            for text in islice(texts, _TEXTS_AT_ONCE):
                number, prompt = asked.popleft()
                made.append(Made(number, prompt + text.text, text.finish_reason))
        except self._parameters.ParameterError as error:
            names = {name: option for option, name in _NAMES.items()}
            field, _, rest = str(error).partition(": ")
            raise InvalidArgumentError(f"{names.get(field, field)}: {rest}") from None
        return made

    def _requests(self, blocks: Iterable[Block], asked: deque[tuple[int, str]]) -> Iterator[Any]:
        options: Any = None
        parameters: Any = None
        request, sample_seed = self._parameters.Request, self._sample_seed
        for block in blocks:
            numbered = map(_numbered, block)
            for number, sample, piece, echoed in (
                next(numbered) if len(block) == 1 else heapq.merge(*numbered, key=itemgetter(0))
            ):
                if piece.options is not options:
                    options, parameters = piece.options, self._read(piece.options)
                asked.append((number, echoed))
                yield request(piece.prompt, sample_seed(piece.seed, sample), parameters)

    def _read(self, options: GenerationOptions) -> Any:
        """The parameters that ``options`` stand for. Raises ``InvalidArgumentError`` if only a server has one."""
        fields: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        if {"unknown_characters", "replacement_character"} & fields.keys():
            raise InvalidArgumentError("unknown_characters, model_file: only a server skips and replaces characters")
        fields.pop("echo", None)  # the prompt is put before the text
        stop = fields.pop("stop", ())
        fields["stop_sequences"] = (stop,) if isinstance(stop, str) else tuple(stop)
        fields["choices"] = tuple(fields.get("choices", ()))
        return self._parameters.Parameters(**fields)


def _numbered(piece: Piece) -> Iterator[tuple[int, int, Piece, str]]:
    """Yields number and sample of each text of ``piece``, the piece, and the part of the prompt that is echoed."""
    echoed = normalize("NFC", piece.prompt) if piece.options.get("echo") else ""
    return ((number, sample, piece, echoed) for sample, number in enumerate(piece.numbers, piece.first_sample))
