"""Certificates for tests, and the files that a server reads them from."""

from __future__ import annotations

import ssl
import warnings
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
import trustme
from cryptography import x509

from nextchar_server.tls.certificate import CertificateFiles


@dataclass(frozen=True)
class Authority:
    """Somebody who signs certificates, and a folder for them."""

    folder: Path
    ca: trustme.CA

    @property
    def pem(self) -> bytes:
        """Its own certificate."""
        return self.ca.cert_pem.bytes()

    @property
    def ca_file(self) -> Path:
        """The file of its own certificate, for a client."""
        path = self.folder / "ca.pem"
        path.write_bytes(self.pem)
        return path

    @property
    def files(self) -> CertificateFiles:
        """The files of a server."""
        return CertificateFiles(self.folder / "chain.pem", self.folder / "key.pem", None)

    @property
    def mutual_files(self) -> CertificateFiles:
        """The same, of a server whose callers need certificates of this authority."""
        path = self.folder / "client_ca.pem"
        path.write_bytes(self.pem)
        return CertificateFiles(self.files.chain, self.files.key, path)

    @property
    def settings(self) -> dict[str, Any]:
        """The files of a server as fields of ``Config``."""
        return {"tls_cert": self.files.chain, "tls_key": self.files.key}

    @property
    def mutual_settings(self) -> dict[str, Any]:
        """The same, of a server whose callers need certificates of this authority."""
        return {**self.settings, "tls_client_ca": self.mutual_files.client_ca}

    def issued(self, *names: str, before: datetime | None = None, after: datetime | None = None) -> Issued:
        """Returns a new certificate of ``names``, or of this machine; valid from ``before`` to ``after``."""
        leaf = self.ca.issue_cert(*(names or ("localhost", "127.0.0.1")), not_before=before, not_after=after)
        return Issued(b"".join(part.bytes() for part in leaf.cert_chain_pems), leaf.private_key_pem.bytes())

    def own_files(self, name: str) -> tuple[Path, Path]:
        """The files of a new certificate of a caller, and of its key."""
        issued = self.issued(name)
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(issued.chain)
        key.write_bytes(issued.key)
        return certificate, key

    def credentials(self, issued: Issued | None = None, *, wants_client: bool = False) -> grpc.ServerCredentials:
        """Credentials of a server with ``issued``, or a new one; with ``wants_client``, callers need one too."""
        issued = issued or self.issued()
        return grpc.ssl_server_credentials(
            [(issued.key, issued.chain)], self.pem if wants_client else None, wants_client
        )

    def renew(self, **dates: datetime) -> int:
        """Replaces the server's certificate, and returns the serial number of the new one."""
        issued = self.issued(**dates)
        for path, content in ((self.files.chain, issued.chain), (self.files.key, issued.key)):
            new = path.with_suffix(".new")
            new.write_bytes(content)
            new.replace(path)
        return issued.serial

    def context(self, own: Issued | None = None) -> ssl.SSLContext:
        """Returns the context of a caller who trusts this authority; ``own`` is its own certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols(["h2", "http/1.1"])
        context.load_verify_locations(cadata=self.pem.decode())
        if own is not None:
            path = self.folder / "own.pem"
            path.write_bytes(own.key + own.chain)
            context.load_cert_chain(path)
        return context


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, in PEM."""

    chain: bytes
    key: bytes

    @property
    def serial(self) -> int:
        """Its serial number."""
        return x509.load_pem_x509_certificate(self.chain).serial_number


def authority(folder: Path) -> Authority:
    """Returns an authority that keeps its files in ``folder``, which has a server's certificate already."""
    made = Authority(folder, trustme.CA())
    made.renew()
    return made


def speaking(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    """Makes ``context`` speak ``version`` only, however old it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
        context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def understand(caller: ssl.SSLContext, server: ssl.SSLContext) -> bool:
    """Returns whether a caller and a server with these contexts agree on a version."""
    to_server, to_caller = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        caller.wrap_bio(to_caller, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_caller, server_side=True),
    ]
    for _ in range(10):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                return False
    return ends[0].version() is not None
