"""The certificate of a server: read from its files and checked whole, before anything uses it.

Stands before ``tls``, which serves it. OpenSSL checks that the files are a certificate and its key; this module, the
dates and the kind of key, because OpenSSL accepts kinds that callers through gRPC don't.

Invariant: all parts of a ``Certificate`` come from the same files at the same time.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ..listening import StartError

_MOST_BYTES = 2**20  # of a file
_BEGIN = re.compile(rb"^-----BEGIN CERTIFICATE-----", re.MULTILINE)
_ONE = re.compile(_BEGIN.pattern + rb".+?^-----END CERTIFICATE-----", re.MULTILINE | re.DOTALL)
_KEY = re.compile(rb"^-----BEGIN ([A-Z]+ )*PRIVATE KEY-----", re.MULTILINE)
_MARK = b"\xef\xbb\xbf"  # that some editors begin a text with; OpenSSL skips it, gRPC's library doesn't

# Object identifiers, as DER encodes them (https://www.rfc-editor.org/rfc/rfc3279, https://www.rfc-editor.org/rfc/rfc5480).
_RSA = bytes.fromhex("2a864886f70d010101")
_EC = bytes.fromhex("2a8648ce3d0201")
_CURVES = (bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2b81040022"))  # P-256, P-384

_FOREIGN_KEY = (
    "isn't the key of the first certificate in {chain}; replace both, the server's own certificate first and the "
    "intermediate ones after it"
)
_REASONS = {
    "KEY_VALUES_MISMATCH": _FOREIGN_KEY,
    "NO_CERTIFICATE_ASSIGNED": _FOREIGN_KEY,  # a key of another kind
    "EE_KEY_TOO_SMALL": "its key is too short; use RSA with 2048 bits or more, or ECDSA",
    "CA_MD_TOO_WEAK": "it is signed with a digest that is no longer safe; use SHA-256",
}


@dataclass(frozen=True)
class CertificateFiles:
    """Where a certificate comes from. All in PEM."""

    chain: Path
    """The server's certificate, and after it the intermediate ones."""
    key: Path
    client_ca: Path | None
    """Those who sign the certificates of callers; None if callers need none."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them."""
        return (self.chain, self.key) if self.client_ca is None else (self.chain, self.key, self.client_ca)


@dataclass(frozen=True)
class Certificate:
    """A certificate that can be served."""

    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)
    client_ca: bytes | None = field(repr=False)
    serial: int
    begins: datetime
    ends: datetime
    context: ssl.SSLContext = field(repr=False, compare=False)
    """For the HTTP port. A caller may come without a certificate; one that it shows is checked."""


def load_certificate(files: CertificateFiles) -> Certificate:
    """Reads and checks ``files``. Raises ``StartError``, which names the option, the file and what is wrong with it."""
    chain, key = _read("--tls-cert", files.chain), _read("--tls-key", files.key)
    client_ca = None if files.client_ca is None else _read("--tls-client-ca", files.client_ca)
    context = _context(files, chain, client_ca)
    if chain != _read("--tls-cert", files.chain) or key != _read("--tls-key", files.key):
        raise StartError(f"--tls-cert {files.chain}: was changed while it was read; try again")
    serial, begins, ends = _served(f"--tls-cert {files.chain}", chain)
    return Certificate(chain, key, client_ca, serial, begins, ends, context)


def _read(option: str, path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise StartError(f"{option} {path}: is not a file")
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1).removeprefix(_MARK)
    except OSError as error:
        raise StartError(f"{option} {path}: can't be read: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise StartError(f"{option} {path}: is too large for a file in PEM")
    pattern, name = (_KEY, "private key") if option == "--tls-key" else (_ONE, "certificate")
    if not pattern.search(content):
        raise StartError(f"{option} {path}: has no {name} in PEM, lines that begin with -----BEGIN")
    return content


class _EncryptedKeyError(Exception):
    pass


def _refuse_password() -> str:
    raise _EncryptedKeyError


def _context(files: CertificateFiles, chain: bytes, client_ca: bytes | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0  # a connection has one request, and its caller seldom comes back with the ticket
    _require_parsed(f"--tls-cert {files.chain}", chain)
    try:
        context.load_cert_chain(files.chain, files.key, _refuse_password)
    except _EncryptedKeyError:
        raise StartError(
            f"--tls-key {files.key}: is encrypted; write it without a password, such as with `openssl pkey`, "
            "readable for the server only"
        ) from None
    except ssl.SSLError as error:
        is_weak = (error.reason or "").endswith(("_TOO_SMALL", "_TOO_WEAK"))
        place = f"--tls-cert {files.chain}" if is_weak else f"--tls-key {files.key}"
        raise StartError(f"{place}: {_reason(error, files)}") from error
    except OSError as error:
        raise StartError(f"--tls-cert {files.chain}: can't be read again: {error.strerror}") from error
    if client_ca is not None:
        _trust(context, f"--tls-client-ca {files.client_ca}", client_ca)
    return context


def _reason(error: ssl.SSLError, files: CertificateFiles) -> str:
    if error.reason in _REASONS:
        return _REASONS[error.reason].format(chain=files.chain)
    return f"can't be used: {(error.reason or 'damaged').lower().replace('_', ' ')}"


def _trust(context: ssl.SSLContext, place: str, client_ca: bytes) -> None:
    _require_parsed(place, client_ca)
    ends = []
    for der in _ders(client_ca):
        context.load_verify_locations(cadata=der)
        ends.append(_fields(der)[2])
    if max(ends) <= datetime.now(UTC):
        raise StartError(f"{place}: every certificate in it has expired, the last one on {_day(max(ends))}; renew it")
    context.verify_mode = ssl.CERT_OPTIONAL


def _served(place: str, chain: bytes) -> tuple[int, datetime, datetime]:
    """Returns the serial number and the dates of the first certificate. Raises ``StartError`` if none may use it."""
    serial, begins, ends, kind = _fields(_ders(chain)[0])
    now = datetime.now(UTC)
    if ends <= now:
        raise StartError(f"{place}: expired on {_day(ends)}; renew it")
    if begins > now:
        raise StartError(f"{place}: is not valid before {_day(begins)}; is the clock of this machine right?")
    if kind[0] != _RSA and not (kind[0] == _EC and kind[1] in _CURVES):
        raise StartError(f"{place}: callers don't accept its kind of key; use RSA, or ECDSA with P-256 or P-384")
    return serial, begins, ends


def _require_parsed(place: str, pem: bytes) -> None:
    """Raises ``StartError`` if a certificate in ``pem`` is damaged."""
    whole = _ONE.findall(pem)
    if len(_BEGIN.findall(pem)) != len(whole):
        raise StartError(f"{place}: is incomplete: a certificate in it has no end")
    for number, found in enumerate(whole, 1):
        try:
            der = ssl.PEM_cert_to_DER_cert(found.decode("ascii"))
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=der)
        except (ValueError, ssl.SSLError) as error:
            raise StartError(f"{place}: certificate {number} in it is damaged") from error


def _ders(pem: bytes) -> list[bytes]:
    return [ssl.PEM_cert_to_DER_cert(found.decode("ascii")) for found in _ONE.findall(pem)]


def _fields(der: bytes) -> tuple[int, datetime, datetime, list[bytes]]:
    """Returns serial number, dates and kind of key of a certificate that OpenSSL has parsed.

    Source: https://www.rfc-editor.org/rfc/rfc5280#section-4.1.
    """
    ((_, certificate),) = _items(der)
    signed = _items(_items(certificate)[0][1])
    if signed[0][0] == 0xA0:  # the version, absent in the first one
        del signed[0]
    begins, ends = (_date(tag, content) for tag, content in _items(signed[3][1]))
    kind = [content for tag, content in _items(_items(signed[5][1])[0][1]) if tag == 0x06]
    return int.from_bytes(signed[0][1], signed=True), begins, ends, kind


def _items(der: bytes) -> list[tuple[int, bytes]]:
    """Returns tag and content of each item in ``der``."""
    found = []
    at = 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size]), at + size
        found.append((tag, der[at : at + length]))
        at += length
    return found


def _date(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == 0x17:  # two digits of the year: 50 to 99 are those of the last century
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _day(date: datetime) -> str:
    return f"{date:%Y-%m-%d %H:%M} UTC"
