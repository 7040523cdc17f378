"""The description in a model file: what goes in comes out; what is not whole is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nextchar_model.alphabet import Alphabet
from nextchar_model.description import (
    FORMAT_VERSION,
    METADATA_KEY,
    ExportChecks,
    ModelDescription,
    ModelFileError,
    ReplaySample,
    TrainingSummary,
)

DESCRIPTION = ModelDescription(
    alphabet=Alphabet(("\n", '"', "'", "a", "é", "가", "😀")),
    cell="lstm",
    layers=2,
    hidden_size=48,
    embedding_size=16,
    precision="int8",
    parameters=12345,
    training=TrainingSummary("a \"text\", 'other'", 1000, "nextchar-train fit x", 50, 1.5, 2**63, 1.2345678901234567),
    checks=ExportChecks(1.1e-6, 1.5, 0.001, 900),
    test_vector=ReplaySample("aé", 2**64 - 1, (1, 0, 7), (-0.1, -2.5, -1e-9, -30.25, -0.7)),
)
PATH = Path("some/model.onnx")


def metadata(edit: Callable[[dict[str, Any]], object]) -> dict[str, str]:
    """The metadata of ``DESCRIPTION`` after ``edit``."""
    document = json.loads(DESCRIPTION.to_metadata()[METADATA_KEY])
    edit(document)
    return {METADATA_KEY: json.dumps(document)}


def refusal(given: dict[str, str]) -> str:
    """The message with which ``given`` is refused."""
    with pytest.raises(ModelFileError) as caught:
        ModelDescription.from_metadata(given, PATH)
    return str(caught.value)


def test_a_description_survives_the_round_trip() -> None:
    assert ModelDescription.from_metadata(DESCRIPTION.to_metadata(), PATH) == DESCRIPTION


def test_a_description_that_is_not_known_to_be_finite_survives_too() -> None:
    description = replace(DESCRIPTION, training=replace(DESCRIPTION.training, validation_loss=float("inf")))
    assert ModelDescription.from_metadata(description.to_metadata(), PATH) == description


def test_the_same_description_is_always_the_same_text() -> None:
    again = ModelDescription.from_metadata(DESCRIPTION.to_metadata(), PATH)
    assert again.to_metadata() == DESCRIPTION.to_metadata()


@pytest.mark.parametrize(
    ("cell", "precision", "bytes_a_unit"),
    [
        ("lstm", "int8", 1 + 4),
        ("lstm", "fp32", 4 + 4),
        ("gru", "int8", 1 + 4),  # the state that moves by less than a step of int8
        ("gru", "fp32", 4),
        ("rnn", "int8", 1),
        ("rnn", "fp32", 4),
    ],
)
def test_a_state_is_hidden_and_where_there_is_one_cell_of_each_layer(
    cell: Any, precision: Any, bytes_a_unit: int
) -> None:
    description = replace(DESCRIPTION, cell=cell, precision=precision)
    assert description.state_bytes == 2 * 48 * bytes_a_unit
    assert ModelDescription.from_metadata(description.to_metadata(), PATH) == description


def test_a_foreign_file_is_named_as_one() -> None:
    assert refusal({"other": "{}"}) == (
        "some/model.onnx: an ONNX file, but not a nextchar model: its metadata has no entry 'nextchar'"
    )


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 0, None, "1"])
def test_another_format_version_is_refused_with_the_remedy(version: object) -> None:
    message = refusal(metadata(lambda document: document.update(format_version=version)))
    assert message.startswith(f"some/model.onnx: model file format {version!r};")
    assert f"reads format {FORMAT_VERSION}" in message
    assert "export the checkpoint again" in message


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '"text"', "7", "{}", DESCRIPTION.to_metadata()["nextchar"][:-9]]
)
def test_damaged_metadata_are_refused(text: str) -> None:
    assert refusal({METADATA_KEY: text}) == "some/model.onnx: the metadata of the model is damaged"


@pytest.mark.parametrize(
    "field", sorted(json.loads(DESCRIPTION.to_metadata()[METADATA_KEY]).keys() - {"format_version"})
)
def test_a_missing_field_is_refused_and_named(field: str) -> None:
    message = refusal(metadata(lambda document: document.pop(field)))
    assert message.startswith("some/model.onnx: the description of the model")
    assert repr(field) in message


@pytest.mark.parametrize("part", ["training", "checks", "test_vector", "alphabet"])
def test_a_missing_field_of_a_part_is_refused_and_named(part: str) -> None:
    removed: list[str] = []
    message = refusal(metadata(lambda document: removed.append(document[part].popitem()[0])))
    assert message.startswith("some/model.onnx: the description of the model")
    assert repr(removed[0]) in message


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda document: document.update(layers=0), "layers"),
        (lambda document: document.update(hidden_size="48"), "hidden_size"),
        (lambda document: document.update(embedding_size=1.5), "embedding_size"),
        (lambda document: document.update(parameters=-1), "parameters"),
        (lambda document: document.update(cell="qrnn"), "rnn, gru, lstm"),
        (lambda document: document.update(precision="fp64"), "precision"),
        (lambda document: document.update(surprise=1), "surprise"),
        (lambda document: document["training"].update(validation_loss=None), "validation_loss"),
        (lambda document: document["training"].update(seed="7"), "seed"),
        (lambda document: document["checks"].update(loss="1.5"), "loss"),
        (lambda document: document["alphabet"].update(kind="words"), "words"),
        (lambda document: document["alphabet"].update(symbols=["b", "a"]), "order"),
        (lambda document: document["alphabet"].update(symbols=["ab"]), "'ab'"),
        (lambda document: document["alphabet"].update(symbols=[7]), "7"),
        (lambda document: document["test_vector"].update(text=7), "text"),
        (lambda document: document["test_vector"]["logprobs"].pop(), "log-probabilities"),
        (lambda document: document.update(test_vector=[]), "test_vector"),
    ],
)
def test_a_field_that_can_not_be_is_refused_and_named(edit: Callable[[dict[str, Any]], object], named: str) -> None:
    message = refusal(metadata(edit))
    assert message.startswith("some/model.onnx: the description of the model is not valid: ")
    assert named in message
    assert "\n" not in message
