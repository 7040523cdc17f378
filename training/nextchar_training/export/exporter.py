"""Export: from a trained network to a model file that was checked.

Last stage of training. It builds the graph, compares it with PyTorch and with its own fp32 form on real text,
lets this machine run it once as a server would, and only then writes the file.

What always holds: a file that is off is never written, and a file that was there before stays whole until the new
one is complete.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch

from nextchar_model.alphabet import Alphabet, Ids, Spelling
from nextchar_model.batch import SamplingSettings
from nextchar_model.cell import Precision
from nextchar_model.description import ExportChecks, ModelDescription, ReplaySample, TrainingSummary
from nextchar_model.runner import Runner

from ..learning.evaluation import stateful_loss
from ..learning.network import Network
from .graph import build_advance

MAX_LOGIT_DIFFERENCE = 1e-4
"""Largest difference between the fp32 graph's log-probabilities and PyTorch's, in nats."""

MAX_LOSS_INCREASE = 0.01
"""Most that a precision may cost, in nats a character of the checked text. int8 costs less than a tenth of it on
models of useful size; more means that something is wrong with the weights."""

MIN_CHARACTERS = 256
"""Least text that tells anything."""

MAX_CHARACTERS = 100_000
"""Characters of the text that are checked, at most: some seconds."""

_VECTOR_CHARACTERS = 64
_VECTOR_SEED = 7
_SHAPES = ((1, 128), (3, 40), (16, 1), (64, 4))  # (B, K) of the comparison with PyTorch


class ExportError(Exception):
    """A network could not be exported. The message says what is off, and by how much."""


def export(
    network: Network,
    alphabet: Alphabet,
    training: TrainingSummary,
    path: Path,
    *,
    precision: Precision,
    text: str | Sequence[Spelling],
    say: Callable[[str], None] = lambda line: None,
) -> ModelDescription:
    """Writes ``network`` as the model file ``path``, after all checks passed on ``text``.

    ``text`` is the validation text, or documents of it as ``alphabet`` spells them: ``MAX_CHARACTERS`` are enough.
    ``say`` hears of each check.
    Raises ``ExportError`` where a check fails, ``OSError`` where the file can't be written.
    """
    documents = [alphabet.spell(text[:MAX_CHARACTERS])] if isinstance(text, str) else text
    characters = sum(len(document.text) for document in documents)
    if characters < MIN_CHARACTERS:
        raise ExportError(f"the text to check on has {characters} characters; it takes at least {MIN_CHARACTERS}")
    if not path.parent.is_dir():
        raise ExportError(f"{path.parent} is not a folder")
    architecture = network.architecture
    weights = {name: value.detach().cpu().float().numpy() for name, value in network.state_dict().items()}
    description = ModelDescription(
        alphabet=alphabet,
        cell=architecture.cell,
        layers=architecture.layers,
        hidden_size=architecture.hidden_size,
        embedding_size=architecture.embedding_size,
        precision="fp32",
        parameters=sum(value.size for value in weights.values()),
        training=training,
        checks=ExportChecks(0.0, 0.0, 0.0, characters),
        test_vector=ReplaySample("", 0, (), ()),
    )
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        # The fp32 graph is the reference, whichever precision is asked for.
        file = Path(folder) / "fp32.onnx"
        graph = build_advance(weights, cell=architecture.cell, layers=architecture.layers, precision="fp32")
        _write(graph, description, file)
        reference = Runner(file)
        difference = _compare(network, reference, np.concatenate([document.ids for document in documents]))
        say(f"fp32 graph against PyTorch: log-probabilities differ by at most {difference:.1e} nats")
        if not difference <= MAX_LOGIT_DIFFERENCE:
            raise ExportError(
                f"the fp32 graph is off PyTorch by {difference:.1e} nats; at most {MAX_LOGIT_DIFFERENCE:.0e} is right"
            )
        loss = reference_loss = stateful_loss(reference, documents)
        runner = reference
        if precision == "int8":
            file = Path(folder) / "int8.onnx"
            graph = build_advance(weights, cell=architecture.cell, layers=architecture.layers, precision="int8")
            description = replace(description, precision="int8")
            _write(graph, description, file)
            runner = Runner(file)
            loss = stateful_loss(runner, documents)
            say(f"int8 loss {loss:.4f} nats, fp32 loss {reference_loss:.4f} nats, on {characters:,} characters")
        else:
            say(f"fp32 loss {loss:.4f} nats, on {characters:,} characters")
        if not loss - reference_loss <= MAX_LOSS_INCREASE:
            raise ExportError(
                f"{precision} costs {loss - reference_loss:.4f} nats a character; at most {MAX_LOSS_INCREASE} is right"
            )
        description = replace(
            description,
            checks=ExportChecks(difference, loss, loss - reference_loss, characters),
            test_vector=_vector(runner, documents[0].text[:_VECTOR_CHARACTERS]),
        )
        _write(graph, description, file)
        replay = Runner(file).replay()
        if not replay.exact:
            raise ExportError("this machine does not repeat the file's test vector bit for bit")
        say(f"test vector repeated bit for bit: numeric class {replay.numeric_class}")
        with file.open("rb") as written:
            os.fsync(written.fileno())
        file.replace(path)
    return description


def _write(graph: onnx.ModelProto, description: ModelDescription, path: Path) -> None:
    del graph.metadata_props[:]
    for key, value in description.to_metadata().items():
        graph.metadata_props.add(key=key, value=value)
    graph.producer_name = "nextchar"
    path.write_bytes(graph.SerializeToString(deterministic=True))


@torch.no_grad()
def _compare(network: Network, runner: Runner, ids: Ids) -> float:
    """Largest difference between the log-probabilities of all ids, over several batch sizes and step counts.

    Every shape goes on from the state that the text before it left, so that none is seen from state zero only.
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
    return float(np.max(differences))  # NaN where one is, which Python's max would lose


def _vector(runner: Runner, text: str) -> ReplaySample:
    steps = runner.generate(text, _VECTOR_SEED, _VECTOR_CHARACTERS)
    ids = tuple(int(id_) for id_ in steps.ids[-_VECTOR_CHARACTERS:, 0])
    return ReplaySample(text, _VECTOR_SEED, ids, tuple(float(value) for value in steps.logprob[:, 0]))
