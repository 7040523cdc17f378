"""The exporter: turns a trained network into a checked model file.

Last stage of training. It builds the graph, compares it with PyTorch and with its own fp32 form on real text, runs it
once on this machine as a server would, and only then writes the file.

A file that fails a check is never written, and a file that was there before stays whole until the new one is complete.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from nextchar_model.alphabet import BOUNDARY, Alphabet, Ids, Spelling
from nextchar_model.batch import SamplingSettings
from nextchar_model.cell import Precision
from nextchar_model.description import ExportChecks, ModelDescription, ReplaySample, TrainingSummary
from nextchar_model.runner import Runner
from nextchar_model.screen import PRODUCER
from nextchar_model.seal import sealed

from ..files import write_whole
from ..learning.evaluation import stateful_loss
from ..learning.network import Network
from .graph import build_advance
from .precision import Scales

MAX_LOGIT_DIFFERENCE = 1e-4
"""Largest accepted difference between the log-probabilities of the fp32 graph and of PyTorch, in nats."""

MAX_LOSS_INCREASE = 0.01
"""Most that a precision may cost, in nats per character of the checked text. int8 costs less than a tenth of it on
models of useful size; more means that something is wrong with the weights."""

MIN_CHARACTERS = 256
"""Shortest text whose loss is worth checking."""

MAX_CHARACTERS = 100_000
"""Most characters of the text that are checked, which takes some seconds."""

_SAMPLE_CHARACTERS = 64  # characters that the replay sample reads, and ids that it generates
_SAMPLE_SEED = 7
_SHAPES = ((1, 128), (3, 40), (16, 1), (64, 4))  # (B, K) of the comparison with PyTorch


class ExportError(Exception):
    """A network could not be exported. The message says which check failed, and by how much."""


def export(
    network: Network,
    alphabet: Alphabet,
    training: TrainingSummary,
    path: Path,
    *,
    precision: Precision,
    scales: Scales = "output",
    text: str | Sequence[Spelling],
    say: Callable[[str], None] = lambda line: None,
) -> ModelDescription:
    """Writes ``network`` to the model file ``path`` if all checks on ``text`` pass, and returns its description.

    ``scales`` are those of int8 weights. ``text`` is the validation text, or documents of it as ``alphabet`` spells
    them; ``MAX_CHARACTERS`` are enough.
    ``say`` is called with the result of each check.
    Raises ``ExportError`` if a check fails or there is no such precision, ``UnknownCharacterError`` if ``alphabet``
    can't spell the text, ``OSError`` if the file can't be written.
    """
    if precision not in get_args(Precision):
        raise ExportError(f"precision is {precision!r}; it must be {' or '.join(get_args(Precision))}")
    documents = [alphabet.spell(text[:MAX_CHARACTERS])] if isinstance(text, str) else text
    characters = sum(len(document.text) for document in documents)
    if characters < MIN_CHARACTERS:
        raise ExportError(
            f"the text to check on has {characters} characters; it needs at least {MIN_CHARACTERS}: "
            "name a longer one with --text (in Python: text=...)"
        )
    if not path.parent.is_dir():
        raise ExportError(f"{path.parent} is not a folder")
    with tempfile.TemporaryDirectory(prefix="nextchar-export-") as folder:
        draft = _Draft(network, alphabet, training, documents, "fp32", Path(folder))
        runner = draft.open()
        difference = _check_against_pytorch(network, runner, documents, say)
        loss = fp32_loss = stateful_loss(runner, documents)
        if precision == "int8":
            draft = _Draft(network, alphabet, training, documents, "int8", Path(folder), scales)
            runner = draft.open()
            loss = stateful_loss(runner, documents)
            say(f"int8 loss {loss:.4f}, fp32 loss {fp32_loss:.4f} nats per character, on {characters:,} characters")
        else:
            say(f"fp32 loss {loss:.4f} nats per character, on {characters:,} characters")
        if not loss - fp32_loss <= MAX_LOSS_INCREASE:
            raise ExportError(
                f"{precision} costs {loss - fp32_loss:.4f} nats per character; at most {MAX_LOSS_INCREASE} is accepted"
            )
        draft.description = replace(
            draft.description,
            checks=ExportChecks(difference, loss, loss - fp32_loss, characters),
            replay_sample=_replay_sample(runner, draft.description.replay_sample.text),
        )
        replay = draft.open().replay()
        if not replay.exact:
            raise ExportError("this machine doesn't repeat the file's replay sample bit for bit")
        say(f"replay sample repeated bit for bit: numeric class {replay.numeric_class}")
        write_whole(path, draft.content(), kind="model file")
    return draft.description


class _Draft:
    """A model file before it is checked: its graph in one precision, and its description so far."""

    def __init__(
        self,
        network: Network,
        alphabet: Alphabet,
        training: TrainingSummary,
        documents: Sequence[Spelling],
        precision: Precision,
        folder: Path,
        scales: Scales = "output",
    ) -> None:
        architecture = network.architecture
        weights = {name: value.detach().cpu().float().numpy() for name, value in network.state_dict().items()}
        self._graph = build_advance(
            weights, cell=architecture.cell, layers=architecture.layers, precision=precision, scales=scales
        )
        self._graph.producer_name = PRODUCER.decode()
        self._file = folder / f"{precision}.onnx"
        sample = documents[0].text[:_SAMPLE_CHARACTERS]
        read = len(alphabet.encode(sample))
        self.description = ModelDescription(
            alphabet=alphabet,
            cell=architecture.cell,
            layers=architecture.layers,
            hidden_size=architecture.hidden_size,
            embedding_size=architecture.embedding_size,
            precision=precision,
            parameters=sum(value.size for value in weights.values()),
            training=training,
            # The two are measured on the draft.
            checks=ExportChecks(0.0, 0.0, 0.0, sum(len(document.text) for document in documents)),
            replay_sample=ReplaySample(sample, _SAMPLE_SEED, (BOUNDARY,), (0.0,) * (read + 1)),
        )

    def content(self) -> bytes:
        """Returns the model file's bytes. The same weights and description always make the same bytes."""
        del self._graph.metadata_props[:]
        for key, value in self.description.to_metadata().items():
            self._graph.metadata_props.add(key=key, value=value)
        content: bytes = self._graph.SerializeToString(deterministic=True)
        return sealed(content)

    def open(self) -> Runner:
        """Opens the model file as a server would, from a temporary folder."""
        self._file.write_bytes(self.content())
        return Runner(self._file)


def _check_against_pytorch(
    network: Network, runner: Runner, documents: Sequence[Spelling], say: Callable[[str], None]
) -> float:
    """Returns the largest difference in a log-probability, in nats. Raises ``ExportError`` if it is too large."""
    difference = _largest_difference(network, runner, np.concatenate([document.ids for document in documents]))
    say(f"fp32 graph against PyTorch: log-probabilities differ by at most {difference:.1e} nats")
    if not difference <= MAX_LOGIT_DIFFERENCE:
        raise ExportError(
            f"the fp32 graph is off PyTorch by {difference:.1e} nats; at most {MAX_LOGIT_DIFFERENCE:.0e} is accepted"
        )
    return difference


@torch.no_grad()
def _largest_difference(network: Network, runner: Runner, ids: Ids) -> float:
    """Compares the log-probabilities of all ids, over several batch sizes and step counts.

    Each shape reads its ids in two halves, so that it is compared from a state other than zero too.
    """
    V = runner.description.alphabet.size
    differences: list[float] = []
    network.eval()
    for B, K in _SHAPES:
        rows = np.resize(ids, (B, 2 * K)).T  # (2K, B)
        batch = runner.start([SamplingSettings()] * B)
        state = network.initial_state(B)
        for half in (rows[:K], rows[K:]):
            inputs = np.concatenate([batch.last_id[None], half[:-1]])
            logits, state = network(torch.from_numpy(inputs), state)  # (K, B, V)
            expected = logits.log_softmax(-1).numpy()
            steps = runner.advance(batch, np.ascontiguousarray(half), np.zeros((K, B), np.float32), alternatives=V)
            given = np.empty_like(expected)
            np.put_along_axis(given, steps.top_ids, steps.top_logprobs, axis=-1)
            differences.append(float(np.abs(given - expected).max()))
    return float(np.max(differences))  # NaN if any is NaN, which Python's max would lose


def _replay_sample(runner: Runner, text: str) -> ReplaySample:
    steps = runner.generate(text, _SAMPLE_SEED, _SAMPLE_CHARACTERS)
    ids = tuple(int(id_) for id_ in steps.ids[-_SAMPLE_CHARACTERS:, 0])
    return ReplaySample(text, _SAMPLE_SEED, ids, tuple(float(value) for value in steps.logprob[:, 0]))
