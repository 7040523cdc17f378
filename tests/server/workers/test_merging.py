"""The metrics of several processes as those of one."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families

from nextchar_server.http.answers import OPEN_METRICS
from nextchar_server.metrics import CallerMetrics, TlsMetrics
from nextchar_server.server import Server
from nextchar_server.settings.config import Config
from nextchar_server.workers.merging import GREATEST, LEAST, Merged, counted

SUMMED = {
    "nextchar_active_searches",
    "nextchar_active_streams",
    "nextchar_max_active_streams",
    "nextchar_max_waiting_requests",
    "nextchar_memory_budget_bytes",
    "nextchar_memory_bytes",
    "nextchar_paused_streams",
    "nextchar_prefix_bytes",
    "nextchar_waiting_requests",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
}


def process(count: int, waits: float) -> CollectorRegistry:
    """The metrics of a process."""
    registry = CollectorRegistry()
    Counter("calls", "Calls.", ("code",), registry=registry).labels("OK").inc(count)
    Gauge("streams", "Streams.", registry=registry).set(count)
    Gauge("nextchar_draining", "Draining.", registry=registry).set(count > 1)
    Gauge("process_start_time_seconds", "Start.", registry=registry).set(count)
    histogram = Histogram("wait_seconds", "Waits.", buckets=(1.0, 10.0, 100.0), registry=registry)
    histogram.observe(waits, {"trace_id": str(count)})
    return registry


def encoded(merged: Merged, form: str = "") -> str:
    encode, _ = choose_encoder(form)
    return encode(merged).decode()


def test_counts_are_added_and_of_common_facts_the_greatest_or_least_is_taken() -> None:
    text = encoded(Merged([process(1, 0.5).collect(), process(2, 50.0).collect()]))
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["calls_total", "OK"] == 3
    assert samples["streams",] == 3
    assert samples["nextchar_draining",] == 1
    assert samples["process_start_time_seconds",] == 1
    assert [value for (name, *_), value in samples.items() if name == "wait_seconds_bucket"] == [1, 1, 2, 2]
    assert samples["wait_seconds_sum",] == 50.5
    assert samples["wait_seconds_count",] == 2


def test_the_sum_has_the_lines_of_one_process_in_their_order() -> None:
    def names(text: str) -> list[str]:
        return [line.partition(" ")[0] for line in text.splitlines() if not line.startswith("#")]

    one = encoded(Merged([process(1, 0.5).collect()]))
    assert names(encoded(Merged([process(1, 0.5).collect(), process(2, 50.0).collect()]))) == names(one)
    assert one == choose_encoder("")[0](process(1, 0.5)).decode()


def test_an_exemplar_of_each_bucket_is_kept() -> None:
    text = encoded(Merged([process(1, 0.5).collect(), process(2, 50.0).collect()]), OPEN_METRICS)
    assert '# {trace_id="1"} 0.5' in text
    assert '# {trace_id="2"} 50.0' in text


def test_counters_and_histograms_outlive_their_process_and_gauges_do_not() -> None:
    assert [metric.name for metric in counted(process(1, 0.5).collect())] == ["calls", "wait_seconds"]


async def test_it_is_decided_of_every_gauge_of_a_server_whether_it_is_added() -> None:
    registry = CollectorRegistry()
    Server(Config(), registry)
    TlsMetrics(registry)
    CallerMetrics(registry)
    gauges = {metric.name for metric in registry.collect() if metric.type == "gauge"}
    assert gauges - {"python_info"} == SUMMED | GREATEST | LEAST
