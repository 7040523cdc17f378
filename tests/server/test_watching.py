"""Watched files: a change is found however it was made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from nextchar_server import watching
from nextchar_server.watching import Watch


@pytest.fixture(autouse=True)
async def short() -> AsyncIterator[None]:
    with patch.object(watching, "INTERVAL", 0.01):
        yield


def replaced(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_text("b")
    other.replace(path)


def relinked(path: Path) -> None:
    target = path.with_name("second")
    target.write_text("c")
    path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize("change", [lambda path: path.write_text("longer"), replaced, relinked, Path.unlink])
async def test_a_change_is_found_however_it_was_made(tmp_path: Path, change: Callable[[Path], object]) -> None:
    path = tmp_path / "file"
    path.write_text("a")
    found = asyncio.Event()

    async def changed() -> None:
        found.set()

    watch = Watch()
    watch.add(lambda: [path], changed)
    watch.start()
    change(path)
    async with asyncio.timeout(30):
        await found.wait()
    await watch.stop()


async def test_a_callback_that_fails_is_called_again_at_the_next_change(tmp_path: Path) -> None:
    path = tmp_path / "file"
    calls: asyncio.Queue[None] = asyncio.Queue()

    async def changed() -> None:
        calls.put_nowait(None)
        raise ValueError

    watch = Watch()
    watch.add(lambda: [path], changed)
    watch.start()
    async with asyncio.timeout(30):
        path.write_text("a")
        await calls.get()
        path.write_text("longer")
        await calls.get()
    await watch.stop()


async def test_a_look_that_is_asked_for_calls_back_without_a_change(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def changed() -> None:
        asked.set()

    watch = Watch()
    watch.add(lambda: tmp_path.iterdir(), changed)
    watch.start()
    watch.look_now()
    async with asyncio.timeout(30):
        await asked.wait()
    await watch.stop()
