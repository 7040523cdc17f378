"""The certificate in use: renewed from its files, and warned about before its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from nextchar_server.listening import StartError
from nextchar_server.metrics import TlsMetrics
from nextchar_server.tls import renewal as tls
from nextchar_server.tls.renewal import Tls
from nextchar_server.watching import Watch
from tests.support.certificates import Authority, authority


class Holder:
    """A server's certificate, and its files."""

    def __init__(self, folder: Path) -> None:
        self.authority: Authority = authority(folder)
        self.registry = CollectorRegistry()
        self.tls = Tls(self.authority.files, TlsMetrics(self.registry))

    @property
    def serial(self) -> int:
        """The serial number of the certificate in use."""
        assert self.tls._certificate is not None
        return self.tls._certificate.serial

    def metric(self, name: str, **labels: str) -> float | None:
        """The value of a metric."""
        return self.registry.get_sample_value(f"nextchar_tls_{name}", labels)

    async def start(self) -> None:
        """Reads the certificate for the first time."""
        await self.tls.start(Watch())

    async def reload(self) -> None:
        """Reads it again."""
        await self.tls._reload()


@pytest.fixture
async def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Holder]:
    monkeypatch.setattr(tls, "_SETTLING", 0.0)
    held = Holder(tmp_path)
    yield held
    held.tls.stop()


def soon(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days)


async def test_a_server_does_not_start_with_files_that_cannot_be_served(held: Holder) -> None:
    held.authority.files.key.unlink()
    with pytest.raises(StartError, match="--tls-key"):
        await held.start()


async def test_a_renewed_certificate_is_taken(held: Holder) -> None:
    await held.start()
    serial = held.authority.renew()
    with capture_logs() as lines:
        await held.reload()
    assert held.serial == serial
    assert [(line["event"], line["serial"]) for line in lines] == [("tls_certificate", f"{serial:x}")]
    assert held.metric("reloads_total", result="ok") == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda files: files.chain.write_bytes(files.chain.read_bytes()[:100]),
        lambda files: files.key.write_bytes(b""),
        lambda files: files.key.unlink(),
    ],
    ids=["half written", "empty", "absent"],
)
async def test_files_that_cannot_be_served_change_nothing_and_are_named(
    held: Holder, spoil: Callable[[object], object]
) -> None:
    await held.start()
    serial = held.serial
    spoil(held.authority.files)
    with capture_logs() as lines:
        await held.reload()
    assert held.serial == serial
    assert [(line["event"], line["log_level"]) for line in lines] == [("tls_reload_failed", "error")]
    assert str(held.authority.folder) in lines[0]["error"]
    assert held.metric("reloads_total", result="failed") == 1


async def test_a_new_certificate_beside_the_old_key_changes_nothing_until_its_key_comes(held: Holder) -> None:
    await held.start()
    old, files = held.serial, held.authority.files
    issued = held.authority.issued()
    files.chain.write_bytes(issued.chain)
    await held.reload()
    assert held.serial == old
    files.key.write_bytes(issued.key)
    await held.reload()
    assert held.serial == issued.serial


async def test_files_that_are_wrong_only_for_a_moment_are_no_failure(
    held: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    await held.start()
    key = held.authority.files.key
    content = key.read_bytes()
    key.write_bytes(content[:100])
    monkeypatch.setattr(asyncio, "sleep", AsyncMock(side_effect=lambda _: key.write_bytes(content)))
    await held.reload()
    assert held.metric("reloads_total", result="failed") == 0


async def test_files_that_are_as_before_change_nothing(held: Holder) -> None:
    await held.start()
    context = held.tls.context
    with capture_logs() as lines:
        await held.reload()
    assert held.tls.context is context
    assert not lines


@pytest.mark.parametrize(("days", "warned"), [(3, ["tls_certificate_ends_soon"]), (20, [])])
@pytest.mark.parametrize("read", [Holder.start, Holder.reload])
async def test_the_log_warns_of_a_certificate_that_ends_soon(
    held: Holder, days: float, warned: list[str], read: Callable[[Holder], Awaitable[None]]
) -> None:
    await held.start()
    held.authority.renew(after=soon(days))
    with capture_logs() as lines:
        await read(held)
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == warned


async def test_it_warns_again_after_a_day(held: Holder) -> None:
    held.authority.renew(after=soon(3))
    await held.start()
    assert held.tls._next_warning is not None
    with capture_logs() as lines:
        held.tls._warn()
    assert [(line["event"], line["days"]) for line in lines] == [("tls_certificate_ends_soon", 2)]


async def test_the_end_of_the_certificate_is_a_metric(held: Holder) -> None:
    end = datetime(2050, 1, 2, 3, 4, 5, tzinfo=UTC)
    held.authority.renew(after=end)
    await held.start()
    assert held.metric("certificate_expiry_timestamp_seconds") == end.timestamp()
