"""Damaged model files: one bit is enough for a file to be refused, wherever it lies, before anything reads it."""

import random
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnxruntime
import pytest

from nextchar_model.description import FORMAT_VERSION, METADATA_KEY, UNSEALED_VERSION, ModelFileError
from nextchar_model.file import read_model_file
from nextchar_model.runner import Runner
from nextchar_model.seal import SEAL_KEY, BrokenSealError, digests, sealed
from nextchar_server.settings.config import PACKAGED_MODEL
from tests.support.model_files import refusal
from tests.support.tiny_model import TinyModel

KIB = 1024
SEAL_BYTES = len(sealed(b""))


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def one_of_each_byte(places: range) -> list[int]:
    choose = random.Random(12)
    return [8 * place + choose.randrange(8) for place in places]


def served(contents: Iterator[bytes], path: Path) -> list[str]:
    """Returns how the files of ``contents`` are read that aren't refused as damaged."""
    others = []
    for content in contents:
        path.write_bytes(content)
        try:
            read_model_file(path)
        except ModelFileError as error:
            if not str(error).startswith(f"{path}: ") or "damaged" not in str(error) or not str(error).isprintable():
                others.append(str(error))
        else:
            others.append("served")
    return others


@pytest.mark.no_cover
def test_no_single_flipped_bit_of_the_packaged_model_is_served(tmp_path: Path) -> None:
    content = PACKAGED_MODEL.read_bytes()
    bits = random.Random(12).sample(range(8 * len(content)), 300)
    assert served((flipped(content, bit) for bit in bits), tmp_path / "model.onnx") == []


@pytest.mark.parametrize("start", [0, -KIB], ids=["first KiB", "last KiB"])
@pytest.mark.no_cover
def test_no_flipped_bit_of_the_ends_of_a_file_is_served(start: int, tiny: TinyModel, tmp_path: Path) -> None:
    content = tiny.int8.read_bytes()
    bits = one_of_each_byte(range(start % len(content), start % len(content) + KIB))
    assert served((flipped(content, bit) for bit in bits), tmp_path / "model.onnx") == []


@pytest.mark.no_cover
def test_no_flipped_bit_of_the_description_is_served(tiny: TinyModel, tmp_path: Path) -> None:
    content = tiny.int8.read_bytes()
    first = content.index(METADATA_KEY.encode(), len(content) // 2)
    bits = one_of_each_byte(range(first, len(content)))
    assert served((flipped(content, bit) for bit in bits), tmp_path / "model.onnx") == []


def test_two_flipped_bits_that_hide_the_seal_and_the_version_are_not_served(tiny: TinyModel, tmp_path: Path) -> None:
    content = tiny.int8.read_bytes()
    before = content.replace(
        f'"format_version":{FORMAT_VERSION}'.encode(), f'"format_version":{UNSEALED_VERSION}'.encode()
    )
    assert before != content
    first = 8 * (len(content) - SEAL_BYTES)
    bits = range(first, first + 8 * (SEAL_BYTES - 64))
    assert served((flipped(before, bit) for bit in bits), tmp_path / "model.onnx") == []


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_file_that_is_cut_off_is_refused_wherever_it_ends(tiny: TinyModel, precision: str, tmp_path: Path) -> None:
    content = getattr(tiny, precision).read_bytes()
    lengths = [1, 7, 64, *range(999, len(content), 9973), *range(len(content) - 2 * SEAL_BYTES, len(content))]
    path = tmp_path / "model.onnx"
    assert served((content[:length] for length in lengths), path) == []
    path.write_bytes(content[: len(content) // 2])
    assert refusal(path).startswith("not a readable ONNX file, damaged, cut off or of another kind: field 7 is cut off")


def test_a_file_that_is_cut_off_between_its_fields_is_refused(tiny: TinyModel, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny.int8.read_bytes()[:-SEAL_BYTES])
    assert refusal(path) == "damaged or cut off: files of format 3 and later, and no others, end with a digest"
    model = onnx.load(tiny.int8)
    del model.metadata_props[:]
    onnx.save(model, path)
    assert refusal(path) == "damaged or cut off: the model's description is missing"


ADDED = {
    "a byte": b"\0",
    "a newline": b"\n",
    "4 KiB of zeros": bytes(4096),
    "a comment of the format": b"\x32\x05hello",
    "an entry of the metadata": b"\x72\x08\x0a\x01a\x12\x03bcd",
    "a seal": sealed(b""),
}


@pytest.mark.parametrize("added", ADDED.values(), ids=ADDED)
@pytest.mark.parametrize("path", [PACKAGED_MODEL, Path(__file__).parents[1] / "compatibility" / "model.onnx"])
def test_a_file_with_something_behind_it_is_refused(path: Path, added: bytes, tmp_path: Path) -> None:
    assert served(iter([path.read_bytes() + added]), tmp_path / "model.onnx") == []


def test_two_files_in_one_are_refused(tiny: TinyModel, tmp_path: Path) -> None:
    unsealed = (Path(__file__).parents[1] / "compatibility" / "model.onnx").read_bytes()
    parts = [tiny.int8.read_bytes(), tiny.fp32.read_bytes(), unsealed]
    pairs = (first + second for first in parts for second in parts)
    assert served(pairs, tmp_path / "model.onnx") == []


def test_parts_that_changed_places_are_refused(tiny: TinyModel, tmp_path: Path) -> None:
    content = tiny.int8.read_bytes()
    swapped = content[:8192] + content[12288:16384] + content[8192:12288] + content[16384:]
    zeroed = content[:8192] + bytes(4096) + content[12288:]
    assert served(iter([swapped, zeroed]), tmp_path / "model.onnx") == []


def test_a_damaged_file_is_refused_before_onnxruntime_sees_it(
    tiny: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(flipped(tiny.int8.read_bytes(), 80_000))
    monkeypatch.setattr(onnxruntime, "InferenceSession", None)
    assert refusal(path) == (
        "damaged: its content doesn't match the digest at its end; copy it again, or export it again"
    )


def test_a_seal_is_the_digest_of_every_byte_before_it() -> None:
    content = sealed(b"the model")
    assert digests(content)[1]
    for bit in range(8 * len(content)):
        try:
            assert not digests(flipped(content, bit))[1]  # a flip in the mark of the seal hides it
        except BrokenSealError:
            continue
        assert len(b"the model") * 8 <= bit < (len(content) - 64) * 8


@pytest.mark.parametrize("content", [b"", b"\x08", sealed(b"")[:-1], b"\0" * 64])
def test_short_content_has_no_seal(content: bytes) -> None:
    assert not digests(content)[1]


def test_the_seal_is_the_last_entry_of_the_metadata_as_every_reader_of_onnx_sees_it(tiny: TinyModel) -> None:
    entries = onnx.load(tiny.int8).metadata_props
    assert [entry.key for entry in entries] == [METADATA_KEY, SEAL_KEY]
    assert tiny.int8.read_bytes().endswith(entries[1].value.encode())
    assert Runner(tiny.int8).is_sealed
