"""The catalog: the models of one server, by name, each with its runner, its engine and its limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nextchar_model.alphabet import Alphabet
from nextchar_model.runner import Replay, Runner

from .engine.engine import Engine


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
class ServedModel:
    """A model of the server."""

    name: str
    runner: Runner
    replay: Replay
    engine: Engine
    limits: Limits

    @property
    def alphabet(self) -> Alphabet:
        """The alphabet of the model."""
        return self.runner.description.alphabet


class Catalog:
    """The models of one server, at least one. The first is the default."""

    def __init__(self, models: list[ServedModel]) -> None:
        self._models = {model.name: model for model in models}
        self.default = models[0]
        """The model of requests that name none."""

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    def get(self, name: str) -> ServedModel:
        """Returns the model called ``name``, or the default one if ``name`` is empty.

        Raises ``UnknownModelError``.
        """
        if not name:
            return self.default
        if name not in self._models:
            raise UnknownModelError(name, list(self._models))
        return self._models[name]
