"""Each query of the dashboard and each recording rule, by a real Prometheus that scrapes loaded servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc
from tests.support.certificates import authority
from tests.support.known_callers import TOKEN, line, shown
from tests.support.pages import ROOT
from tests.support.prometheus import Prometheus, prometheus, query_of_panel, shortened
from tests.support.serving import Serving, serving
from tests.support.tiny_model import TinyModel

pytestmark = pytest.mark.slow

RULES = (ROOT / "deploy" / "prometheus" / "rules.yml").read_text()
PANELS = json.loads((ROOT / "deploy" / "grafana" / "dashboards" / "nextchar.json").read_text())["panels"]
QUERIES = [query_of_panel(target["expr"]) for panel in PANELS for target in panel.get("targets", ())]
RECORDED = [rule["record"] for group in yaml.safe_load(RULES)["groups"] for rule in group["rules"] if "record" in rule]


async def load(stub: Any, metadata: tuple[tuple[str, str], ...] | None = None) -> None:
    """Calls in every way of which a panel tells, for ever."""
    texts, constrained = pb.GenerationParameters(max_characters=200), pb.GenerationParameters(regex="(Romeo|the)")
    while True:
        await stub.Generate(pb.GenerateRequest(prompt="the sun; " * 30, parameters=texts), metadata=metadata)
        await stub.Generate(pb.GenerateRequest(parameters=constrained), metadata=metadata)
        await stub.Complete(pb.CompleteRequest(prompt="the"), metadata=metadata)
        await stub.Score(pb.ScoreRequest(text="the moon"), metadata=metadata)
        async for _ in stub.GenerateStream(pb.GenerateStreamRequest(parameters=texts), metadata=metadata):
            pass
        with suppress(grpc.aio.AioRpcError):
            await stub.Score(pb.ScoreRequest(text="#"), metadata=metadata)
        await asyncio.sleep(0.05)


@asynccontextmanager
async def secure(tiny: TinyModel, folder: Path) -> AsyncIterator[tuple[Serving, Any]]:
    """A server with TLS, a caller, and a model file that it can't serve; and how the caller calls it."""
    models = folder / "models"
    models.mkdir()
    (models / "verse.onnx").write_bytes(tiny.int8.read_bytes())
    (models / "bad.onnx").write_bytes(b"bad")
    (folder / "tokens").write_text(line("ann", TOKEN))
    known = authority(folder)
    settings = {**known.settings, "auth_tokens_file": folder / "tokens", "auth_exempt": "metrics"}
    async with serving(models_dir=models, **settings) as running:
        credentials = grpc.ssl_channel_credentials(known.pem)
        async with grpc.aio.secure_channel(f"localhost:{running.grpc_port}", credentials) as channel:
            yield running, generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]


def run_queries(seen: Prometheus) -> None:
    """Runs all queries, each until it returns a number."""
    for query in (*QUERIES, *RECORDED):
        seen.until(query)


async def test_every_query_of_the_dashboard_and_every_recording_rule_returns_data(
    tiny: TinyModel, tmp_path: Path
) -> None:
    (tmp_path / "prometheus").mkdir()
    async with serving(tiny.int8) as plain, secure(tiny, tmp_path) as (guarded, stub):
        with (
            prometheus(tmp_path / "prometheus", shortened(RULES)) as seen,
            seen.scraping(plain.http_port),
            seen.scraping(guarded.http_port, "https"),
        ):
            loads = [asyncio.create_task(load(plain.stub)), asyncio.create_task(load(stub, shown(TOKEN)))]
            await asyncio.to_thread(seen.until, "sum(nextchar_model_files_refused) == 1")
            (tmp_path / "models" / "worse.onnx").write_bytes(b"bad")  # an increase needs a scrape before it
            guarded.server.reload()
            await asyncio.to_thread(run_queries, seen)
            assert not any(task.done() for task in loads)
            for task in loads:
                task.cancel()
