"""The table from the service's refusals to HTTP, and the ids of events."""

from __future__ import annotations

import grpc
import pytest

from nextchar_server.http.errors import _STATUSES, api_error
from nextchar_server.http.place import Place
from nextchar_server.rpc import errors
from nextchar_server.rpc.inside import Ended
from nextchar_server.thread_share import ThreadShare


def refusals(kind: type[errors.RequestError]) -> list[type[errors.RequestError]]:
    """Returns all kinds of refusals that have a status."""
    found = [kind] if "code" in vars(kind) or hasattr(kind, "code") else []
    return found + [each for child in kind.__subclasses__() for each in refusals(child)]


@pytest.mark.parametrize("kind", refusals(errors.RequestError))
def test_every_refusal_has_a_status(kind: type[errors.RequestError]) -> None:
    assert kind.code in _STATUSES
    refused = api_error(Ended(kind.code, "no", {"reason": kind.reason, "request-id": "1"}))
    assert 400 <= refused.status < 600
    assert refused.content["error"]["message"]
    assert refused.headers["request-id"] == "1"


def test_a_bug_tells_nothing_but_its_request_id() -> None:
    refused = api_error(Ended(grpc.StatusCode.INTERNAL, "internal error; request id 1", {"request-id": "1"}))
    assert (refused.status, refused.code, refused.kind) == (500, "internal", "server_error")


@pytest.mark.parametrize("place", [Place(0, 0, b"a"), Place(12, 15, bytes(range(256))), Place(3, 3, b"", is_end=True)])
def test_a_place_is_read_as_it_was_written(place: Place) -> None:
    assert Place.parse(str(place)) == place


@pytest.mark.parametrize("text", ["", "1.2", "1.2.", "1.2.a", "x.y.abcd", "1.2.abcd.fin", "\u0661.1.abcd", "1.2.ab\n"])
def test_what_is_no_place_is_none(text: str) -> None:
    assert Place.parse(text) is None


def test_credited_work_is_not_of_the_share() -> None:
    share = ThreadShare(0.0, 1.0)
    before = share.left()
    share.credit(5.0)
    assert share.left() - before > 4
