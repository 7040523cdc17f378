"""The description in a model file: it survives the round trip, and an incomplete or invalid one is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from nextchar_model.alphabet import Alphabet
from nextchar_model.cell import Cell, Precision
from nextchar_model.description import (
    FORMAT_VERSION,
    MAX_METADATA_BYTES,
    MAX_REPLAYED,
    METADATA_KEY,
    UNSEALED_VERSION,
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
    replay_sample=ReplaySample("aé", 2**64 - 1, (1, 0, 7), (-0.1, -2.5, -1e-9, -30.25, -0.7)),
)
PATH = Path("some/model.onnx")
ROOT = Path(__file__).parents[2]
COMPATIBILITY = ROOT / "tests" / "compatibility" / "model.onnx"
PACKAGED = ROOT / "server" / "nextchar_server" / "models" / "shakespeare.onnx"


def metadata(edit: Callable[[dict[str, Any]], object]) -> dict[str, str]:
    """Returns the metadata of ``DESCRIPTION`` after ``edit``."""
    document = json.loads(DESCRIPTION.to_metadata()[METADATA_KEY])
    edit(document)
    return {METADATA_KEY: json.dumps(document)}


def nested(depth: int) -> list[Any]:
    """Returns lists in lists, ``depth`` deep."""
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


def refusal(given: dict[str, str]) -> str:
    """Returns the message with which ``given`` is refused."""
    with pytest.raises(ModelFileError) as caught:
        ModelDescription.from_metadata(given, PATH)
    return str(caught.value)


def test_a_description_survives_the_round_trip() -> None:
    assert ModelDescription.from_metadata(DESCRIPTION.to_metadata(), PATH) == DESCRIPTION


def test_an_infinite_loss_survives_the_round_trip() -> None:
    description = replace(DESCRIPTION, training=replace(DESCRIPTION.training, validation_loss=float("inf")))
    assert ModelDescription.from_metadata(description.to_metadata(), PATH) == description


def test_the_same_description_is_always_the_same_text() -> None:
    again = ModelDescription.from_metadata(DESCRIPTION.to_metadata(), PATH)
    assert again.to_metadata() == DESCRIPTION.to_metadata()


@pytest.mark.parametrize(
    ("cell", "precision", "bytes_per_unit"),
    [
        ("lstm", "int8", 1 + 4),
        ("lstm", "fp32", 4 + 4),
        ("gru", "int8", 1 + 4),  # its unrounded state is the cell
        ("gru", "fp32", 4),
        ("rnn", "int8", 1),
        ("rnn", "fp32", 4),
    ],
)
def test_a_state_is_the_hidden_state_of_each_layer_and_its_cell_if_it_has_one(
    cell: Cell, precision: Precision, bytes_per_unit: int
) -> None:
    description = replace(DESCRIPTION, cell=cell, precision=precision)
    assert description.state_bytes == 2 * 48 * bytes_per_unit
    assert ModelDescription.from_metadata(description.to_metadata(), PATH) == description


def test_a_foreign_file_is_named_as_one() -> None:
    assert refusal({"other": "{}"}) == (
        "some/model.onnx: an ONNX file, but not a nextchar model: its metadata has no entry 'nextchar'"
    )


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 0, None, "1", 1])
def test_another_format_version_is_refused_with_the_remedy(version: object) -> None:
    message = refusal(metadata(lambda document: document.update(format_version=version)))
    assert message.startswith(f"some/model.onnx: model file format {version!r};")
    assert "reads formats 2 to 4" in message
    assert "export the checkpoint again" in message


def test_a_sealed_file_is_not_of_the_format_before() -> None:
    message = refusal(metadata(lambda document: document.update(format_version=UNSEALED_VERSION)))
    assert (
        message == "some/model.onnx: damaged or cut off: files of format 3 and later, and no others, end with a digest"
    )


def test_a_file_without_a_seal_is_not_of_this_format() -> None:
    with pytest.raises(
        ModelFileError, match="damaged or cut off: files of format 3 and later, and no others, end with"
    ):
        ModelDescription.from_metadata(DESCRIPTION.to_metadata(), PATH, version=UNSEALED_VERSION)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        "7",
        "{}",
        DESCRIPTION.to_metadata()["nextchar"][:-9],
        "[" * 10**5,
        '{"format_version": 3, "format_version": 3}',
        '{"format_version": ' + "9" * 5000 + "}",
        " " * MAX_METADATA_BYTES + "{}",
    ],
)
def test_a_damaged_description_is_refused(text: str) -> None:
    assert refusal({METADATA_KEY: text}).startswith("some/model.onnx: the model's description is damaged")


@pytest.mark.parametrize(
    "field", sorted(json.loads(DESCRIPTION.to_metadata()[METADATA_KEY]).keys() - {"format_version"})
)
def test_a_missing_field_is_refused_and_named(field: str) -> None:
    message = refusal(metadata(lambda document: document.pop(field)))
    assert message == f"some/model.onnx: the model's description is invalid: {field}: is required"


@pytest.mark.parametrize(
    ("part", "field"),
    [("training", "seed"), ("checks", "loss"), ("test_vector", "logprobs"), ("alphabet", "symbols")],
)
def test_a_missing_field_of_a_part_is_refused_and_named(part: str, field: str) -> None:
    message = refusal(metadata(lambda document: document[part].pop(field)))
    assert message == f"some/model.onnx: the model's description is invalid: {part}.{field}: is required"


def test_files_from_before_the_corpus_was_described_are_read() -> None:
    def without(document: dict[str, Any]) -> None:
        del document["training"]["corpus_sha256"], document["training"]["rules"]

    training = ModelDescription.from_metadata(metadata(without), PATH).training
    assert (training.corpus_sha256, training.rules) == ("", {})


def test_the_replay_sample_keeps_its_name_on_disk() -> None:
    document = json.loads(DESCRIPTION.to_metadata()[METADATA_KEY])
    assert "replay_sample" not in document
    assert document["test_vector"] == {
        "text": "aé",
        "seed": 2**64 - 1,
        "ids": [1, 0, 7],
        "logprobs": [-0.1, -2.5, -1e-9, -30.25, -0.7],
    }


def test_a_model_file_keeps_its_description_byte_for_byte() -> None:
    text = {entry.key: entry.value for entry in onnx.load(PACKAGED).metadata_props}[METADATA_KEY]
    assert ModelDescription.from_metadata({METADATA_KEY: text}, PACKAGED).to_metadata()[METADATA_KEY] == text


def test_a_file_of_an_earlier_version_keeps_all_of_its_description() -> None:
    text = {entry.key: entry.value for entry in onnx.load(COMPATIBILITY).metadata_props}[METADATA_KEY]
    read = ModelDescription.from_metadata({METADATA_KEY: text}, COMPATIBILITY, version=UNSEALED_VERSION)
    again = json.loads(read.to_metadata()[METADATA_KEY])
    assert {**again, "format_version": UNSEALED_VERSION} == json.loads(text)


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda document: document.update(layers=0), "layers"),
        (lambda document: document.update(hidden_size="48"), "hidden_size"),
        (lambda document: document.update(embedding_size=1.5), "embedding_size"),
        (lambda document: document.update(parameters=-1), "parameters"),
        (lambda document: document.update(parameters=2**63), "parameters"),
        (lambda document: document.update(cell="qrnn"), "'rnn', 'gru' or 'lstm'"),
        (lambda document: document.update(precision="fp64"), "precision"),
        (lambda document: document.update(surprise=1), "surprise"),
        (lambda document: document["training"].update(validation_loss=None), "training.validation_loss"),
        (lambda document: document["training"].update(seed="7"), "training.seed"),
        (lambda document: document["training"].update(surprise=1), "training.surprise"),
        (lambda document: document["training"].update(rules=[]), "training.rules"),
        (lambda document: document["checks"].update(loss="1.5"), "checks.loss"),
        (lambda document: document["checks"].update(characters=True), "checks.characters"),
        (lambda document: document["alphabet"].update(kind="words"), "alphabet.kind: 'words'"),
        (lambda document: document["alphabet"].update(symbols=["b", "a"]), "order"),
        (lambda document: document["alphabet"].update(symbols=["ab"]), "'ab'"),
        (lambda document: document["alphabet"].update(symbols=[7]), "7"),
        (lambda document: document["alphabet"].update(symbols=["\ud800"]), "'\\ud800' is not one code point of text"),
        (lambda document: document["alphabet"].update(surprise=1), "alphabet.surprise"),
        (lambda document: document["test_vector"].update(text=7), "test_vector.text"),
        (lambda document: document["test_vector"].update(text="aß"), "'ß' (U+00DF) at offset 1"),
        (lambda document: document["test_vector"].update(seed=-1), "test_vector.seed"),
        (lambda document: document["test_vector"].update(seed=2**64), "test_vector.seed"),
        (lambda document: document["test_vector"]["logprobs"].__setitem__(0, "x"), "test_vector.logprobs.0"),
        (lambda document: document["test_vector"]["logprobs"].pop(), "4 log-probabilities for 5 ids"),
        (lambda document: document.update(test_vector=[]), "test_vector"),
        (lambda document: document.update(layers=2**31), "layers"),
        (lambda document: document.update(hidden_size=2**63), "hidden_size"),
        (lambda document: document.update(layers=2**20, hidden_size=2**20), "the state of a stream takes"),
        (lambda document: document.update({"\n\x1b[31m" * 200: 1}), "\\n\\x1b[31m"),
        (lambda document: document.update(layers=10**4000), "layers: 1000"),
        (lambda document: document["training"].update(seed=-1), "training.seed"),
        (lambda document: document["training"].update(seed=2**64), "training.seed"),
        (lambda document: document["training"].update(steps=2**63), "training.steps"),
        (lambda document: document["training"].update(seconds=float("nan")), "training.seconds"),
        (lambda document: document["training"].update(seconds=10**400), "training.seconds"),
        (lambda document: document["training"].update(validation_loss=float("nan")), "training.validation_loss"),
        (lambda document: document["training"].update(command="\ud800"), "training.command"),
        (lambda document: document["training"].update(corpus="a\udcff"), "character 1 of the text is half of a surr"),
        (lambda document: document["training"].update(rules={"a": [1]}), "training.rules"),
        (lambda document: document["training"].update(rules={"a": float("inf")}), "training.rules"),
        (lambda document: document["training"].update(rules={"a": "\ud800"}), "training.rules"),
        (lambda document: document["training"].update(rules={"\ud800": 1}), "training.rules"),
        (lambda document: document["training"].update(rules={"a": nested(900)}), "training.rules"),
        (lambda document: document.update(layers=nested(900)), "layers"),
        (lambda document: document["checks"].update(loss=float("inf")), "checks.loss"),
        (lambda document: document["checks"].update(loss_increase=float("nan")), "checks.loss_increase"),
        (lambda document: document["alphabet"].update(symbols=[]), "at least one symbol"),
        (lambda document: document["alphabet"].update(symbols=["a", "a"]), "distinct"),
        (lambda document: document["alphabet"].update(symbols=["", "a"]), "''"),
        (lambda document: document["alphabet"].update(symbols=["a", "\u212b"]), "(U+212B) never occurs"),
        (lambda document: document["alphabet"].update(symbols=["a", "é"], kind="jamo"), "(U+00E9) never occurs"),
        (lambda document: document["alphabet"].update(symbols=["b", "a"], kind="bytes"), "order"),
        (lambda document: document["alphabet"].update(symbols=["a"], kind="bytes"), "256 values"),
        (lambda document: document["test_vector"].update(text=""), "test_vector.text"),
        (lambda document: document["test_vector"].update(text="a" * (MAX_REPLAYED + 1)), "test_vector.text"),
        (lambda document: document["test_vector"].update(ids=[]), "test_vector.ids"),
        (lambda document: document["test_vector"].update(ids=[1] * (MAX_REPLAYED + 1)), "test_vector.ids"),
        (lambda document: document["test_vector"].update(ids=[1, 0, 8]), "has an id 8; the last one is 7"),
        (lambda document: document["test_vector"].update(ids=[1, -1, 7]), "test_vector.ids.1"),
        (lambda document: document["test_vector"].update(ids=[1, 2**63, 7]), "test_vector.ids.1"),
        (lambda document: document["test_vector"]["logprobs"].__setitem__(4, float("nan")), "test_vector.logprobs.4"),
        (lambda document: document["test_vector"]["logprobs"].__setitem__(4, float("-inf")), "test_vector.logprobs.4"),
    ],
)
def test_an_invalid_field_is_refused_and_named(edit: Callable[[dict[str, Any]], object], named: str) -> None:
    message = refusal(metadata(edit))
    assert message.startswith("some/model.onnx: the model's description is invalid: ")
    assert named in message
    assert message.isprintable()
    assert len(message) < 300
