"""The writer of lines: it neither waits nor raises, whatever becomes of its descriptor, and tells of dropped lines."""

import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nextchar_server.logs.lines import DROPPED, MAX_LINE, QUEUE, LineWriter, rendered

ENOUGH = 60.0  # seconds for a thread to do its work


class Pipe:
    """A pipe of the smallest size, with a writer."""

    def __init__(self) -> None:
        self.reader, self.end = os.pipe()
        fcntl.fcntl(self.end, fcntl.F_SETPIPE_SZ, 4096)
        self.writer = LineWriter(self.end)

    def read_events(self, count: int) -> list[dict[str, Any]]:
        with os.fdopen(os.dup(self.reader), encoding="utf-8") as file:
            return [json.loads(file.readline()) for _ in range(count)]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    # A reader that left ends a write that waits.
    os.close(pipe.reader)
    assert pipe.writer.close(ENOUGH)
    os.close(pipe.end)


def overfill(writer: LineWriter) -> int:
    """Puts more events than the pipe and the queue hold, and returns how many."""
    count = 2 * QUEUE + 100
    for number in range(count):
        writer.put({"event": "e", "number": number, "padding": "x" * 200})
    return count


def test_lines_come_in_the_order_in_which_they_were_put(pipe: Pipe) -> None:
    for number in range(100):
        pipe.writer.put({"event": "e", "number": number})
    assert [event["number"] for event in pipe.read_events(100)] == list(range(100))


def test_a_full_pipe_that_nobody_reads_holds_up_nobody(pipe: Pipe) -> None:
    overfill(pipe.writer)
    assert pipe.writer.dropped > 0
    assert pipe.writer._queue.qsize() <= QUEUE


def test_every_line_arrives_or_is_counted_in_a_line_that_arrives(pipe: Pipe) -> None:
    put = overfill(pipe.writer)
    told = arrived = 0
    with os.fdopen(os.dup(pipe.reader), encoding="utf-8") as file:
        pipe.writer.put({"event": "last"})
        while told + arrived < put + 1:
            event = json.loads(file.readline())
            if event["event"] == DROPPED:
                told += event["lines"]
            else:
                arrived += 1
    assert told == pipe.writer.dropped > 0


def test_closing_waits_no_longer_than_it_was_told(pipe: Pipe) -> None:
    overfill(pipe.writer)
    assert not pipe.writer.close(0.01)


def test_what_waits_is_written_before_the_end(pipe: Pipe) -> None:
    pipe.writer.put({"event": "one"})
    pipe.writer.put({"event": "two"})
    assert pipe.writer.close(ENOUGH)
    assert [event["event"] for event in pipe.read_events(2)] == ["one", "two"]


def test_closing_twice_is_closing_once(pipe: Pipe) -> None:
    assert pipe.writer.close(ENOUGH)
    assert pipe.writer.close(ENOUGH)


def test_a_line_after_the_end_is_dropped(pipe: Pipe) -> None:
    pipe.writer.close(ENOUGH)
    pipe.writer.put({"event": "late"})
    assert pipe.writer.dropped == 1


def test_a_descriptor_that_does_not_wait_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.end, False)
    for number in range(QUEUE // 2):
        pipe.writer.put({"event": "e", "number": number})
    assert [event["number"] for event in pipe.read_events(QUEUE // 2)] == list(range(QUEUE // 2))
    assert pipe.writer.dropped == 0


def test_a_reader_that_left_costs_the_lines_only() -> None:
    reader, end = os.pipe()
    writer = LineWriter(end)
    os.close(reader)
    for _ in range(10):
        writer.put({"event": "e"})
    assert writer.close(ENOUGH)
    assert writer.dropped == 10
    os.close(end)


@pytest.mark.parametrize("number", [-1, 10**6])
def test_a_descriptor_that_is_not_open_costs_the_lines_only(number: int) -> None:
    writer = LineWriter(number)
    writer.put({"event": "e"})
    assert writer.close(ENOUGH)
    assert writer.dropped == 1


def test_a_full_disk_costs_the_lines_only() -> None:
    end = os.open("/dev/full", os.O_WRONLY)
    writer = LineWriter(end)
    for _ in range(10):
        writer.put({"event": "e"})
    assert writer.close(ENOUGH)
    assert writer.dropped == 10
    os.close(end)


def test_a_line_that_was_cut_by_a_full_disk_is_ended_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, room = os.write, [30]

    def full_after(descriptor: int, data: bytes) -> int:
        if not room[0]:
            room[0] = -1  # somebody makes room
            raise OSError(28, "No space left on device")
        count = write(descriptor, data[: room[0]] if room[0] > 0 else data)
        room[0] -= count if room[0] > 0 else 0
        return count

    monkeypatch.setattr(os, "write", full_after)
    path = tmp_path / "log"
    end = os.open(path, os.O_WRONLY | os.O_CREAT)
    writer = LineWriter(end)
    writer._write([rendered({"event": "short"}), rendered({"event": "cut off by the disk"}), rendered({"event": "no"})])
    writer._write([rendered({"event": "after"})])
    writer.close(ENOUGH)
    whole, torn, notice, after = path.read_text().splitlines()
    assert json.loads(whole) == {"event": "short"}
    assert torn in rendered({"event": "cut off by the disk"}).decode()
    assert (json.loads(notice)["event"], json.loads(notice)["lines"]) == (DROPPED, 2)
    assert json.loads(after) == {"event": "after"}
    os.close(end)


def test_an_event_that_cannot_be_rendered_is_counted_and_the_next_is_written(pipe: Pipe) -> None:
    pipe.writer.put({"event": object()})
    pipe.writer.put({"event": "next"})
    notice, following = pipe.read_events(2)
    assert (notice["event"], notice["lines"]) == (DROPPED, 1)
    assert following["event"] == "next"


def test_many_threads_lose_no_line(pipe: Pipe) -> None:
    def put() -> None:
        for _ in range(100):
            pipe.writer.put({"event": "e"})

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert len(pipe.read_events(800)) == 800
    for thread in threads:
        thread.join()


# The form of a line.


@pytest.mark.parametrize("character", ["x", "한", "\x00", "\u2028", "\U0001f600"])
def test_a_line_is_bounded_and_stays_json_whatever_its_texts_hold(character: str) -> None:
    event = {"event": "e", "one": character * 100_000, "two": character * 50_000}
    line = rendered(event)
    assert len(line) <= MAX_LINE
    assert json.loads(line)["event"] == "e"


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2J", "\x9b2J", "\x7f", "\u2028", "\u202egnp.exe", "\x85", '"', "\\"])
def test_a_text_from_outside_is_one_line_without_characters_that_a_terminal_obeys(text: str) -> None:
    line = rendered({"event": "e", "text": text}).decode()
    assert line.removesuffix("\n").isprintable()
    assert json.loads(line)["text"] == text


def test_bytes_that_are_not_utf_8_are_escaped() -> None:
    line = rendered({"event": "e", "path": os.fsdecode(b"m\xff.onnx")})
    assert os.fsencode(json.loads(line)["path"]) == b"m\xff.onnx"


def test_hangul_is_written_as_it_is() -> None:
    assert '"한글"' in rendered({"event": "e", "model": "한글"}).decode()


def test_the_time_is_in_utc_to_the_microsecond() -> None:
    assert json.loads(rendered({"timestamp": 0.25}))["timestamp"] == "1970-01-01T00:00:00.250000Z"


WRITER = """
import sys
from nextchar_server.logs.lines import LineWriter

number, lock = map(int, sys.argv[1:])
writer = LineWriter(1, lock=lock)
for _ in range(50):
    writer.put({"event": "e", "number": number, "padding": "x" * 9000})
    writer.put({"event": "e", "number": number})
assert writer.close(60)
"""


def test_long_lines_of_processes_that_share_a_lock_stay_whole() -> None:
    lock = os.memfd_create("lock")
    reader, end = os.pipe()
    commands = [[sys.executable, "-c", WRITER, str(number), str(lock)] for number in range(2)]
    writers = [subprocess.Popen(command, stdout=end, pass_fds=[lock]) for command in commands]
    os.close(end)
    with os.fdopen(reader, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    assert [writer.wait(ENOUGH) for writer in writers] == [0, 0]
    assert [sum(line["number"] == number for line in lines) for number in range(2)] == [100, 100]
    os.close(lock)
