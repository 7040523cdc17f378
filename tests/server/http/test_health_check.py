"""The health check of the container's image, with and without TLS."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from nextchar_server.http.port import HttpPort
from nextchar_server.metrics import TlsMetrics
from nextchar_server.tls.renewal import Tls
from nextchar_server.watching import Watch
from tests.support.certificates import authority

DOCKERFILE = Path(__file__).parents[3] / "deploy" / "Dockerfile"


def command() -> list[str]:
    """The command of the health check."""
    joined = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", "")
    (found,) = re.findall(r"^HEALTHCHECK .*? CMD (\[.*\])$", joined, re.MULTILINE)
    return [sys.executable, *json.loads(found)[1:]]


@pytest.mark.parametrize("is_ready", [True, False])
@pytest.mark.parametrize("access", ["plaintext", "tls", "mutual"])
async def test_it_tells_whether_the_server_is_ready(tmp_path: Path, access: str, is_ready: bool) -> None:
    trusted, registry = authority(tmp_path), CollectorRegistry()
    tls = Tls(trusted.mutual_files if access == "mutual" else trusted.files, TlsMetrics(registry))
    await tls.start(Watch())
    http = HttpPort(registry, lambda: is_ready, most_connections=16, tls=None if access == "plaintext" else tls)
    port = await http.open("127.0.0.1", 0)
    process = await asyncio.create_subprocess_exec(
        *command(), env={**os.environ, "NEXTCHAR_HTTP_PORT": str(port)}, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert (process.returncode == 0) is is_ready, said
    assert is_ready or b"503" in said
    await http.close()
    tls.stop()
