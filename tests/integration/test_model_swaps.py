"""Models that are replaced and removed while the server runs: real files, real streams."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import grpc
import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.description import ModelFileError
from nextchar_model.runner import Runner
from nextchar_server import watching
from nextchar_server.server import Server
from nextchar_server.settings.config import Config
from tests.support.korean_model import make_korean_model
from tests.support.model_folder import Folder, put, served_folder
from tests.support.serving import Serve, failure
from tests.support.tiny_model import TinyModel
from tests.support.waiting import until

ENDLESS = 2**31


@pytest.fixture(scope="module")
def digests(tiny: TinyModel) -> tuple[str, str]:
    """The digests of the tiny model in int8 and in fp32."""
    return Runner(tiny.int8).digest, Runner(tiny.fp32).digest


@pytest.fixture
async def folder(tiny: TinyModel, tmp_path: Path) -> AsyncIterator[Folder]:
    """A folder with the model ``verse`` in int8."""
    async with served_folder(tmp_path / "models", {"verse": tiny.int8}, max_characters=ENDLESS) as folder:
        yield folder


async def test_a_new_file_serves_the_next_call(folder: Folder, tiny: TinyModel, digests: tuple[str, str]) -> None:
    folder.put("verse", tiny.fp32)
    await folder.look()
    assert (await folder.started()).model_digest == digests[1]


async def test_the_server_looks_by_itself(tiny: TinyModel, tmp_path: Path, digests: tuple[str, str]) -> None:
    with patch.object(watching, "INTERVAL", 0.01):
        async with served_folder(tmp_path / "models", {"verse": tiny.int8}) as folder:
            folder.put("verse", tiny.fp32)
            await until(lambda: folder.versions.catalog.get("").digest == digests[1])


async def test_a_file_of_the_option_is_read_again(
    tiny: TinyModel, tmp_path: Path, serve: Serve, digests: tuple[str, str]
) -> None:
    put(tmp_path, "verse", tiny.int8)
    async with serve(tmp_path / "verse.onnx") as serving:
        put(tmp_path, "verse", tiny.fp32)
        await serving.server._versions.refresh()
        answer = await serving.stub.GetModel(pb.GetModelRequest())
        assert answer.model.digest == digests[1]


async def test_a_running_stream_ends_on_its_model(folder: Folder, tiny: TinyModel, digests: tuple[str, str]) -> None:
    request: dict[str, Any] = {"seed": 7, "max_characters": 5_000}
    events = aiter(folder.server.stream("the ", **request))
    started = (await anext(events)).started
    folder.put("verse", tiny.fp32)
    await folder.look()
    text = "".join([event.delta.text async for event in events])
    assert started.model_digest == digests[0]
    assert text == await folder.server.text("the ", model=f"verse@{digests[0]}", **request)


async def test_a_version_that_is_not_kept_is_unloaded_when_its_last_stream_ends(
    tiny: TinyModel, tmp_path: Path, digests: tuple[str, str]
) -> None:
    async with served_folder(
        tmp_path / "models", {"verse": tiny.int8}, max_characters=ENDLESS, keep_versions=0
    ) as folder:
        runner = weakref.ref(folder.server.engine._runner)
        call = folder.server.stream("the ", max_characters=ENDLESS)
        await anext(aiter(call))
        folder.put("verse", tiny.fp32)
        await folder.look()
        assert runner() is not None
        gc.disable()
        try:
            call.cancel()
            await until(lambda: runner() is None)
        finally:
            gc.enable()
        assert [model.digest for model in (await folder.listed()).models] == [digests[1]]


async def test_a_file_that_is_back_before_its_last_stream_ended_is_the_same_version(
    tiny: TinyModel, tmp_path: Path
) -> None:
    async with served_folder(
        tmp_path / "models", {"verse": tiny.int8}, max_characters=ENDLESS, keep_versions=0
    ) as folder:
        engine = folder.server.engine
        call = folder.server.stream("the ", max_characters=ENDLESS)
        await anext(aiter(call))
        for source in (tiny.fp32, tiny.int8):
            folder.put("verse", source)
            await folder.look()
        assert folder.versions.catalog.get("").engine is engine
        call.cancel()


BAD: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "half-written": lambda content: content[: len(content) // 2],
    "damaged": lambda content: content[:1000] + bytes([content[1000] ^ 1]) + content[1001:],
    "foreign": lambda content: b"a text\n",
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_file_changes_nothing_and_says_why(folder: Folder, digests: tuple[str, str], kind: str) -> None:
    content = (folder.path / "verse.onnx").read_bytes()
    folder.write("verse", BAD[kind](content))
    await folder.look()
    assert (await folder.started()).model_digest == digests[0]
    (told,) = (await folder.listed()).load_failures
    reason = "damaged" if kind == "damaged" else "invalid"
    assert (told.name, told.reason) == ("verse", reason)
    assert told.message.startswith("verse.onnx")
    assert folder.sample("nextchar_model_load_failures_total", reason=reason) == 1
    await folder.look()  # at the same file again
    assert folder.sample("nextchar_model_load_failures_total", reason=reason) == 1


async def test_a_file_that_was_mended_is_no_longer_told(folder: Folder, tiny: TinyModel) -> None:
    folder.write("verse", b"")
    await folder.look()
    folder.put("verse", tiny.int8)
    await folder.look()
    assert not (await folder.listed()).load_failures


async def test_a_file_of_the_option_that_vanishes_changes_nothing(
    tiny: TinyModel, tmp_path: Path, serve: Serve, digests: tuple[str, str]
) -> None:
    put(tmp_path, "verse", tiny.int8)
    async with serve(tmp_path / "verse.onnx") as serving:
        (tmp_path / "verse.onnx").unlink()
        await serving.server._versions.refresh()
        listed = await serving.stub.ListModels(pb.ListModelsRequest())
        assert [model.digest for model in listed.models] == [digests[0]]
        assert [told.reason for told in listed.load_failures] == ["unreadable"]


async def test_a_file_that_was_removed_is_no_model_any_more(folder: Folder, tiny: TinyModel) -> None:
    folder.put("another", tiny.fp32)
    await folder.look()
    assert [(model.name, model.is_default) for model in (await folder.listed()).models] == [
        ("another", True),
        ("verse", False),
    ]
    folder.remove("another")
    await folder.look()
    error = await failure(folder.server.stream(model="another"))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert [(model.name, model.is_default) for model in (await folder.listed()).models] == [("verse", True)]


async def test_the_last_model_is_kept_when_its_file_is_removed(folder: Folder, digests: tuple[str, str]) -> None:
    folder.remove("verse")
    await folder.look()
    assert (await folder.started()).model_digest == digests[0]


async def test_a_folder_that_vanishes_changes_nothing(folder: Folder, digests: tuple[str, str]) -> None:
    folder.path.rename(folder.path.with_name("elsewhere"))
    await folder.look()
    assert (await folder.started()).model_digest == digests[0]


async def test_a_bad_file_of_the_folder_keeps_no_server_from_starting(tiny: TinyModel, tmp_path: Path) -> None:
    bad = tmp_path / "bad.bin"
    bad.write_bytes(b"")
    async with served_folder(tmp_path / "models", {"bad": bad, "verse": tiny.int8}) as folder:
        listed = await folder.listed()
        assert [model.name for model in listed.models] == ["verse"]
        assert [told.name for told in listed.load_failures] == ["bad"]


async def test_a_folder_without_a_model_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"has no NAME\.onnx that can be served"):
        await Server(Config(models_dir=tmp_path, grpc_port=0, http_port=0)).start()


async def test_a_model_of_another_alphabet_takes_requests_that_only_it_can_serve(
    folder: Folder, tmp_path: Path
) -> None:
    folder.put("korean", make_korean_model("characters", tmp_path))
    await folder.look()
    bias = dict.fromkeys(folder.versions.catalog.get("korean").alphabet.symbols, 1.0)
    assert len(bias) > len(folder.versions.catalog.get("verse").alphabet.symbols)
    # The fields of a request of this size are counted.
    await folder.started("korean", "값" * 10_000, character_bias=bias, max_characters=1)
    assert folder.versions.most_fields > 3 * len(bias)


async def test_a_file_whose_requests_would_not_come_in_is_refused(folder: Folder, tiny: TinyModel) -> None:
    folder.versions.most_bytes = 1
    folder.put("verse", tiny.fp32)
    await folder.look()
    assert [told.reason for told in (await folder.listed()).load_failures] == ["size"]


async def test_metrics_tell_the_loaded_files_and_nothing_of_others(
    tiny: TinyModel, tmp_path: Path, digests: tuple[str, str]
) -> None:
    async with served_folder(tmp_path / "models", {"verse": tiny.int8}, keep_versions=0) as folder:
        folder.put("verse", tiny.fp32)
        await folder.look()
        name = "nextchar_model_loaded_timestamp_seconds"
        assert (folder.sample(name, model="verse", digest=digests[1]) or 0) > 0
        assert folder.sample(name, model="verse", digest=digests[0]) is None
        assert folder.sample("nextchar_model_weight", model="verse", digest=digests[1]) == 1


async def test_calls_during_swaps_all_succeed_on_one_model_each(
    folder: Folder, tiny: TinyModel, digests: tuple[str, str]
) -> None:
    texts: list[tuple[str, str]] = []
    done = asyncio.Event()

    async def call() -> None:
        while not done.is_set():
            events = aiter(folder.server.stream("the ", seed=3, max_characters=300))
            digest = (await anext(events)).started.model_digest
            texts.append((digest, "".join([event.delta.text async for event in events])))

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(call())
        for source in (tiny.fp32, tiny.int8, tiny.fp32):
            folder.put("verse", source)
            await folder.look()
            await asyncio.sleep(0)
        done.set()
    whole = {
        digest: await folder.server.text("the ", model=f"verse@{digest}", seed=3, max_characters=300)
        for digest in digests
    }
    assert {digest for digest, _ in texts} <= set(digests)
    assert all(text == whole[digest] for digest, text in texts)
