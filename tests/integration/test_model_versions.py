"""Several versions of one model: kept ones, ones that are named by their digest, and canaries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_client import AsyncClient, Finished, Started
from nextchar_model.runner import Runner
from nextchar_server.catalog import UnknownModelError
from tests.support.model_folder import Folder, served_folder
from tests.support.serving import failure
from tests.support.tiny_model import TinyModel


@pytest.fixture(scope="module")
def digests(tiny: TinyModel) -> tuple[str, str]:
    """The digests of the tiny model in int8 and in fp32."""
    return Runner(tiny.int8).digest, Runner(tiny.fp32).digest


@pytest.fixture
async def replaced(tiny: TinyModel, tmp_path: Path) -> AsyncIterator[Folder]:
    """A folder with the model ``verse``, in fp32 after it was in int8."""
    async with served_folder(tmp_path / "models", {"verse": tiny.int8}) as folder:
        folder.put("verse", tiny.fp32)
        await folder.look()
        yield folder


@pytest.fixture
async def canary(tiny: TinyModel, tmp_path: Path) -> AsyncIterator[Folder]:
    """A folder with the model ``verse`` in int8, a quarter of whose requests are served in fp32."""
    files = {"verse": tiny.int8, "verse@25%": tiny.fp32}
    async with served_folder(tmp_path / "models", files) as folder:
        yield folder


async def test_a_version_is_named_by_the_beginning_of_its_digest(replaced: Folder, digests: tuple[str, str]) -> None:
    for digest in digests:
        assert (await replaced.started(f"verse@{digest[:8]}")).model_digest == digest
        assert (await replaced.started(f"verse@{digest.upper()}")).model_digest == digest
        answer = await replaced.server.stub.GetModel(pb.GetModelRequest(name=f"verse@{digest[:12]}"))
        assert (answer.model.name, answer.model.digest) == ("verse", digest)


@pytest.mark.parametrize("ending", ["", "0" * 8, "{}", "zzzzzzzz"], ids=["no", "another", "a short", "no hexadecimal"])
async def test_a_digest_of_no_version_is_not_found(replaced: Folder, digests: tuple[str, str], ending: str) -> None:
    error = await failure(replaced.server.stream(model="verse@" + ending.format(digests[0][:7])))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert f"this server has verse@{digests[1][:12]}, verse@{digests[0][:12]}" in (error.details() or "")


async def test_the_versions_are_listed_with_their_places(replaced: Folder, digests: tuple[str, str]) -> None:
    models = (await replaced.listed()).models
    told = [(model.digest, model.is_default, model.is_current, model.weight) for model in models]
    assert told == [(digests[1], True, True, 1), (digests[0], True, False, 0)]
    assert models[0].load_time.ToNanoseconds() >= models[1].load_time.ToNanoseconds() > 0


async def test_a_token_continues_on_the_version_of_its_text(tiny: TinyModel, tmp_path: Path) -> None:
    async with (
        served_folder(tmp_path / "models", {"verse": tiny.int8}) as folder,
        AsyncClient(f"127.0.0.1:{folder.server.grpc_port}") as client,
    ):
        whole = await client.generate("the ", seed=5, max_characters=100)
        begun = await client.generate("the ", seed=5, max_characters=40)
        folder.put("verse", tiny.fp32)
        await folder.look()
        rest = await client.generate(resume_token=begun.finished.resume_token, max_characters=60)
        assert begun.text + rest.text == whole.text
        assert rest.started.model_digest == begun.started.model_digest
        assert (await client.generate("the ")).started.model_digest != begun.started.model_digest


async def test_a_token_of_a_version_that_is_not_kept_is_refused(tiny: TinyModel, tmp_path: Path) -> None:
    async with served_folder(tmp_path / "models", {"verse": tiny.int8}, keep_versions=0) as folder:
        events = [event async for event in folder.server.stream("the ", max_characters=5)]
        folder.put("verse", tiny.fp32)
        await folder.look()
        request = pb.GenerateStreamRequest(resume_token=events[-1].finished.resume_token)
        error = await failure(folder.server.stub.GenerateStream(request))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_file_that_comes_back_is_the_version_that_was_kept(replaced: Folder, tiny: TinyModel) -> None:
    kept = replaced.versions.catalog.families["verse"].kept[0]
    replaced.put("verse", tiny.int8)
    await replaced.look()
    assert replaced.versions.catalog.get("verse") is kept


async def test_only_current_versions_keep_prefixes(replaced: Folder) -> None:
    family = replaced.versions.catalog.families["verse"]
    assert family.main.engine.prefixes.size > 0
    assert [version.engine.prefixes.size for version in family.kept] == [0]


async def test_a_canary_serves_the_requests_that_its_share_says(canary: Folder, digests: tuple[str, str]) -> None:
    all_started = await asyncio.gather(*[canary.started() for _ in range(64)])
    for started in all_started:
        is_canary = int(started.request_id, 16) / 2**64 < 0.25
        assert started.model_digest == digests[is_canary]
    assert {started.model_digest for started in all_started} == set(digests)


async def test_a_canary_is_a_version_of_its_model(canary: Folder, digests: tuple[str, str]) -> None:
    models = (await canary.listed()).models
    assert [(model.name, model.digest, model.weight) for model in models] == [
        ("verse", digests[0], 0.75),
        ("verse", digests[1], 0.25),
    ]
    answer = await canary.server.stub.GetModel(pb.GetModelRequest(name="verse"))
    assert answer.model == models[0]
    with pytest.raises(UnknownModelError):
        canary.versions.catalog.get("verse@25%")


async def test_a_canary_that_is_renamed_takes_over_without_being_loaded_again(
    canary: Folder, digests: tuple[str, str]
) -> None:
    version = canary.versions.catalog.get(f"verse@{digests[1]}")
    (canary.path / "verse@25%.onnx").rename(canary.path / "verse@50%-b.onnx")
    await canary.look()
    assert version.weight == 0.5
    (canary.path / "verse@50%-b.onnx").rename(canary.path / "verse.onnx")
    await canary.look()
    assert canary.versions.catalog.families["verse"].main is version
    assert canary.sample("nextchar_model_weight", model="verse", digest=digests[1]) == 1


async def test_a_canary_that_is_removed_is_kept_for_its_texts(canary: Folder, digests: tuple[str, str]) -> None:
    canary.remove("verse@25%")
    await canary.look()
    assert {(await canary.started()).model_digest for _ in range(16)} == {digests[0]}
    assert (await canary.started(f"verse@{digests[1]}")).model_digest == digests[1]


async def test_a_text_that_was_cut_continues_on_the_version_that_began_it(canary: Folder, tiny: TinyModel) -> None:
    async with (
        served_folder(canary.path.with_name("others"), {"verse": tiny.int8, "verse@25%": tiny.fp32}) as other,
        AsyncClient([f"127.0.0.1:{one.server.grpc_port}" for one in (canary, other)]) as client,
    ):
        for seed in range(4):
            events = client.stream("the ", seed=seed, max_characters=1_500)
            started = await anext(events)
            assert isinstance(started, Started)
            for one in (canary, other):
                for version in one.versions.catalog:
                    version.engine.drain()  # what runs is cut
            last = [event async for event in events][-1]
            assert isinstance(last, Finished)
            assert last.usage.generated_characters == 1_500
