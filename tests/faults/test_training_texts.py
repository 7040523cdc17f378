"""Texts as they come: other line ends, marks, encodings and sizes than a training expects."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import pytest

from nextchar_training.data.dataset import Dataset, prepare
from nextchar_training.data.rules import UNSTATED, Rules
from nextchar_training.data.sources import find_corpus
from nextchar_training.data.summary import summarized
from nextchar_training.export.exporter import MIN_CHARACTERS
from nextchar_training.run.advice import CHECKED_CHARACTERS
from nextchar_training.run.checkpoint import load_checkpoint
from nextchar_training.run.models import load_model, origin_of
from tests.support.trainings import SMALL, TEXT, brief, error_of, fit, main


def dataset_of(folder: Path, *contents: str, rules: Rules | None = None) -> Dataset:
    paths = []
    for number, content in enumerate(contents):
        paths.append(folder / f"{number}.txt")
        paths[-1].write_bytes(content.encode())
    return prepare(find_corpus(list(map(str, paths))), rules or Rules(), folder / "cache")


def text_of(dataset: Dataset) -> str:
    """The whole text of a dataset that is one document."""
    (document,) = dataset.documents(dataset.ids, dataset.alphabet)
    return document.text


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_every_line_end_becomes_a_newline(tmp_path: Path, end: str) -> None:
    dataset = dataset_of(tmp_path, TEXT.replace("\n", end))
    assert text_of(dataset) == TEXT
    said = dict(summarized(dataset)).get("line ends", "")
    assert said.startswith("200 line ends written as CR LF or CR") == (end != "\n")


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_lines_are_documents_whatever_ends_them(tmp_path: Path, end: str) -> None:
    assert dataset_of(tmp_path, TEXT.replace("\n", end), rules=Rules(documents="line")).facts.documents == 200


def test_files_that_end_with_other_line_ends_are_parted_by_one_newline(tmp_path: Path) -> None:
    assert text_of(dataset_of(tmp_path, "a\r", "b\r\n", "c", "\ufeffd\n")) == "a\nb\nc\nd\n"


def test_a_mark_at_the_beginning_of_each_file_is_left_out_and_said(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, "\ufeffab\ufeff\n", "cd\n", "\ufeffef\n")
    assert text_of(dataset) == "ab\ufeff\ncd\nef\n"
    assert dict(summarized(dataset))["byte order mark"].startswith("left out at the start of 2 files")


def test_a_file_of_a_mark_alone_is_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mark.txt").write_bytes(b"\xef\xbb\xbf")
    assert "mark.txt: empty" in error_of(fit(tmp_path / "mark.txt", out=tmp_path / "run"), capsys)


def test_verbatim_keeps_line_ends_and_marks_as_characters(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, "\ufeffa\r\nb\rc\n", rules=Rules(verbatim=True))
    assert text_of(dataset) == "\ufeffa\r\nb\rc\n"


def test_the_text_of_a_dataset_has_one_hash_however_it_is_read(tmp_path: Path) -> None:
    plain, verbatim = (
        dataset_of(tmp_path, "\ufeffa\r\nb\rc\n", rules=Rules(verbatim=verbatim)) for verbatim in (False, True)
    )
    assert plain.facts.sha256 == verbatim.facts.sha256 == plain.corpus.sha256()


@pytest.mark.parametrize("verbatim", [False, True])
def test_checkpoints_and_model_files_state_how_their_text_was_read(tmp_path: Path, verbatim: bool) -> None:
    (tmp_path / "text.txt").write_bytes(TEXT.replace("\n", "\r\n").encode() * 2)
    options = [*SMALL, *(["--verbatim"] if verbatim else [])]
    assert brief(fit(tmp_path / "text.txt", out=tmp_path / "run", options=options)) == 0
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "m.onnx")]) == 0
    for path in (tmp_path / "run" / "best.pt", tmp_path / "m.onnx"):
        origin = origin_of(load_model(path), path)
        assert origin.rules == Rules(verbatim=verbatim)
        assert origin.alphabet.knows("\r") == verbatim
        assert main(["evaluate", str(path), str(tmp_path / "text.txt"), "--characters=300"]) == 0


def test_files_that_state_no_rule_for_it_were_read_verbatim() -> None:
    before = Path(__file__).parents[1] / "compatibility"
    for name in ("best.pt", "model.onnx"):
        assert origin_of(load_model(before / name), before / name).rules.verbatim
    assert UNSTATED.verbatim


WIDE = ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]


@pytest.mark.parametrize("encoding", WIDE)
@pytest.mark.parametrize("words", ["a line of text", "строка текста", "한 줄의 글"])
def test_a_wide_encoding_without_a_mark_is_named_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], encoding: str, words: str
) -> None:
    (tmp_path / "wide.txt").write_bytes(f"{words}\n".encode(encoding) * 200)
    name = encoding.upper().replace("-LE", "LE").replace("-BE", "BE")
    message = error_of(fit(tmp_path / "wide.txt", out=tmp_path / "run"), capsys)
    assert "wide.txt: not UTF-8: " in message
    assert f"it looks like {name}: convert it with iconv -f {name} -t UTF-8" in message


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (TEXT.encode("utf-16"), "UTF-16LE"),
        (TEXT.encode("utf-32"), "UTF-32LE"),
        ("café\n".encode("latin-1") * 300, "CP1252"),
        ("한글\n".encode("euc-kr") * 300, "EUC-KR"),
        (gzip.compress(TEXT.encode()), "gzip: unpack it, or give its name the ending .gz"),
        (bz2.compress(TEXT.encode()), "bzip2"),
        (bytes(range(256)) * 20, "binary data"),
        (bytes(range(128)) * 20, "binary data"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_is_no_text_in_utf8_is_named_with_its_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, kind: str
) -> None:
    (tmp_path / "other.txt").write_bytes(content)
    message = error_of(fit(tmp_path / "other.txt", out=tmp_path / "run"), capsys)
    assert "other.txt: not UTF-8" in message
    assert kind in message


def test_a_few_control_characters_are_text(tmp_path: Path) -> None:
    text = f"{TEXT}\x00\x1b[1m\x0c\n"
    assert text_of(dataset_of(tmp_path, text)) == text


def test_a_text_too_short_to_export_is_said_before_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "short.txt").write_text(TEXT[:2300])
    assert main(fit(tmp_path / "short.txt", out=tmp_path / "run")) == 0
    output = capsys.readouterr().out
    assert "the held-out text has 230 characters, and export checks a model file on at least 256" in output
    assert output.index("export --text") < output.index("validation 3")
    message = error_of(["export", str(tmp_path / "run"), "--out", str(tmp_path / "m.onnx")], capsys)
    assert "--text" in message
    (tmp_path / "more.txt").write_text(TEXT)
    assert (
        main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "m.onnx"), f"--text={tmp_path}/more.txt"]) == 0
    )


def test_the_advice_counts_as_export_does() -> None:
    assert CHECKED_CHARACTERS == MIN_CHARACTERS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "text.txt").write_text(TEXT * 2)
    assert brief(fit(folder / "text.txt", out=folder / "run")) == 0
    return folder / "run"


@pytest.mark.parametrize(
    "arguments",
    [["evaluate", "{run}", "{text}"], ["export", "{run}", "--out={out}/m.onnx", "--text={text}"],
     ["gates", "{run}", "{text}", "--out={out}"]],
)  # fmt: skip
def test_characters_that_a_model_cannot_spell_are_named_with_the_option_that_leaves_them_out(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("The line é is a text.\n" * 30)
    arguments = [argument.format(run=run, text=text, out=tmp_path) for argument in arguments]
    message = error_of(arguments, capsys)
    assert "text.txt" in message
    assert "'é' (U+00E9) at offset 9 is not in the model's alphabet; --unknown-characters skip leaves" in message
    assert main([*arguments, "--unknown=skip"]) == 0


@pytest.mark.parametrize("option", ["--unknown=replace", "--unknown-characters=replace"])
def test_characters_can_be_replaced_in_an_evaluation(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    (tmp_path / "text.txt").write_text("The line é is a text.\n" * 30)
    assert main(["evaluate", str(run), str(tmp_path / "text.txt"), option, "--replacement=e"]) == 0
    assert "are replaced by 'e'" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["\n" * 5000, " \t" * 3000, " \n" * 3000, "a" * 6000, "\u3000\n" * 3000])
def test_a_text_of_blanks_alone_is_a_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "blank.txt").write_text(text, encoding="utf-8")
    assert brief(fit(tmp_path / "blank.txt", out=tmp_path / "run")) == 0
    assert load_checkpoint(tmp_path / "run" / "best.pt").record.characters == len(text)


@pytest.mark.parametrize("text", ["\n" * 5000, "\r\n" * 5000, "\r" * 5000])
def test_empty_lines_are_no_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (tmp_path / "blank.txt").write_bytes(text.encode())
    message = error_of([*fit(tmp_path / "blank.txt", out=tmp_path / "run"), "--documents=line"], capsys)
    assert "blank.txt: empty" in message
