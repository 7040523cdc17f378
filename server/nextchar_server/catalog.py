"""The catalog: the models of one server by name, each in one version or several, and which of them serves a request.

A model's main version serves the requests by its name, except for the shares of other versions (canaries). Versions
that were replaced are kept for a while, for texts that continue on them. ``versions`` keeps the catalog in step with
the files.

Invariant: which version serves a request depends on the request and its id only; a version stays loaded while a call
uses it. Used on the event loop only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Alphabet
from nextchar_model.runner import Replay, Runner

from .engine.engine import Engine
from .metrics import TextMetrics
from .returns import Returns

LEAST_DIGITS = 8
"""Fewest digits of a digest's beginning by which a version can be named."""

_SHOWN_DIGITS = 12
_DIGITS = re.compile(rf"[0-9a-f]{{{LEAST_DIGITS},64}}")


class UnknownModelError(LookupError):
    """The catalog has no model of that name."""

    def __init__(self, name: str, names: list[str]) -> None:
        """``name`` was asked for; ``names`` are those of the catalog."""
        super().__init__(name)
        self.name = name
        self.names = names


@dataclass(frozen=True)
class Limits:
    """The most that one request may ask for."""

    max_characters: int
    max_prompt_characters: int


@dataclass(frozen=True)
class LoadFailure:
    """A model file that could not be loaded, and so isn't served."""

    name: str
    """As whoever runs the server names it: with the share, if it has one."""
    reason: str
    """Label of ``nextchar_model_load_failures_total``."""
    message: str
    """For callers: without the folder of the file."""
    tried_at: float
    """Seconds since the epoch."""


@dataclass(eq=False)
class ServedModel:
    """One version of a model, loaded. A call that uses it surrounds itself with it."""

    name: str
    runner: Runner
    replay: Replay
    engine: Engine
    limits: Limits
    metrics: TextMetrics
    loaded_at: float
    """Seconds since the epoch."""
    returns: Returns = field(default_factory=Returns)
    """Its refused callers."""
    answer: pb.GetModelResponse = field(default_factory=pb.GetModelResponse)
    """Its description. Made once: a large alphabet takes milliseconds."""
    calls: int = 0
    """Number of calls that use it."""
    _on_unused: Callable[[ServedModel], object] | None = None

    def __enter__(self) -> Self:
        self.calls += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.calls -= 1
        if self._on_unused is not None and not self.calls:
            self._on_unused(self)

    def retire(self, on_unused: Callable[[ServedModel], object]) -> None:
        """Calls ``on_unused`` once no call uses it; at once if none does. Calls no longer begin to use it."""
        self._on_unused = on_unused
        if not self.calls:
            on_unused(self)

    def revive(self) -> None:
        """Lets calls use it again."""
        self._on_unused = None

    @property
    def alphabet(self) -> Alphabet:
        """The alphabet of the model."""
        return self.runner.description.alphabet

    @property
    def digest(self) -> str:
        """SHA-256 of the model file, in hexadecimal."""
        return self.runner.digest

    @property
    def weight(self) -> float:
        """Part of the requests by the model's name that it serves."""
        return self.answer.model.weight


@dataclass(frozen=True)
class Family:
    """The versions of one model."""

    main: ServedModel
    canaries: tuple[tuple[float, ServedModel], ...] = ()
    """Versions with their share of the requests. The shares are above 0, and all together at most 1."""
    kept: tuple[ServedModel, ...] = ()
    """Versions that were replaced, the latest first."""

    @property
    def current(self) -> list[ServedModel]:
        """The versions that serve requests by the model's name, each once, the main one first."""
        return list(dict.fromkeys([self.main, *(version for _, version in self.canaries)]))

    @property
    def all(self) -> list[ServedModel]:
        """All versions, the current ones first."""
        return [*self.current, *self.kept]

    def weight(self, version: ServedModel) -> float:
        """Returns the part of the requests by the model's name that ``version`` serves."""
        rest = 1 - sum(share for share, _ in self.canaries)
        return sum(share for share, canary in self.canaries if canary is version) + rest * (version is self.main)

    def chosen(self, request_id: str) -> ServedModel:
        """Returns the version that serves the request of that id, which is a hexadecimal number.

        The id, divided by 16 to the power of its length, is a number in [0, 1). The first canary serves the numbers
        below its share, the second one those from there on, as far as its share reaches, and so on; the main version
        serves the rest.
        """
        if self.canaries:
            number = int(request_id, 16) / 16 ** len(request_id)
            for share, version in self.canaries:
                if number < share:
                    return version
                number -= share
        return self.main


class Catalog:
    """The models of one server. The first is the default."""

    def __init__(self) -> None:
        self.families: dict[str, Family] = {}
        """The models by name, the default one first."""
        self.most_symbols = 0
        """Number of symbols of the largest alphabet."""
        self.listing = pb.ListModelsResponse()
        """The description of all models, and of the files that could not be loaded."""
        self._ending: dict[ServedModel, None] = {}  # versions that serve no further calls, and still have some

    def __iter__(self) -> Iterator[ServedModel]:
        """Every version that is loaded."""
        for family in self.families.values():
            yield from family.all
        yield from self._ending

    def replace(self, families: dict[str, Family], on_unused: Callable[[ServedModel], object]) -> None:
        """Serves ``families``, at least one, from now on. The first is the default.

        ``on_unused`` is called with each version that is in none of them, as soon as no call uses it.
        """
        before = list(self)
        self.families, self._ending = families, {}
        self._default = next(iter(families.values()))
        self.most_symbols = max(len(version.alphabet.symbols) for version in self)
        serving = set(self)
        self._ending = {version: None for version in before if version not in serving}

        def end(version: ServedModel) -> None:
            self._ending.pop(version)
            on_unused(version)

        for version in serving:
            version.revive()
        for version in list(self._ending):
            version.retire(end)

    def get(self, name: str, request_id: str = "", digest: str = "") -> ServedModel:
        """Returns the version of the model called ``name`` that serves the request of ``request_id``.

        If a version has ``digest``, it is that one. Without an id it is the one that serves most requests. An empty
        name stands for the default model, and NAME@DIGEST for one version: a beginning of its digest, at least 8
        hexadecimal digits. Raises ``UnknownModelError``.
        """
        family = self.families.get(name) if name else self._default
        if family is None:
            return self._named(name)
        if digest:
            for version in family.all:
                if version.digest == digest:
                    return version
        return family.chosen(request_id) if request_id else max(family.current, key=family.weight)

    def _named(self, name: str) -> ServedModel:
        base, _, digits = name.rpartition("@")
        family = self.families.get(base)
        if family is None:
            raise UnknownModelError(name, list(self.families))
        digits = digits.lower()
        found = [version for version in family.all if version.digest.startswith(digits)]
        if len(found) != 1 or not _DIGITS.fullmatch(digits):
            raise UnknownModelError(name, [f"{base}@{version.digest[:_SHOWN_DIGITS]}" for version in family.all])
        return found[0]
