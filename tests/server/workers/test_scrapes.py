"""Scrapes of several workers: complete, shared, and never falling. The workers are played by the test."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from nextchar_server.workers.messages import Collect, Collected, Encoded, Scrape
from nextchar_server.workers.scrapes import PATIENCE, Scrapes
from tests.support.clock import Clock


class Played:
    """A worker that has counted ``calls``."""

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self.told: list[object] = []

    def tell(self, message: object) -> None:
        self.told.append(message)

    @property
    def collected(self) -> Collected:
        registry = CollectorRegistry()
        Counter("calls", "Calls.", registry=registry).inc(self.calls)
        Gauge("streams", "Streams.", registry=registry).set(1)
        return Collected(list(registry.collect()), 0.001)

    @property
    def bodies(self) -> list[str]:
        return [message.body.decode() for message in self.told if isinstance(message, Encoded)]


class Group:
    """Scrapes of two workers."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.scrapes: Any = Scrapes(CollectorRegistry(), clock=self.clock, worked=lambda: 0.0)
        self.workers = [Played(1), Played(10)]

    def begin(self) -> None:
        """The first worker is asked, and the collection begins."""
        self.scrapes.ask(self.workers[0], Scrape(""))
        self.clock.now = max(self.clock.now, self.scrapes.due)
        self.scrapes.proceed(set(self.workers))

    def scraped(self) -> str:
        """Returns the answer to a scrape of all workers."""
        self.begin()
        for worker in self.workers:
            self.scrapes.take(worker, worker.collected)
        return self.workers[0].bodies[-1]


@pytest.fixture
def group() -> Group:
    return Group()


def test_the_answer_has_the_metrics_of_all(group: Group) -> None:
    answer = group.scraped()
    assert "calls_total 11.0" in answer
    assert "streams 2.0" in answer
    assert group.workers[1].bodies == []


def test_scrapes_that_wait_share_a_collection_and_one_that_comes_later_has_its_own(group: Group) -> None:
    one, other = group.workers
    group.scrapes.ask(other, Scrape(""))
    group.begin()
    group.scrapes.ask(other, Scrape(""))
    for worker in group.workers:
        group.scrapes.take(worker, worker.collected)
    assert one.bodies == other.bodies
    assert [message for message in one.told if isinstance(message, Collect)] == [Collect()]
    group.clock.now = group.scrapes.due
    group.scrapes.proceed({one})
    group.scrapes.take(one, one.collected)
    assert len(other.bodies) == 2


def test_collections_come_the_later_the_more_work_they_make(group: Group) -> None:
    group.scraped()
    began = group.clock.now
    group.scrapes.ask(group.workers[0], Scrape(""))
    assert group.scrapes.due == pytest.approx(began + 29 * 0.001)


def test_counters_of_a_worker_that_ended_are_kept_and_its_streams_are_not(group: Group) -> None:
    group.scraped()
    gone = group.workers.pop()
    group.scrapes.end(gone)
    assert "calls_total 11.0" in group.scraped()
    assert "streams 1.0" in group.scraped()
    group.workers.append(Played(5))
    assert "calls_total 16.0" in group.scraped()


def test_a_worker_that_ends_meanwhile_holds_up_no_scrape(group: Group) -> None:
    group.begin()
    group.scrapes.take(group.workers[0], group.workers[0].collected)
    group.scrapes.end(group.workers[1])
    assert "calls_total 1.0" in group.workers[0].bodies[-1]


def test_for_a_worker_that_does_not_answer_its_last_known_metrics_stand(group: Group) -> None:
    group.scraped()
    one, stuck = group.workers
    one.calls = 2
    group.begin()
    group.scrapes.take(one, one.collected)
    assert len(one.bodies) == 1
    group.clock.now += PATIENCE
    group.scrapes.proceed({one, stuck})
    assert "calls_total 12.0" in one.bodies[-1]
