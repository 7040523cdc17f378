"""``nextchar batch`` against a real server: the bytes of its output, whatever else happens."""

import asyncio
import csv
import io
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from nextchar_client import AsyncClient, NextcharError
from nextchar_client.batch import Job, records, to_dataframe
from nextchar_client.batch.work import RejectedError
from nextchar_model.draws import sample_seed
from tests.support.serving import Serve
from tests.support.tiny_model import TinyModel

# The state is written after every call in place of every second, so that a kill finds one.
COMMAND = """
import sys
from nextchar_client.batch import sink
from nextchar_client.commands import main
sink._SECONDS = 0
raise SystemExit(main(sys.argv[1:]))
"""


class Batches:
    """Runs the command against one server."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.endpoint, self.folder = endpoint, folder
        self._processes: list[asyncio.subprocess.Process] = []

    async def started(self, *arguments: object) -> asyncio.subprocess.Process:
        words = ("batch", "--endpoint", self.endpoint, "--seed", 7, *arguments)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", COMMAND, *map(str, words), stdout=pipe, stderr=pipe, cwd=self.folder
        )
        self._processes.append(process)
        return process

    def close(self) -> None:
        """Kills the processes that still run, those of a test that failed."""
        for process in self._processes:
            if process.returncode is None:
                process.kill()

    async def run(self, *arguments: object) -> tuple[int, str, str]:
        process = await self.started(*arguments)
        output, errors = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()

    async def output(self, *arguments: object) -> str:
        code, output, errors = await self.run(*arguments)
        assert code == 0, errors
        return output

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return name

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


@pytest.fixture
async def batches(tiny: TinyModel, serve: Serve, tmp_path: Path) -> AsyncIterator[Batches]:
    async with serve(tiny.int8) as serving:
        with closing(Batches(f"127.0.0.1:{serving.grpc_port}", tmp_path)) as batches:
            yield batches


def texts(output: str | bytes) -> list[str]:
    return [json.loads(line)["text"] for line in output.splitlines()]


async def test_line_n_is_the_text_of_sample_n(batches: Batches) -> None:
    found = texts(await batches.output("--count", 150, "--prompt", "the", "--max-characters", 6))
    assert len(found) == 150
    async with AsyncClient(batches.endpoint) as client:
        for number in (0, 1, 63, 64, 149):
            single = await client.generate("the", seed=sample_seed(7, number), max_characters=6)
            assert found[number] == single.text


async def test_concurrency_changes_no_byte(batches: Batches) -> None:
    options = ("--count", 400, "--prefix", "the,night,a", "--max-characters", 5, "--unique", "--format", "csv")
    outputs = [await batches.output(*options, "--concurrency", concurrency) for concurrency in (64, 5000)]
    assert outputs[0].startswith("number,text\n0,the")
    assert outputs[1] == outputs[0]


async def test_a_batch_that_is_killed_twice_has_the_bytes_of_an_undisturbed_one(batches: Batches) -> None:
    options = ("--count", 3000, "--max-characters", 9, "--unique", "--validate", "text[0] != 'a'")
    whole = await batches.output(*options, "--concurrency", 640)
    command = (*options, "--out", "out.jsonl", "--concurrency", 64)
    state = batches.folder / "out.jsonl.state"
    kept = 0
    for _ in range(2):
        process = await batches.started(*command)
        async with asyncio.timeout(120):
            while not state.exists() or (size := json.loads(state.read_bytes())["size"]) <= kept:
                assert process.returncode is None
                await asyncio.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
        kept = size
    code, _, errors = await batches.run(*command)
    assert (code, "of them before" in errors) == (0, True)
    assert batches.read("out.jsonl").decode() == whole
    assert not [path for path in batches.folder.iterdir() if path.name not in ("out.jsonl", "out.jsonl.state")]


async def test_an_interrupted_batch_says_how_to_continue(batches: Batches) -> None:
    process = await batches.started("--count", 10**9, "--max-characters", 5, "--out", "out.jsonl")
    async with asyncio.timeout(120):
        while not (batches.folder / "out.jsonl").exists() or not batches.read("out.jsonl"):
            await asyncio.sleep(0.005)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(60):
        _, errors = await process.communicate()
    assert (process.returncode, errors.decode()) == (
        130,
        "nextchar: interrupted; the same command continues out.jsonl\n",
    )
    state = json.loads(batches.read("out.jsonl.state"))
    assert state["size"] == len(batches.read("out.jsonl"))
    assert state["progress"]["lines"] == len(batches.read("out.jsonl").splitlines())


async def test_another_command_for_the_same_file_is_refused(batches: Batches) -> None:
    assert (await batches.run("--count", 10, "--max-characters", 5, "--out", "out.jsonl"))[0] == 0
    before = batches.read("out.jsonl")
    code, _, errors = await batches.run("--count", 10, "--max-characters", 6, "--out", "out.jsonl")
    assert code == 2
    assert errors == (
        'nextchar: error: the output was begun with options {"max_characters": 5}, not {"max_characters": 6}; '
        "name another output\n"
    )
    code, _, errors = await batches.run("--count", 10, "--max-characters", 5, "--out", "out.jsonl")
    assert (code, errors) == (0, "nextchar: out.jsonl is complete: 10 lines\n")
    assert batches.read("out.jsonl") == before


async def test_shards_in_order_are_the_whole(batches: Batches) -> None:
    options = ("--count", 100, "--max-characters", 4, "--format", "csv")
    whole = await batches.output(*options)
    parts = [await batches.output(*options, "--shard", f"{part}/3") for part in range(3)]
    assert "".join(parts) == whole


async def test_requests_come_in_the_order_of_the_file(batches: Batches) -> None:
    lines = [{"prompt": "the", "seed": seed, "max_characters": 3 + seed} for seed in range(20)]
    name = batches.write("requests.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines))
    found = texts(await batches.output(name, "--temperature", "0.7"))
    async with AsyncClient(batches.endpoint) as client:
        for seed, text in enumerate(found):
            single = await client.generate("the", seed=seed, max_characters=3 + seed, temperature=0.7)
            assert text == single.text


async def test_a_request_that_the_server_refuses_is_named_by_its_line(batches: Batches) -> None:
    name = batches.write("requests.jsonl", '{"prompt": "the"}\n\n{"temperature": 1000}\n')
    code, output, errors = await batches.run(name)
    assert (code, len(output.splitlines())) == (2, 1)
    assert "line 3: parameters.temperature: " in errors
    code, _, errors = await batches.run(batches.write("other.jsonl", '{"temprature": 1}\n'))
    assert code == 2
    assert "REQUESTS: other.jsonl, line 1: unexpected keyword argument 'temprature'" in errors


async def test_columns_are_cells_and_other_texts_are_counted_as_rejected(batches: Batches) -> None:
    code, output, errors = await batches.run(
        *("--count", 30, "--max-characters", 12, "--columns", "one,two", "--delimiter", " ", "--format", "csv")
    )
    assert code == 0
    rows = list(csv.reader(io.StringIO(output)))
    assert rows[0] == ["one", "two"]
    assert {len(row) for row in rows} == {2}
    assert len(rows) == 31
    assert "(fields " in errors


async def test_too_many_rejects_end_the_batch_with_their_reason(batches: Batches) -> None:
    command = ("--count", 100, "--choice", "a", "--choice", "the", "--unique", "--max-rejects", 50)
    code, _, errors = await batches.run(*command, "--out", "out.jsonl")
    assert code == 5
    assert errors == (
        "nextchar: error: 51 texts were rejected, 2 kept; most often by unique (51): change the options, or allow more "
        "with --max-rejects\n"
    )
    before = batches.read("out.jsonl")
    assert sorted(texts(before)) == ["a", "the"]
    assert await batches.run(*command, "--out", "out.jsonl") == (code, "", errors)
    assert batches.read("out.jsonl") == before


@pytest.mark.parametrize(
    "options",
    [
        ("--prompt", "the", "--max-characters", 12, "--stop", "n", "--include-stop-sequence"),
        ("--prefix", "the,night,a", "--top-k", 5, "--temperature", 0.8, "--regex", "[a-z ]{3,8}", "--format", "csv"),
        ("--max-characters", 3, "--unique", "--validate", "text.strip()", "--bias", "e=2"),
    ],
)
async def test_a_model_file_makes_the_bytes_of_a_server(
    batches: Batches, tiny: TinyModel, options: tuple[object, ...]
) -> None:
    served = await batches.output("--count", 130, *options)
    assert await batches.output("--count", 130, *options, "--model-file", tiny.int8) == served


async def test_a_model_file_takes_a_file_of_requests(batches: Batches, tiny: TinyModel) -> None:
    lines = [{"prompt": "the", "seed": seed, "max_characters": 3 + seed, "stop": ["o"]} for seed in range(9)]
    name = batches.write("requests.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines))
    assert await batches.output(name, "--model-file", tiny.int8) == await batches.output(name)


def read_records(endpoint: str) -> None:
    job = Job(count=90, prompt="the", columns=("one", "two"), delimiter=" ")
    found = list(records(job, endpoint=endpoint, seed=7, max_characters=12))
    assert [len(record.fields) for record in found] == [2] * 90
    assert [" ".join(record.fields) for record in found] == [record.text for record in found]
    left = records(Job(count=10**9), endpoint=endpoint, max_characters=12)
    assert next(left).number == 0
    left.close()
    with pytest.raises(RejectedError, match="most often by validate"):
        list(records(Job(count=10, validate="False", max_rejects=3), endpoint=endpoint, max_characters=3))
    with pytest.raises(NextcharError, match="temperature"):
        list(records(Job(count=10), endpoint=endpoint, temperature=1000))


async def test_records_come_from_python_too(batches: Batches) -> None:
    await asyncio.to_thread(read_records, batches.endpoint)


async def test_a_data_frame_has_the_columns(batches: Batches) -> None:
    pytest.importorskip("pandas")
    job = Job(count=20, columns=("one", "two"), delimiter=" ")
    frame = await asyncio.to_thread(to_dataframe, job, endpoint=batches.endpoint, seed=7, max_characters=12)
    assert (list(frame.columns), frame.shape) == (["one", "two"], (20, 2))
