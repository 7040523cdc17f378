"""A folder of model files that a real server serves, and that a test changes as an operator does."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nextchar.v1 import generation_pb2 as pb
from nextchar_server.versions.versions import Versions
from tests.support.serving import Serving, serving


@dataclass(frozen=True)
class Folder:
    """The folder, and the server that serves it."""

    path: Path
    server: Serving

    def put(self, name: str, source: Path) -> None:
        """Renames a copy of the file ``source`` into place."""
        put(self.path, name, source)

    def write(self, name: str, content: bytes) -> None:
        """Writes a file in place."""
        (self.path / f"{name}.onnx").write_bytes(content)

    def remove(self, name: str) -> None:
        """Removes a file."""
        (self.path / f"{name}.onnx").unlink()

    @property
    def versions(self) -> Versions:
        """The server's versions."""
        return self.server.server._versions

    async def look(self) -> None:
        """Lets the server look at its files now."""
        await self.versions.refresh()

    async def listed(self) -> pb.ListModelsResponse:
        """Returns the server's description of its models."""
        answer: pb.ListModelsResponse = await self.server.stub.ListModels(pb.ListModelsRequest())
        return answer

    async def started(self, model: str = "", prompt: str = "", **options: Any) -> pb.Started:
        """Generates a text, and returns its first event."""
        async for event in self.server.stream(prompt, model=model, **options):
            return pb.Started.FromString(event.started.SerializeToString())
        raise AssertionError("no event")

    def sample(self, name: str, **labels: str) -> float | None:
        """Returns the value of a metric."""
        return self.server.server._metrics.registry.get_sample_value(name, labels)


def put(folder: Path, name: str, source: Path) -> None:
    """Renames a copy of the file ``source`` into ``folder``."""
    new = folder / f".{name}.new"
    shutil.copyfile(source, new)
    new.rename(folder / f"{name}.onnx")


@asynccontextmanager
async def served_folder(path: Path, files: dict[str, Path], **settings: Any) -> AsyncIterator[Folder]:
    """Serves a folder at ``path`` that has ``files``, by name."""
    path.mkdir()  # noqa: ASYNC240
    for name, source in files.items():
        put(path, name, source)
    async with serving(models_dir=path, **{"lanes": 1, **settings}) as server:
        yield Folder(path, server)
