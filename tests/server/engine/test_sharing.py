"""Fair admission, whatever callers and lanes do, in any order."""

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nextchar_server.engine import admission as module
from nextchar_server.engine.admission import Admission, QueueFullError
from nextchar_server.engine.stream import Stream
from tests.support.callers import Pushed, admission_of, submitted
from tests.support.scripted_runner import stream_of


class Sharing(RuleBasedStateMachine):
    """Any order of what callers and lanes do."""

    places, rows = 5, 2

    def __init__(self) -> None:
        super().__init__()
        self.pushed = Pushed()
        self.admission = admission_of(self.places, self.pushed, rows=self.rows)
        self.waiting: list[Stream] = []
        self.returning: list[Stream] = []
        self.running: list[Stream] = []
        self.paused: list[Stream] = []
        self.unread: list[Stream] = []

    @property
    def held(self) -> list[Stream]:
        return self.waiting + self.returning + self.running + self.paused

    def count(self, caller: str) -> int:
        return sum(stream.caller == caller for stream in self.held)

    def forget(self, stream: Stream) -> None:
        for kind in (self.waiting, self.returning, self.running, self.paused, self.unread):
            if stream in kind:
                kind.remove(stream)

    @rule(caller=st.sampled_from("abcd"))
    def submit(self, caller: str) -> None:
        callers = {stream.caller for stream in self.held} | {caller}
        share = max(1, self.places // len(callers))
        before = len(self.pushed.pushed)
        stream = stream_of(1, caller=caller)
        try:
            with patch.object(module, "UNREAD", 0.0):
                self.admission.submit(stream)
        except QueueFullError:
            assert len(self.held) == self.places
            assert self.count(caller) >= share or not any(
                self.count(other.caller) > share for other in [*self.waiting, *self.unread]
            )
            assert len(self.pushed.pushed) == before
            return
        if len(self.held) == self.places:
            (gone,) = self.pushed.streams[before:]
            assert self.count(gone.caller) > share > self.count(caller)
            assert gone in self.waiting or gone in self.unread
            self.forget(gone)
        else:
            assert len(self.pushed.pushed) == before
        self.waiting.append(stream)

    @rule()
    def turn(self) -> None:
        if not (self.running or self.waiting or self.returning):
            return  # the lane would sleep
        admitted = self.admission.admit(0, len(self.running)) or []
        for stream in admitted:
            (self.waiting if stream in self.waiting else self.returning).remove(stream)
            self.running.append(stream)
        assert len(self.running) <= self.rows
        assert len(self.running) == self.rows or not (self.waiting or self.returning)

    @rule(data=st.data(), is_behind=st.booleans())
    @precondition(lambda self: self.running)
    def pause(self, data: st.DataObject, is_behind: bool) -> None:
        stream = data.draw(st.sampled_from(self.running))
        with patch.object(Stream, "is_full", is_behind):
            self.admission.pause([stream])
        self.running.remove(stream)
        (self.paused if is_behind else self.returning).append(stream)

    @rule(data=st.data())
    @precondition(lambda self: self.paused)
    def resume(self, data: st.DataObject) -> None:
        stream = data.draw(st.sampled_from(self.paused))
        self.admission.resume(stream)
        self.paused.remove(stream)
        self.returning.append(stream)

    @rule(data=st.data())
    @precondition(lambda self: self.running or self.paused)
    def message(self, data: st.DataObject) -> None:
        stream = data.draw(st.sampled_from(self.running + self.paused))
        if stream in self.unread:
            self.admission.end_message(stream)
            self.unread.remove(stream)
        else:
            self.admission.begin_message(stream)
            self.unread.append(stream)

    @rule(data=st.data())
    @precondition(lambda self: self.held)
    def withdraw(self, data: st.DataObject) -> None:
        stream = data.draw(st.sampled_from(self.held))
        self.admission.withdraw(stream)
        self.forget(stream)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert set(self.admission._streams) == set(self.held)
        assert len(self.held) <= self.places
        assert {name: caller.held for name, caller in self.admission._callers.items()} == {
            caller: self.count(caller) for caller in {stream.caller for stream in self.held}
        }
        assert self.admission.waiting == len(self.waiting)
        assert self.admission.paused == len(self.paused) + len(self.returning)


test_whatever_callers_do_places_are_shared_and_no_stream_is_lost = Sharing.TestCase


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40))
def test_rows_go_to_all_callers_alike_whatever_the_order_of_arrival(callers: list[str]) -> None:
    admission = Admission(lanes=1, max_batch=1, queue_size=100)
    for caller in callers:
        submitted(admission, 1, caller)
    order = [stream.caller for _ in callers for stream in admission.admit(0, 0) or []]
    assert sorted(order) == sorted(callers)
    for place in range(len(order)):
        left = set(order[place:])
        got = {caller: order[:place].count(caller) for caller in left}
        assert max(got.values()) - min(got.values()) <= 1
