"""The runner: a model file, opened in onnxruntime, ready to advance batches.

Last stage of training's flow and first of the server's: the exporter checks its files with it, the evaluator
scores texts with it, the engine serves from it. It needs no torch.

On the CPU, a row's results always depend on that row alone, bit for bit: not on its batch-mates, on the number of steps
per call, or on the number of threads that share the work.

Shapes: B rows, R steps that only read, K steps, V ids, L layers, H hidden size, N alternatives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .alphabet import BOUNDARY, Ids
from .batch import SAMPLE, Batch, RecurrentState, SamplingSettings, Steps
from .cell import Precision
from .composition import second_halves
from .decoder import continuing
from .description import ModelDescription, ModelFileError
from .draws import uniform
from .file import read_model_file
from .providers import Provider, ProviderError, open_cpu, open_cuda, reason
from .screen import tensors_of
from .slices import advance_slices, most_rows
from .tables import BEGINS, FREE, Tables

REPLAY_TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "int8": 0.15}
"""Largest difference in a log-probability of the replay sample's text, in nats, at which a machine still counts as
running the same model. In int8 the last bit of a float can tip a hidden state to the next of its 255 steps, and x86
processors without VNNI add pairs of products in 16 bits, which sometimes saturates: up to 0.06 nats per character,
0.0004 nats on average."""

_EARLIER_OUTPUTS = ["ids", "logprob", "top_ids", "top_logprobs", "new_automaton_state", "new_hidden", "new_cell"]
_OUTPUTS = [*_EARLIER_OUTPUTS[:5], "new_slack", *_EARLIER_OUTPUTS[5:]]  # since format 4


@dataclass(frozen=True)
class Replay:
    """How this machine repeats a model file's replay sample."""

    exact: bool
    """Whether it repeats the exporting machine bit for bit. If not, it is close: another instruction set."""
    numeric_class: str
    """A fingerprint of the arithmetic: the same on machines that compute the same bits."""


class Runner:
    """A model file in an onnxruntime session. Several threads may call it at once."""

    description: ModelDescription
    digest: str
    """SHA-256 of the file, in hexadecimal."""
    is_sealed: bool
    """Whether the file vouches for itself. Files of the format before don't."""
    provider: Provider
    provider_reason: str
    """Why the model runs on ``provider``, for people to read."""

    def __init__(self, path: Path, *, provider: Literal["auto", "cpu", "cuda"] = "cpu", threads: int = 1) -> None:
        """Opens the model file at ``path``; ``threads`` of the CPU share the work of one step.

        ``"auto"`` means CUDA if this machine has it and the model is fp32, and otherwise the CPU.
        Raises ``ModelFileError`` if the file is missing, damaged, of another kind or of another format version,
        ``ProviderError`` if ``"cuda"`` was asked for and isn't available.
        """
        self._path = path
        file = read_model_file(path)
        self.description, self.digest, self.is_sealed = file.description, file.digest, file.is_sealed
        try:
            self._session = open_cpu(file.content, threads)
        except Exception as error:  # onnxruntime's errors have no common class
            raise ModelFileError(f"{path}: onnxruntime can't open it: {reason(error)}") from error
        self._check_graph()
        self.provider, self.provider_reason = "cpu", "asked for"
        if provider != "cpu":
            try:
                self._session = open_cuda(file.content, self.description.precision, threads)
                self.provider, self.provider_reason = "cuda", "asked for" if provider == "cuda" else "available"
            except ProviderError as error:
                if provider == "cuda":
                    raise ProviderError(f"{path}: {error}") from error
                self.provider_reason = str(error)
        self._hidden_zero = np.uint8(128) if self.description.precision == "int8" else np.float32(0)
        self._most_rows = most_rows(self.description.hidden_size)
        second_halves()  # reads Unicode's properties now, and not during the first request
        self._tables = Tables(self.description.alphabet)
        self._first_state = np.int32(BEGINS if continuing(self.description.alphabet).any() else FREE)

    def _check_graph(self) -> None:
        """Raises ``ModelFileError`` if the graph's inputs or outputs don't match the description."""
        self._outputs = [output.name for output in self._session.get_outputs()]
        if self._outputs not in (_OUTPUTS, _EARLIER_OUTPUTS):
            raise ModelFileError(
                f"{self._path}: the graph's outputs are {', '.join(self._outputs)}; they must be {', '.join(_OUTPUTS)}"
            )
        inputs = {one.name: (one.type, one.shape) for one in self._session.get_inputs()}
        for name, expected in _inputs(self.description).items():
            if inputs.get(name) != expected:
                raise ModelFileError(
                    f"{self._path}: the graph's input {name} is {inputs.get(name)}; its description says {expected}"
                )

    @cached_property
    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """The weights, scales and tables by their names in the graph, read from the file when they are first used.

        Raises ``ModelFileError`` if the file was removed or replaced meanwhile.
        """
        file = read_model_file(self._path)
        if file.digest != self.digest:
            raise ModelFileError(f"{self._path} was replaced since the model was loaded, so its weights can't be read")
        return tensors_of(memoryview(file.content))

    @property
    def counts_down(self) -> bool:
        """Whether the graph counts down the slack, so that constrained texts are completed; older files don't."""
        return self._outputs == _OUTPUTS

    def initial_state(self, batch: int) -> RecurrentState:
        """Returns the state of ``batch`` rows at the start of a document: zero."""
        L, H = self.description.layers, self.description.hidden_size
        cell = np.zeros((self.description.cell_layers, batch, H), np.float32)
        return RecurrentState(np.full((L, batch, H), self._hidden_zero), cell)

    def start(self, settings: Sequence[SamplingSettings]) -> Batch:
        """Returns a batch at the start of a document, with one row for each of ``settings``."""
        B = len(settings)
        state = self.initial_state(B)
        bias = np.zeros((B, self.description.alphabet.size), np.float32)
        for row, one in enumerate(settings):
            if one.bias is not None:
                bias[row] = one.bias
        return Batch(
            last_id=np.full(B, BOUNDARY, np.int64),
            hidden=state.hidden,
            cell=state.cell,
            automaton=_objects([one.automaton for one in settings]),
            automaton_state=self._first_states(settings),
            slack=np.array([one.slack for one in settings], np.int32),
            ends_at=np.array([one.ends_at for one in settings], np.int32),
            temperature=np.array([one.temperature for one in settings], np.float32),
            top_k=np.array([one.top_k for one in settings], np.int64),
            top_p=np.array([one.top_p for one in settings], np.float32),
            min_p=np.array([one.min_p for one in settings], np.float32),
            bias=bias,
        )

    def _first_states(self, settings: Sequence[SamplingSettings]) -> NDArray[np.int32]:
        first = self._first_state
        return np.array([first if one.begins and one.automaton is None else FREE for one in settings], np.int32)

    def advance(
        self,
        batch: Batch,
        forced: NDArray[np.int64],
        draws: NDArray[np.float32],
        *,
        read: NDArray[np.int64] | None = None,
        alternatives: int = 0,
    ) -> Steps:
        """Advances every row by R + K steps and leaves ``batch`` in the state after them. Returns the K steps.

        The arrays of its state before are replaced or overwritten.

        ``forced`` [K, B], K at least 1, holds the id to take at each step, or ``SAMPLE``; ``draws`` [K, B] the random
        number of each step, in [0, 1). ``alternatives`` is N, the number of likeliest ids to return, at most V.
        ``read`` [R, B] holds ids to consume first without producing outputs, which is cheaper. Each step feeds in the
        row's last id and chooses the next one; the last id chosen is fed in by the next call.
        """
        if read is None:
            read = np.empty((0, len(batch)), np.int64)
        if len(batch) <= self._most_rows or self.provider == "cuda":
            return self._advance(batch, read, forced, draws, alternatives)
        advance = partial(self._advance, alternatives=alternatives)
        return advance_slices(batch, self._most_rows, read, forced, draws, advance)

    def _advance(
        self,
        batch: Batch,
        read: NDArray[np.int64],
        forced: NDArray[np.int64],
        draws: NDArray[np.float32],
        alternatives: int,
    ) -> Steps:
        stack, first = self._tables.stack(batch.automaton)
        inputs = {
            "read": read,
            "forced": forced,
            "uniform": draws,
            "transitions": stack.transitions,
            "alternatives": np.array([min(alternatives, self.description.alphabet.size)]),
            **vars(batch),
        }
        del inputs["automaton"]
        if first is not None:
            inputs["automaton_state"] = batch.automaton_state + first
        if self.counts_down:
            inputs["detours"] = stack.detours
        else:
            del inputs["slack"], inputs["ends_at"]
        outputs = dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))
        batch.automaton_state, batch.hidden = outputs["new_automaton_state"], outputs["new_hidden"]
        batch.cell, batch.slack = outputs["new_cell"], outputs.get("new_slack", batch.slack)
        if first is not None:
            batch.automaton_state = batch.automaton_state - first
        result = Steps(*(outputs[name] for name in _OUTPUTS[:4]))
        batch.last_id = result.ids[-1]
        return result

    def rest(self) -> None:
        """Drops the memory that the calling thread keeps for its rows: it has none for now."""
        self._tables.rest()

    def score(
        self, last_id: Ids, ids: NDArray[np.int64], state: RecurrentState
    ) -> tuple[NDArray[np.float32], RecurrentState]:
        """Reads ``ids`` [T, B], each row from its ``last_id`` [B] and ``state`` on.

        Returns the log-probability of each id in nats, [T, B], and the state before the last id is fed in.
        """
        batch = self.start([SamplingSettings(begins=False)] * len(last_id))
        batch.last_id, batch.hidden, batch.cell = last_id, state.hidden.copy(), state.cell.copy()  # may be overwritten
        steps = self.advance(batch, ids, np.zeros(ids.shape, np.float32))
        return steps.logprob, RecurrentState(batch.hidden, batch.cell)

    def generate(self, text: str, seed: int, count: int) -> Steps:
        """Reads ``text`` from the start of a document, then samples ``count`` ids at temperature 1, in one call."""
        return self._generate(self.start([SamplingSettings()]), text, seed, count)

    def _generate(self, batch: Batch, text: str, seed: int, count: int) -> Steps:
        read = self.description.alphabet.encode(text)
        forced = np.concatenate([read, np.full(count, SAMPLE)])[:, None]
        draws = np.concatenate([np.zeros(len(read), np.float32), uniform(seed, 0, count)])[:, None]
        return self.advance(batch, forced, draws)

    def replay(self) -> Replay:
        """Repeats the model file's replay sample. Raises ``ModelFileError`` if this machine's results are off."""
        sample = self.description.replay_sample
        expected = np.array(sample.logprobs, np.float32)
        batch = self.start([SamplingSettings()])
        forms = _forms(batch)
        try:
            steps = self._generate(batch, sample.text, sample.seed, len(sample.ids))
        except Exception as error:  # onnxruntime's errors have no common class
            raise ModelFileError(f"{self._path}: its replay sample can't be run: {reason(error)}") from error
        K = len(expected)
        alternatives = {"top_ids": ((K, 1, 0), "int64"), "top_logprobs": ((K, 1, 0), "float32")}
        if (_forms(batch), _forms(steps)) != (
            forms,
            {"ids": ((K, 1), "int64"), "logprob": ((K, 1), "float32"), **alternatives},
        ) or not ((steps.ids >= 0) & (steps.ids < self.description.alphabet.size)).all():
            raise ModelFileError(f"{self._path}: its graph returns something else than ids and their log-probabilities")
        ids, logprobs = steps.ids[:, 0], steps.logprob[:, 0]
        read = len(ids) - len(sample.ids)
        exact = np.array_equal(ids[read:], sample.ids) and np.array_equal(logprobs, expected)
        difference = float(np.abs(logprobs[:read] - expected[:read]).max(initial=0.0))
        if not exact and not difference <= REPLAY_TOLERANCE[self.description.precision]:
            raise ModelFileError(
                f"{self._path}: this machine computes the file's replay sample wrongly (off by {difference:.3g} nats): "
                "the file is damaged, or this processor can't run it"
            )
        bits = hashlib.sha256(ids.tobytes() + logprobs.tobytes()).hexdigest()
        return Replay(exact, f"{self.description.precision}-{self.provider}-{bits[:8]}")


def _objects(values: Sequence[object]) -> NDArray[np.object_]:
    array = np.empty(len(values), np.object_)
    array[:] = values  # NumPy takes an object with a length for a row of more
    return array


def _forms(arrays: Batch | Steps) -> dict[str, tuple[tuple[int, ...], str]]:
    """Returns the shape and the type of each array."""
    return {name: (array.shape, str(array.dtype)) for name, array in vars(arrays).items()}


def _inputs(description: ModelDescription) -> dict[str, tuple[str, list[int | str]]]:
    """Returns type and shape of those of the graph's inputs that depend on the model."""
    hidden = "tensor(uint8)" if description.precision == "int8" else "tensor(float)"
    L, H = description.layers, description.hidden_size
    return {
        "bias": ("tensor(float)", ["B", description.alphabet.size]),
        "hidden": (hidden, [L, "B", H]),
        "cell": ("tensor(float)", [description.cell_layers, "B", H]),
    }
