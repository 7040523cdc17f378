"""TLS of both ports: the certificate in use, renewed while the server runs.

Stands between ``certificate`` and the two ports. Each new connection gets the newest certificate; those that are open
keep theirs, and their calls aren't touched.

Invariant: a certificate is served only after all of it was read and checked; files that are wrong change nothing.
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta

import grpc
import structlog

from ..listening import StartError
from ..metrics import TlsMetrics
from ..watching import Watch
from .certificate import Certificate, CertificateFiles, load_certificate

WARNED_BEFORE = timedelta(days=14)
"""Time before a certificate's end in which the log warns each day."""

_DAY = 86_400.0
_SETTLING = 0.5  # seconds; files that are replaced one after the other are wrong in between

_log = structlog.get_logger()


class Tls:
    """The certificate of a server, once ``start`` has returned."""

    def __init__(self, files: CertificateFiles, metrics: TlsMetrics) -> None:
        self._files = files
        self._metrics = metrics
        self._certificate: Certificate | None = None
        self._fetched: Certificate | None = None  # the one that gRPC has
        self._next_warning: asyncio.TimerHandle | None = None

    async def start(self, watch: Watch) -> None:
        """Reads the files, and lets ``watch`` see when they change. Raises ``StartError`` if they can't be served."""
        watch.add(lambda: self._files.paths, self._reload)
        await asyncio.to_thread(self._load)
        self._warn()

    def stop(self) -> None:
        """Ends the daily warnings."""
        if self._next_warning is not None:
            self._next_warning.cancel()

    @property
    def is_mutual(self) -> bool:
        """Whether callers need certificates of their own."""
        return self._files.client_ca is not None

    @property
    def context(self) -> ssl.SSLContext:
        """The context for the next connection of the HTTP port."""
        return self._in_use.context

    def credentials(self) -> grpc.ServerCredentials:
        """Returns the credentials of a gRPC port, which asks at each connection whether there is a new certificate."""
        self._fetched = self._in_use
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._fetched),
            self._fetch,  # type: ignore[arg-type]  # None is allowed: gRPC keeps the one that it has
            self.is_mutual,
        )

    @property
    def _in_use(self) -> Certificate:
        assert self._certificate is not None, "start comes first"
        return self._certificate

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Returns the certificate in use, or None if gRPC has it. Called in gRPC's threads, one call at a time."""
        if self._fetched is self._in_use:
            return None
        self._fetched = self._in_use
        return _configuration(self._fetched)

    def _load(self) -> None:
        found = load_certificate(self._files)
        if found == self._certificate:
            return
        self._certificate = found
        self._metrics.expiry.set(found.ends.timestamp())
        _log.info("tls_certificate", serial=f"{found.serial:x}", ends=found.ends.isoformat(), mutual=self.is_mutual)

    async def _reload(self) -> None:
        """Reads the files again. If they can't be served, the certificate in use stays, and the log says why."""
        try:
            try:
                await asyncio.to_thread(self._load)
            except StartError:
                await asyncio.sleep(_SETTLING)
                await asyncio.to_thread(self._load)
        except StartError as error:
            self._metrics.reloads.labels("failed").inc()
            _log.error("tls_reload_failed", error=str(error), hint="the certificate before it stays in use")
        else:
            self._metrics.reloads.labels("ok").inc()
            self._warn()

    def _warn(self) -> None:
        """Warns now and each day if the certificate ends soon."""
        self.stop()
        self._next_warning = asyncio.get_running_loop().call_later(_DAY, self._warn)
        ends = self._in_use.ends
        left = ends - datetime.now(UTC)
        if left <= timedelta():
            _log.error("tls_certificate_expired", ends=ends.isoformat(), hint="callers refuse it: renew it")
        elif left < WARNED_BEFORE:
            _log.warning("tls_certificate_ends_soon", ends=ends.isoformat(), days=left.days, hint="renew it")


def _configuration(certificate: Certificate) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(certificate.key, certificate.chain)], certificate.client_ca)
