"""Certificates for tests of TLS: a certificate authority, and the files of what it issues."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import trustme


class Authority:
    """A certificate authority that writes its files into ``folder``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._authority = trustme.CA()
        self.ca = folder / "ca.pem"
        """The file of its own certificate."""
        self.ca.write_bytes(self._authority.cert_pem.bytes())

    def issue(self, *names: str, days: float = 30.0, since: float = -1.0) -> tuple[Path, Path]:
        """The files of a new certificate for ``names`` and of its key; valid from ``since`` to ``days`` from now on."""
        now = datetime.now(UTC)
        issued = self._authority.issue_cert(
            *names, not_before=now + timedelta(days=since), not_after=now + timedelta(days=days)
        )
        stem = self._folder / f"{names[0]}-{len(list(self._folder.iterdir()))}"
        certificate, key = stem.with_suffix(".cert"), stem.with_suffix(".key")
        certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        return certificate, key

    def credentials(
        self, *names: str, days: float = 30.0, since: float = -1.0, wants_client: bool = False
    ) -> grpc.ServerCredentials:
        """Credentials of a server for ``names``, or for this machine; ``wants_client`` demands a client certificate."""
        certificate, key = self.issue(*(names or ("localhost", "127.0.0.1")), days=days, since=since)
        pair = (key.read_bytes(), certificate.read_bytes())
        return grpc.ssl_server_credentials([pair], self.ca.read_bytes() if wants_client else None, wants_client)
