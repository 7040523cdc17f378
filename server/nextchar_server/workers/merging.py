"""Merging: the metrics of several processes as those of one.

Counters, histograms and summaries are added. So are gauges, which count streams, bytes or files, except those that tell
a fact that all processes share: of these, the greatest or the least is taken.

Invariant: the result has each series once; its histograms keep the order of their buckets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import Metric
from prometheus_client.samples import Sample

GREATEST = {
    "nextchar_build_info",
    "nextchar_draining",
    "nextchar_model_files_refused",
    "nextchar_model_info",
    "nextchar_model_loaded_timestamp_seconds",
    "nextchar_model_weight",
}
"""Gauges of which the greatest counts: the workers see the same files, or one that has begun speaks for all."""

LEAST = {"nextchar_tls_certificate_expiry_timestamp_seconds", "process_start_time_seconds"}
"""Gauges of which the least counts: the first certificate to end, and the start of the server."""

_COUNTED = ("counter", "histogram", "summary")

_Key = tuple[str, tuple[tuple[str, str], ...]]


class Merged:
    """Metrics of several processes. Has the ``collect`` of a registry, for the encoders of prometheus_client."""

    def __init__(self, processes: Iterable[Iterable[Metric]] = ()) -> None:
        self._families: dict[str, tuple[Metric, dict[_Key, Sample]]] = {}
        for metrics in processes:
            self.add(metrics)

    def add(self, metrics: Iterable[Metric]) -> None:
        """Adds the metrics of a process."""
        for metric in metrics:
            if metric.name not in self._families:
                copy = Metric(metric.name, metric.documentation, metric.type, metric.unit)
                self._families[metric.name] = copy, {}
            _, samples = self._families[metric.name]
            for sample in metric.samples:
                key = sample.name, tuple(sample.labels.items())
                other = samples.get(key)
                samples[key] = sample if other is None else _joined(metric.name, other, sample)

    def collect(self) -> Iterator[Metric]:
        """Yields the families with their samples."""
        for metric, samples in self._families.values():
            metric.samples = list(samples.values())
            yield metric


def counted(metrics: Iterable[Metric]) -> list[Metric]:
    """Returns those of ``metrics`` that only grow, and so outlive their process."""
    return [metric for metric in metrics if metric.type in _COUNTED]


def _joined(name: str, one: Sample, other: Sample) -> Sample:
    if name in GREATEST:
        value = max(one.value, other.value)
    elif name in LEAST:
        value = min(one.value, other.value)
    else:
        value = one.value + other.value
    return one._replace(value=value, exemplar=max(one.exemplar, other.exemplar, key=_time_of))


def _time_of(exemplar: object) -> float:
    return float(getattr(exemplar, "timestamp", None) or 0.0)
