"""The output of a batch: how it is written, and how it is continued whatever was killed when."""

import json
from pathlib import Path
from typing import Any

import pytest

from nextchar_client.batch.layout import Layout
from nextchar_client.batch.record import Record
from nextchar_client.batch.sink import FileSink, state_path
from nextchar_client.batch.state import State, StateError

MADE_FROM = {"seed": 7, "model_digest": "abc"}
RECORDS = [Record(number, f"text\n{number},\u2028é", (f"text\n{number}", "\u2028é"), "") for number in range(6)]


def layout(form: Any = "jsonl", columns: tuple[str, ...] = ()) -> Layout:
    return Layout(form, columns, ",")


def opened(path: Path, made_from: dict[str, Any] = MADE_FROM) -> FileSink:
    sink = FileSink(path, layout(), made_from, State.read(state_path(path)))
    sink.begin(with_header=True)
    return sink


def written(sink: FileSink, records: list[Record]) -> None:
    for record in records:
        sink.progress.lines += 1
        sink.progress.number = record.number + 1
        sink.progress.rejects["unique"] += 1
        sink.write([record])


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """An output of which half is there, and kept."""
    path = tmp_path / "out.jsonl"
    sink = opened(path)
    written(sink, RECORDS[:3])
    sink.keep()
    sink.close()
    return path


def test_every_cut_after_the_state_is_continued_to_the_same_bytes(half: Path) -> None:
    whole = layout().encode(RECORDS)
    kept, state = half.stat().st_size, state_path(half).read_bytes()
    for size in range(kept, len(whole) + 1):
        half.write_bytes(whole[:size])
        state_path(half).write_bytes(state)
        sink = opened(half)
        assert (sink.progress.lines, half.stat().st_size) == (3, kept)
        written(sink, RECORDS[sink.progress.number :])
        sink.keep(is_complete=True)
        sink.close()
        assert half.read_bytes() == whole


def test_a_complete_output_says_so(half: Path) -> None:
    sink = opened(half)
    sink.keep(is_complete=True)
    sink.close()
    again = opened(half)
    assert again.is_complete
    again.close()


def test_another_command_is_refused_with_the_difference(half: Path) -> None:
    with pytest.raises(StateError, match='begun with model_digest "abc", not "xyz"; name another output'):
        opened(half, {**MADE_FROM, "model_digest": "xyz"})


def test_an_output_that_was_cut_is_refused(half: Path) -> None:
    half.write_bytes(half.read_bytes()[:-1])
    with pytest.raises(StateError, match="it was changed"):
        opened(half)


def test_a_file_without_a_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "precious.jsonl"
    path.write_text("mine\n")
    with pytest.raises(StateError, match="exists, and no state beside it"):
        opened(path)
    assert path.read_text() == "mine\n"


def test_a_damaged_state_is_refused(half: Path) -> None:
    state_path(half).write_text("{")
    with pytest.raises(StateError, match="is no state of a batch"):
        opened(half)


def test_two_processes_do_not_write_one_file(half: Path) -> None:
    first = opened(half)
    with pytest.raises(StateError, match="another process is writing"):
        opened(half)
    first.close()


@pytest.mark.parametrize("columns", [(), ("one", "two")])
@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_the_texts_of_an_output_are_read_back_exactly(tmp_path: Path, form: str, columns: tuple[str, ...]) -> None:
    path = tmp_path / "out"
    records = [*RECORDS, Record(6, 'q"\r\r\n,\\', ('q"\r\r\n', "\\"), "")]
    path.write_bytes(layout(form, columns).header + layout(form, columns).encode(records))
    with path.open("rb") as file:
        assert list(layout(form, columns).texts(file)) == [record.text for record in records]


def test_records_have_their_number_or_their_columns() -> None:
    record = [Record(5, "Ann,Rome", ("Ann", "Rome"), "")]
    assert json.loads(layout().encode(record)) == {"number": 5, "text": "Ann,Rome"}
    assert json.loads(layout(columns=("name", "city")).encode(record)) == {"name": "Ann", "city": "Rome"}
    assert layout("csv").header + layout("csv").encode(record) == b'number,text\n5,"Ann,Rome"\n'
    assert layout("csv", ("name", "city")).encode(record) == b"Ann,Rome\n"
