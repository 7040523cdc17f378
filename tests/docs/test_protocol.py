"""docs/protocol.md shows the protocol with the comments that it has now."""

from __future__ import annotations

import pytest

from docs.generate_protocol import PAGE, generated
from nextchar.v1 import generation_pb2


@pytest.fixture(scope="module")
def page() -> str:
    return generated()


def test_the_page_of_the_protocol_is_current(page: str) -> None:
    assert PAGE.read_text() == page, "python -m docs.generate_protocol writes it anew"


def test_the_page_of_the_protocol_has_every_message_and_enumeration(page: str) -> None:
    names = [*generation_pb2.DESCRIPTOR.message_types_by_name, *generation_pb2.DESCRIPTOR.enum_types_by_name]
    assert names
    assert not [name for name in names if f"\n## {name}\n" not in page]


def test_everything_of_the_protocol_has_a_comment(page: str) -> None:
    assert "|  |\n" not in page
