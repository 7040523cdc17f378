"""The metrics of the loaded models: which versions there are, their streams, and their caches.

Stands beside ``metrics``, whose registry it is registered with.

Invariant: everything is computed when it is scraped, so nothing is left of a version that was unloaded, except in
counters, which never fall. A scrape comes in another thread than the changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

from ..catalog import ServedModel

_VERSION = ["model", "digest"]

_Family = TypeVar("_Family", CounterMetricFamily, GaugeMetricFamily)


class ModelCollector(Collector):
    """Collects the metrics of the versions that were added and not yet removed."""

    def __init__(self) -> None:
        self.refused = 0
        """Number of model files that are there and can't be served."""
        self._versions: dict[ServedModel, None] = {}
        self._past_hits: Counter[str] = Counter()  # of the versions that were removed, by model
        self._past_misses: Counter[str] = Counter()

    def add(self, version: ServedModel) -> None:
        """Adds ``version``, which was loaded."""
        self._versions[version] = None

    def remove(self, version: ServedModel) -> None:
        """Removes ``version``, which is about to be unloaded."""
        prefixes = version.engine.prefixes
        self._past_hits[version.name] += prefixes.hits
        self._past_misses[version.name] += prefixes.misses
        del self._versions[version]

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | SummaryMetricFamily]:
        """Yields all metrics."""
        versions = list(self._versions)
        yield GaugeMetricFamily(
            "nextchar_model_files_refused", "Model files that are there and can't be served.", value=self.refused
        )
        yield from _infos(versions)
        yield _first_characters(versions)
        yield from _capacity(versions)
        yield from _streams(versions)
        yield from self._prefixes(versions)

    def _prefixes(self, versions: list[ServedModel]) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        hits, misses, used = self._past_hits.copy(), self._past_misses.copy(), Counter[str]()
        for version in versions:
            prefixes = version.engine.prefixes
            hits[version.name] += prefixes.hits
            misses[version.name] += prefixes.misses
            used[version.name] += prefixes.used
        yield _filled(
            CounterMetricFamily("nextchar_prefix_hits", "Prompts that began with a known prefix.", labels=["model"]),
            hits,
        )
        yield _filled(
            CounterMetricFamily(
                "nextchar_prefix_misses", "Prompts of 100 ids or more without a known prefix.", labels=["model"]
            ),
            misses,
        )
        yield _filled(
            GaugeMetricFamily("nextchar_prefix_bytes", "Memory that known prefixes take.", labels=["model"]), used
        )


def _infos(versions: list[ServedModel]) -> Iterator[GaugeMetricFamily]:
    info = GaugeMetricFamily(
        "nextchar_model_info",
        "1 for each model file that is loaded.",
        labels=[*_VERSION, "precision", "provider", "numeric_class"],
    )
    loaded = GaugeMetricFamily(
        "nextchar_model_loaded_timestamp_seconds", "When a model file was loaded.", labels=_VERSION
    )
    weight = GaugeMetricFamily(
        "nextchar_model_weight", "Part of the requests by a model's name that a file of it serves.", labels=_VERSION
    )
    for version in versions:
        runner, labels = version.runner, [version.name, version.digest]
        more = [runner.description.precision, runner.provider, version.replay.numeric_class]
        info.add_metric([*labels, *more], 1)
        loaded.add_metric(labels, version.loaded_at)
        weight.add_metric(labels, version.weight)
    yield from (info, loaded, weight)


def _first_characters(versions: list[ServedModel]) -> SummaryMetricFamily:
    family = SummaryMetricFamily(
        "nextchar_version_first_character_seconds",
        "Time from a call's start to its first character, by the model file that serves it.",
        labels=_VERSION,
    )
    for version in versions:
        metrics = version.metrics
        family.add_metric(
            [version.name, version.digest], count_value=metrics.begun, sum_value=metrics.first_characters_seconds
        )
    return family


def _capacity(versions: list[ServedModel]) -> Iterator[GaugeMetricFamily]:
    """Yields the limits of the versions that serve: those that were replaced get few requests."""
    active, waiting = Counter[str](), Counter[str]()
    for version in versions:
        if version.weight:
            active[version.name] += version.engine.most_active
            waiting[version.name] += version.engine.most_waiting
    yield _filled(
        GaugeMetricFamily("nextchar_max_active_streams", "Most streams in a batch.", labels=["model"]), active
    )
    yield _filled(
        GaugeMetricFamily("nextchar_max_waiting_requests", "Most requests in the queue.", labels=["model"]), waiting
    )


def _streams(versions: list[ServedModel]) -> Iterator[GaugeMetricFamily]:
    active, paused, waiting, searches = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for version in versions:
        admission = version.engine.admission
        active[version.name] += admission.active
        paused[version.name] += admission.paused
        waiting[version.name] += admission.waiting + version.engine.searches.waiting
        searches[version.name] += version.engine.searches.active
    for name, text, counts in (
        ("nextchar_active_streams", "Streams in a batch.", active),
        ("nextchar_paused_streams", "Streams that wait for a slow reader.", paused),
        ("nextchar_waiting_requests", "Requests in the queue.", waiting),
        ("nextchar_active_searches", "Searches for completions that have begun.", searches),
    ):
        yield _filled(GaugeMetricFamily(name, text, labels=["model"]), counts)


def _filled(family: _Family, counts: Counter[str]) -> _Family:
    for model, count in counts.items():
        family.add_metric([model], count)
    return family
