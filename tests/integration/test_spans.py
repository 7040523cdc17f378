"""The spans of calls, as a collector gets them from a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from nextchar.v1 import generation_pb2 as pb
from tests.support.collector import Collector, Kind, Received, Status, collecting
from tests.support.events import http
from tests.support.known_callers import ENDLESS, TOKEN, Open
from tests.support.serving import Serve, failure
from tests.support.tiny_model import TinyModel
from tests.support.waiting import until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = "traceparent", f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector; servers that start now export to it."""
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.grpc_url)
        yield collector


def request(**parameters: Any) -> pb.GenerateRequest:
    return pb.GenerateRequest(prompt="he", parameters=pb.GenerationParameters(max_characters=5, seed=1, **parameters))


def times(span: Received) -> tuple[int, int]:
    return span.span.start_time_unix_nano, span.span.end_time_unix_nano


async def test_the_span_of_a_text_says_how_it_ended(tiny: TinyModel, serve: Serve, collector: Collector) -> None:
    async with serve(tiny.int8) as serving:
        answer = await serving.stub.Generate(request())
    span = collector.named("Generate")
    assert (span.name, span.span.kind) == ("nextchar.v1.GenerationService/Generate", Kind.SPAN_KIND_SERVER)
    assert (span.parent, span.span.status.code) == ("", Status.STATUS_CODE_UNSET)
    assert span.attributes.pop("network.peer.port") > 0
    assert span.attributes | {"network.peer.port": 0} == {
        "rpc.system.name": "grpc",
        "rpc.method": "nextchar.v1.GenerationService/Generate",
        "rpc.response.status_code": "OK",
        "network.peer.address": "127.0.0.1",
        "network.peer.port": 0,
        "nextchar.request_id": answer.started.request_id,
        "nextchar.prompt_characters": 2,
        "nextchar.generated_characters": 5,
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "nextchar",
        "gen_ai.response.model": "int8",
        "gen_ai.response.finish_reasons": ["MAX_CHARACTERS"],
    }


async def test_its_stages_follow_each_other_within_it(tiny: TinyModel, serve: Serve, collector: Collector) -> None:
    async with serve(tiny.int8) as serving:
        await serving.stub.Generate(request())
    span = collector.named("Generate")
    queue, prompt, generation = collector.below(span)
    assert [queue.name, prompt.name, generation.name] == ["queue", "prompt", "generation"]
    moments = [times(span)[0], *times(queue), *times(prompt), *times(generation), times(span)[1]]
    assert moments == sorted(moments)
    assert times(queue)[1] == times(prompt)[0]
    assert times(prompt)[1] == times(generation)[0]


async def test_they_have_the_times_of_the_line_in_the_log(tiny: TinyModel, serve: Serve, collector: Collector) -> None:
    with capture_logs(processors=[merge_contextvars]) as lines:
        async with serve(tiny.int8) as serving:
            await serving.stub.Generate(request())
    (line,) = [line for line in lines if line["event"] == "call"]
    span = collector.named("Generate")
    queue, prompt, _ = collector.below(span)
    assert (line["trace_id"], line["span_id"]) == (span.trace_id, span.span_id)
    assert (times(span)[1] - times(span)[0]) / 1e9 == pytest.approx(line["seconds"], abs=2e-6)
    assert (times(queue)[1] - times(queue)[0]) / 1e9 == pytest.approx(line["queue_seconds"], abs=2e-6)
    assert (times(prompt)[1] - times(queue)[0]) / 1e9 == pytest.approx(line["first_character_seconds"], abs=2e-6)


async def test_scores_and_completions_have_stages_of_their_own(
    tiny: TinyModel, serve: Serve, collector: Collector
) -> None:
    async with serve(tiny.int8) as serving:
        await serving.stub.Score(pb.ScoreRequest(text="the"))
        await serving.stub.Complete(pb.CompleteRequest(prompt="he"))
        await serving.stub.ListModels(pb.ListModelsRequest())
    stages = {
        name: [span.name for span in collector.below(collector.named(name))]
        for name in ("Score", "Complete", "ListModels")
    }
    assert stages == {"Score": ["queue", "prompt"], "Complete": ["queue", "search"], "ListModels": []}
    assert "gen_ai.operation.name" not in collector.named("Score").attributes


async def test_a_call_that_fails_on_the_server_has_the_status_error(
    tiny: TinyModel, serve: Serve, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(tiny.int8) as serving:
        monkeypatch.setattr(serving.service, "_catalog", None)
        await failure(serving.stub.Generate(request()))
        monkeypatch.undo()
    span = collector.named("Generate")
    assert span.span.status.code == Status.STATUS_CODE_ERROR
    assert (span.attributes["rpc.response.status_code"], span.attributes["error.type"]) == ("INTERNAL", "INTERNAL")


async def test_a_mistake_of_its_caller_has_its_code_and_no_error(
    tiny: TinyModel, serve: Serve, collector: Collector
) -> None:
    async with serve(tiny.int8) as serving:
        await failure(serving.stub.Score(pb.ScoreRequest(text="\u2603")))
    span = collector.named("Score")
    assert span.span.status.code == Status.STATUS_CODE_UNSET
    assert span.attributes["rpc.response.status_code"] == "INVALID_ARGUMENT"
    assert not collector.below(span)


async def test_a_text_that_its_caller_leaves_has_its_stages(
    tiny: TinyModel, serve: Serve, collector: Collector
) -> None:
    async with serve(tiny.int8, max_characters=ENDLESS) as serving:
        stream = serving.stream(max_characters=ENDLESS)
        async for event in stream:
            if event.HasField("delta"):
                break
        stream.cancel()
        await until(lambda: not serving.service._calls)
    span = collector.named("GenerateStream")
    assert span.attributes["rpc.response.status_code"] == "CANCELLED"
    assert [below.name for below in collector.below(span)] == ["queue", "prompt", "generation"]


async def test_a_call_continues_the_trace_of_its_caller(tiny: TinyModel, serve: Serve, collector: Collector) -> None:
    async with serve(tiny.int8) as serving:
        await serving.stub.Generate(request(), metadata=(TRACEPARENT, ("tracestate", "vendor=value")))
    span = collector.named("Generate")
    assert (span.trace_id, span.parent, span.span.trace_state) == (TRACE, PARENT, "vendor=value")
    assert all(below.trace_id == TRACE for below in collector.below(span))


async def test_so_it_does_over_http(tiny: TinyModel, serve: Serve, collector: Collector) -> None:
    async with serve(tiny.int8) as serving, http(serving) as caller:
        body = {"prompt": "he", "max_tokens": 5, "model": "int8"}
        answer = await caller.post("/v1/completions", json=body, headers=dict([TRACEPARENT]))
        assert answer.status_code == 200
    (span,) = [span for span in collector.spans if span.parent == PARENT]
    assert span.trace_id == TRACE
    assert span.attributes["nextchar.generated_characters"] == 5
    assert [below.name for below in collector.below(span)] == ["queue", "prompt", "generation"]


async def test_a_call_whose_caller_does_not_sample_its_trace_has_no_span(
    tiny: TinyModel, serve: Serve, collector: Collector
) -> None:
    async with serve(tiny.int8) as serving:
        await serving.stub.Generate(request(), metadata=(("traceparent", f"00-{TRACE}-{PARENT}-00"),))
        await serving.stub.Score(pb.ScoreRequest(text="the"))
    assert {span.name.rpartition("/")[2] for span in collector.spans} == {"Score", "queue", "prompt"}


async def test_a_malformed_trace_begins_a_new_one(tiny: TinyModel, serve: Serve, collector: Collector) -> None:
    async with serve(tiny.int8) as serving:
        await serving.stub.Generate(request(), metadata=(("traceparent", "nonsense"), ("x-bin", b"\xff")))
    assert collector.named("Generate").parent == ""


async def test_the_span_of_a_known_caller_has_its_name(opened: Open, collector: Collector) -> None:
    async with opened() as serving:
        await serving.stub.Generate(request(), metadata=(("authorization", f"Bearer {TOKEN}"),))
        await failure(serving.stub.Generate(request()))
    found = {span.attributes["rpc.response.status_code"]: span for span in collector.spans if span.attributes}
    assert found["OK"].attributes["enduser.id"] == "ann"
    assert "enduser.id" not in found["UNAUTHENTICATED"].attributes


async def test_probes_of_health_have_no_span(tiny: TinyModel, serve: Serve, collector: Collector) -> None:
    async with serve(tiny.int8) as serving:
        check: Any = serving.channel.unary_unary("/grpc.health.v1.Health/Check")
        await check(b"")
        method: Any = serving.channel.unary_unary("/no/method")
        await failure(method(b""))
    assert [span.name for span in collector.spans] == ["unknown/unknown"]


async def test_latencies_have_exemplars_in_open_metrics_and_none_in_prometheus_text(
    tiny: TinyModel, serve: Serve, collector: Collector
) -> None:
    async with serve(tiny.int8) as serving, http(serving) as caller:
        await serving.stub.Generate(request())
        open_metrics = await caller.get("/metrics", headers={"Accept": "application/openmetrics-text"})
        text = await caller.get("/metrics")
    span = collector.named("Generate")
    labels = {f'trace_id="{span.trace_id}"', f'span_id="{span.span_id}"'}
    exemplars = [line.partition(" # {") for line in open_metrics.text.splitlines()]
    having = {bucket.partition("{")[0] for bucket, _, of in exemplars if set(of.partition("}")[0].split(",")) == labels}
    assert having == {
        "grpc_server_handling_seconds_bucket",
        "nextchar_queue_seconds_bucket",
        "nextchar_time_to_first_character_seconds_bucket",
    }
    assert span.trace_id not in text.text


async def test_without_a_variable_that_asks_for_it_nothing_is_traced(tiny: TinyModel, serve: Serve) -> None:
    with capture_logs(processors=[merge_contextvars]) as lines:
        async with serve(tiny.int8) as serving:
            await serving.stub.Generate(request())
    assert "tracing" not in [line["event"] for line in lines]
    assert not any("span_id" in line for line in lines)


async def test_texts_come_and_the_server_ends_while_the_collector_never_answers(
    tiny: TinyModel, serve: Serve, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    collector.answers.clear()
    async with serve(tiny.int8) as serving, http(serving) as caller:
        while not collector.asked.is_set():
            await serving.stub.Generate(request())
        answers = await asyncio.gather(*(serving.stub.Generate(request()) for _ in range(20)))
        export = serving.server._export
        assert export is not None
        assert [background.waiting for background in export.backgrounds] == [8]
        assert "nextchar_spans_dropped_total 0.0" not in (await caller.get("/metrics")).text
    assert len({answer.text for answer in answers}) == 1
    assert not collector.spans
