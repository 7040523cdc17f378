"""The metrics: the names that dashboards rely on, in a registry that is injected."""

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, get_type_hints

import pytest
from annotated_types import Le
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.runner import Replay
from nextchar_server.metrics import HttpMetrics, Metrics, ServerMetrics, TextMetrics
from nextchar_server.rpc.first_values import refusal_reasons, set_first_values
from nextchar_server.settings.config import Config
from nextchar_server.versions.collector import ModelCollector

CALL = {"grpc_type", "grpc_service", "grpc_method"}

FAMILIES = {
    "grpc_server_started": ("counter", CALL),
    "grpc_server_handled": ("counter", CALL | {"grpc_code"}),
    "grpc_server_handling_seconds": ("histogram", CALL),
    "nextchar_http_requests": ("counter", {"route", "code"}),
    "nextchar_http_request_seconds": ("histogram", {"route"}),
    "nextchar_build_info": ("gauge", {"version", "python_version"}),
    "nextchar_draining": ("gauge", set()),
    "nextchar_event_loop_delay_seconds": ("histogram", set()),
    "nextchar_prompt_length_characters": ("histogram", {"model"}),
    "nextchar_text_length_characters": ("histogram", {"model"}),
    "nextchar_version_first_character_seconds": ("summary", {"model", "digest"}),
    "nextchar_max_active_streams": ("gauge", {"model"}),
    "nextchar_max_waiting_requests": ("gauge", {"model"}),
    "nextchar_active_searches": ("gauge", {"model"}),
    "nextchar_model_files_refused": ("gauge", set()),
    "nextchar_prompt_characters": ("counter", {"model"}),
    "nextchar_generated_characters": ("counter", {"model"}),
    "nextchar_time_to_first_character_seconds": ("histogram", {"model"}),
    "nextchar_inter_character_seconds": ("histogram", {"model"}),
    "nextchar_queue_seconds": ("histogram", {"model"}),
    "nextchar_step_seconds": ("histogram", {"model"}),
    "nextchar_batch_rows": ("histogram", {"model"}),
    "nextchar_active_streams": ("gauge", {"model"}),
    "nextchar_paused_streams": ("gauge", {"model"}),
    "nextchar_waiting_requests": ("gauge", {"model"}),
    "nextchar_prefix_hits": ("counter", {"model"}),
    "nextchar_prefix_misses": ("counter", {"model"}),
    "nextchar_prefix_bytes": ("gauge", {"model"}),
    "nextchar_log_dropped": ("counter", set()),
    "nextchar_finished": ("counter", {"model", "reason"}),
    "nextchar_rejected": ("counter", {"reason"}),
    "nextchar_constraints": ("counter", {"result"}),
    "nextchar_memory_bytes": ("gauge", set()),
    "nextchar_memory_budget_bytes": ("gauge", set()),
    "nextchar_model_info": ("gauge", {"model", "digest", "precision", "provider", "numeric_class"}),
    "nextchar_model_loaded_timestamp_seconds": ("gauge", {"model", "digest"}),
    "nextchar_model_weight": ("gauge", {"model", "digest"}),
    "nextchar_model_load_failures": ("counter", {"reason"}),
}


def version(name: str = "m", digest: str = "0a1b", *, active: int = 0, hits: int = 0) -> Any:
    """Returns what is scraped of a loaded version."""
    engine = SimpleNamespace(
        admission=SimpleNamespace(active=active, paused=2, waiting=1),
        searches=SimpleNamespace(waiting=0, active=0),
        most_active=8,
        most_waiting=4,
        prefixes=SimpleNamespace(hits=hits, misses=2, used=1),
    )
    runner = SimpleNamespace(digest=digest, provider="cpu", description=SimpleNamespace(precision="int8"))
    metrics = SimpleNamespace(begun=4, first_characters_seconds=0.5)
    return Version(name, digest, runner, Replay(True, "int8-cpu-1"), engine, metrics)


@dataclass(eq=False)
class Version:
    """Replaces ``ServedModel``."""

    name: str
    digest: str
    runner: Any
    replay: Replay
    engine: Any
    metrics: Any
    loaded_at: float = 1.7e9
    weight: float = 1.0


def collected(registry: CollectorRegistry, *versions: Any) -> ModelCollector:
    """Adds ``versions`` to ``registry``."""
    collector = ModelCollector()
    for one in versions:
        collector.add(one)
    registry.register(collector)
    return collector


def used() -> CollectorRegistry:
    """Returns a registry in which every metric was used once."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    ServerMetrics(registry)
    http = HttpMetrics(registry)
    http.requests.labels("page", "200").inc()
    http.request_seconds.labels("page").observe(0.1)
    collected(registry, version())
    call = ("server_stream", "nextchar.v1.GenerationService", "GenerateStream")
    metrics.calls_started.labels(*call).inc()
    metrics.calls_handled.labels(*call, "OK").inc()
    metrics.call_seconds.labels(*call).observe(0.1)
    metrics.prompt_characters.labels("m").inc(5)
    metrics.generated_characters.labels("m").inc(7)
    for histogram in (
        metrics.first_character_seconds,
        metrics.inter_character_seconds,
        metrics.queue_seconds,
        metrics.step_seconds,
        metrics.batch_rows,
        metrics.prompt_length,
        metrics.text_length,
    ):
        histogram.labels("m").observe(0.001)
    metrics.finished.labels("m", "FINISH_REASON_MAX_CHARACTERS").inc()
    metrics.rejected.labels("queue_full").inc()
    metrics.memory_bytes.set(1)
    metrics.memory_budget_bytes.set(2)
    metrics.model_load_failures.labels("damaged").inc()
    return registry


@pytest.mark.parametrize("name", FAMILIES)
def test_a_metric_has_the_type_and_the_labels_that_dashboards_rely_on(name: str) -> None:
    families = {family.name: family for family in text_string_to_metric_families(generate_latest(used()).decode())}
    kind, labels = FAMILIES[name]
    assert families[name].type == kind
    assert families[name].documentation.endswith(".")
    for sample in families[name].samples:
        assert sample.labels.keys() - ({"le"} if kind == "histogram" else set()) == labels


def test_there_are_no_metrics_but_these_and_those_of_the_process() -> None:
    families = {family.name for family in text_string_to_metric_families(generate_latest(used()).decode())}
    others = families - FAMILIES.keys()
    assert all(name.startswith("process_") for name in others)


def test_the_same_metrics_are_available_as_openmetrics() -> None:
    text = generate_openmetrics(used()).decode()  # type: ignore[no-untyped-call]
    assert text.endswith("# EOF\n")
    assert 'nextchar_generated_characters_total{model="m"} 7.0' in text


def bounds(name: str) -> list[float]:
    """Returns the upper bounds of a histogram's buckets, without infinity."""
    for family in text_string_to_metric_families(generate_latest(used()).decode()):
        if family.name == name:
            all_ = [float(sample.labels["le"]) for sample in family.samples if sample.name.endswith("_bucket")]
            return [bound for bound in all_ if bound < math.inf]
    raise AssertionError(name)


def test_batch_rows_are_counted_in_powers_of_two_up_to_the_largest_batch() -> None:
    (largest,) = (
        limit.le
        for limit in get_type_hints(Config, include_extras=True)["max_batch"].__metadata__
        if isinstance(limit, Le)
    )
    assert bounds("nextchar_batch_rows") == [2**n for n in range(13)]
    assert bounds("nextchar_batch_rows")[-1] == largest


def test_the_time_between_characters_is_resolved_from_50_microseconds_and_holds_a_reader_that_pauses() -> None:
    given = bounds("nextchar_inter_character_seconds")
    assert (given[0], {0.5, 1.0} <= set(given)) == (50e-6, True)
    assert given[-1] >= Config().stall_timeout


@pytest.mark.parametrize(
    "name",
    ["nextchar_queue_seconds", "nextchar_time_to_first_character_seconds", "grpc_server_handling_seconds"],
)
def test_the_time_of_a_call_is_counted_up_to_the_longest_that_the_settings_allow(name: str) -> None:
    # A whole batch before it, of the longest texts, at the step of a model that is a hundred times slower.
    longest = Config().max_characters * 0.05
    assert bounds(name)[-1] >= max(longest, Config().drain_timeout, Config().stall_timeout)


def test_no_histogram_has_more_than_twenty_buckets() -> None:
    histograms = [name for name, (kind, _) in FAMILIES.items() if kind == "histogram"]
    assert max(len(bounds(name)) for name in histograms) <= 20


@pytest.mark.parametrize("model", ["my verse", "it's", '"quoted"', "back\\slash", "한글", 'a="b",c', "{}", "#"])
def test_a_name_of_any_model_comes_back_from_the_text_as_it_was(model: str) -> None:
    registry = CollectorRegistry()
    Metrics(registry).generated_characters.labels(model).inc()
    for text in (generate_latest(registry).decode(), generate_openmetrics(registry).decode()):  # type: ignore[no-untyped-call]
        (sample,) = (
            sample
            for family in text_string_to_metric_families(text.removesuffix("# EOF\n"))
            for sample in family.samples
            if sample.name == "nextchar_generated_characters_total"
        )
        assert sample.labels == {"model": model}


def test_lines_that_the_log_dropped_are_counted() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    assert registry.get_sample_value("nextchar_log_dropped_total") == 0
    metrics.watch_log(lambda: 7)
    assert registry.get_sample_value("nextchar_log_dropped_total") == 7


def test_streams_are_counted_at_each_scrape() -> None:
    registry = CollectorRegistry()
    one = version()
    collected(registry, one)

    def scraped() -> list[float | None]:
        names = ("nextchar_active_streams", "nextchar_paused_streams", "nextchar_waiting_requests")
        return [registry.get_sample_value(name, {"model": "m"}) for name in names]

    assert scraped() == [0, 2, 1]
    one.engine.admission.active = 3
    assert scraped() == [3, 2, 1]


def test_each_model_has_its_own_gauges_which_add_up_its_versions() -> None:
    registry = CollectorRegistry()
    collected(registry, version("one"), version("two", active=1), version("two", "ff", active=2))
    name = "nextchar_active_streams"
    assert [registry.get_sample_value(name, {"model": model}) for model in ("one", "two")] == [0, 3]


def test_the_capacity_of_a_model_is_that_of_the_versions_that_serve() -> None:
    registry = CollectorRegistry()
    old = version(digest="ff")
    old.weight = 0.0
    collected(registry, version(), old)
    assert registry.get_sample_value("nextchar_max_active_streams", {"model": "m"}) == 8
    assert registry.get_sample_value("nextchar_max_waiting_requests", {"model": "m"}) == 4


def test_a_version_has_the_mean_time_to_its_first_characters() -> None:
    registry = CollectorRegistry()
    collected(registry, version())
    name, labels = "nextchar_version_first_character_seconds", {"model": "m", "digest": "0a1b"}
    assert [registry.get_sample_value(f"{name}_{part}", labels) for part in ("sum", "count")] == [0.5, 4]


def test_every_refusal_and_finish_reason_is_0_before_the_first_one() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    set_first_values(metrics)
    TextMetrics(metrics, "m")
    for reason in refusal_reasons():
        assert registry.get_sample_value("nextchar_rejected_total", {"reason": reason}) == 0
    for reason in pb.FinishReason.keys()[1:]:
        assert registry.get_sample_value("nextchar_finished_total", {"model": "m", "reason": reason}) == 0


def test_every_method_has_counters_before_its_first_call() -> None:
    registry = CollectorRegistry()
    set_first_values(Metrics(registry))
    labels = {"grpc_type": "unary", "grpc_service": "nextchar.v1.GenerationService", "grpc_method": "Complete"}
    assert registry.get_sample_value("grpc_server_started_total", labels) == 0
    assert registry.get_sample_value("grpc_server_handled_total", {**labels, "grpc_code": "INTERNAL"}) == 0


def test_nothing_is_left_of_a_version_that_was_removed_but_its_counts() -> None:
    registry = CollectorRegistry()
    old = version(hits=3)
    collector = collected(registry, old, version(digest="ff", hits=4))
    collector.remove(old)
    assert registry.get_sample_value("nextchar_prefix_hits_total", {"model": "m"}) == 7
    assert b"0a1b" not in generate_latest(registry)


def test_two_servers_in_one_process_count_for_themselves() -> None:
    one, two = CollectorRegistry(), CollectorRegistry()
    Metrics(one).generated_characters.labels("m").inc(7)
    Metrics(two).generated_characters.labels("m").inc(1)
    name, labels = "nextchar_generated_characters_total", {"model": "m"}
    assert (one.get_sample_value(name, labels), two.get_sample_value(name, labels)) == (7, 1)
