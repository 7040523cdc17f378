"""The served models: each model file with its runner and its engine, by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Alphabet
from nextchar_model.runner import Replay, Runner

from .engine.engine import Engine
from .rpc.errors import UnknownModelError
from .rpc.requests import Limits


@dataclass(frozen=True)
class ServedModel:
    """A model that the server holds."""

    name: str
    runner: Runner
    replay: Replay
    engine: Engine
    limits: Limits

    @property
    def alphabet(self) -> Alphabet:
        """Its alphabet."""
        return self.runner.description.alphabet

    def message(self, *, is_default: bool) -> pb.Model:
        """Its description in the protocol."""
        description = self.runner.description
        return pb.Model(
            name=self.name,
            digest=self.runner.digest,
            is_default=is_default,
            cell=description.cell,
            layers=description.layers,
            hidden_size=description.hidden_size,
            parameters=description.parameters,
            alphabet_kind=description.alphabet.kind,
            alphabet=description.alphabet.symbols,
            precision=description.precision,
            provider=self.runner.provider,
            numeric_class=self.replay.numeric_class,
            replay=pb.REPLAY_EXACT if self.replay.exact else pb.REPLAY_CLOSE,
            batch_dependent=self.runner.provider == "cuda",
            validation_loss=description.training.validation_loss,
            state_bytes=description.state_bytes,
            max_characters=self.limits.max_characters,
            max_prompt_characters=self.limits.max_prompt_characters,
        )


class ServedModels:
    """The models of one server; the first is the default one."""

    def __init__(self, models: list[ServedModel]) -> None:
        self._models = {model.name: model for model in models}
        self._default = models[0]

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    def get(self, name: str) -> ServedModel:
        """The model of that name; the default one for an empty name. Raises ``UnknownModelError``."""
        if not name:
            return self._default
        if name not in self._models:
            raise UnknownModelError(name, list(self._models))
        return self._models[name]

    def message(self, model: ServedModel) -> pb.Model:
        """The description of ``model`` in the protocol."""
        return model.message(is_default=model is self._default)
