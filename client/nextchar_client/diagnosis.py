"""Why no connection comes about: the difference between the TLS of the client and that of a server.

gRPC says UNAVAILABLE, and at most the words of its TLS library. So after such a failure this looks at the servers
itself, by a handshake of the module ``ssl``. Stands beside the channels, and is used by whoever made the failed call.
Invariant: nothing of the call is sent, the event loop never waits, gRPC's own words stay in the message, and neither
the timeout of the call nor ``MOST_SECONDS`` passes.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path

import grpc

from .access import Access
from .endpoint import addresses_of, is_local
from .errors import NextcharError, UnavailableError

MOST_SECONDS = 5.0
"""How long the servers of a client are looked at."""

# How gRPC begins its own messages about servers that it doesn't reach.
_NO_CONNECTION = ("connections to all backends failing", "failed to connect to all addresses")
_NOBODY = "Failed to connect to remote host"  # refused, or no answer
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
# The preface of HTTP/2 and an empty SETTINGS frame, the fourth byte of which is its type.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
_SETTINGS = 4
_MOST_NAMES = 5  # of a certificate in a message
# Codes of X.509, as in OpenSSL's x509_vfy.h.
_EXPIRED, _NOT_YET_VALID, _WRONG_NAME, _UNTRUSTED = {10}, {9}, {62, 64}, {18, 19, 20, 21}


class Diagnosis:
    """Looks at the servers of ``access``, once at a time however many calls fail at the same time."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._looking: asyncio.Future[str | None] | None = None

    async def explain(self, error: NextcharError, seconds: float | None = None) -> NextcharError:
        """Returns ``error``, with the reason before its message if it is about TLS and found within ``seconds``."""
        message = str(error)
        if not isinstance(error, UnavailableError) or not message.startswith(_NO_CONNECTION):
            return error
        if _NOBODY in message and len(self._access.targets) == 1:
            return error
        if self._looking is None or self._looking.done():
            self._looking = self._look()
        left = MOST_SECONDS if seconds is None else min(seconds, MOST_SECONDS)
        done, _ = await asyncio.wait([self._looking], timeout=left)
        reason = self._looking.result() if done else None
        if reason is None:
            return error
        return UnavailableError(f"{reason} (gRPC: {message})", status=error.status, request_id=error.request_id)

    def _look(self) -> asyncio.Future[str | None]:
        """Looks for the reason in a thread, which no exit of the process waits for."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[str | None] = loop.create_future()

        def tell(reason: str | None) -> None:
            if not found.done():
                found.set_result(reason)

        def look() -> None:
            reason = reason_of(self._access)
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(tell, reason)

        threading.Thread(target=look, name="nextchar-diagnosis", daemon=True).start()
        return found


def reason_of(access: Access) -> str | None:
    """Returns why the TLS of a server and that of ``access`` don't fit, with the remedy; None if nothing is found."""
    for target in access.targets:
        last = time.monotonic() + MOST_SECONDS / len(access.targets)
        if not is_local(target) and any(os.environ.get(name) for name in _PROXIES):
            continue  # gRPC goes another way
        for host, port in addresses_of(target) or []:
            with suppress(OSError, ValueError):  # it can't be reached in this way either
                if reason := _Server(host, port, last).reason(access):
                    return reason
    return None


class _Server:
    """A server at an address, looked at until the time ``last``."""

    def __init__(self, host: str, port: int, last: float) -> None:
        self._host, self._port, self._last = host, port, last
        self._name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def reason(self, access: Access) -> str | None:
        """Why its TLS doesn't fit ``access``. Raises ``OSError`` if it can't be reached."""
        if access.context is None:
            return self._reason_of_plaintext()
        if access.authorities is None:
            _trust_as_grpc(access.context)
        try:
            return self._reason_after_handshake(access.context, has_identity=access.identity is not None)
        except ssl.SSLCertVerificationError as error:
            return self._distrust(error, access.context)
        except (ssl.SSLError, ConnectionError) as error:
            if self._speaks_plaintext():
                return (
                    f"the server at {self._name} speaks plaintext, not TLS; leave out TLS (tls, --tls, grpcs://), or "
                    "give the server a certificate (nextchar-server --tls-cert, --tls-key)"
                )
            return f"the TLS handshake with {self._name} failed: {getattr(error, 'reason', None) or error}"

    def _reason_of_plaintext(self) -> str | None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with self._connection() as connection, context.wrap_socket(connection):
                pass
        except ssl.SSLError as error:
            if "ALERT" not in (error.reason or ""):  # only a server with TLS sends one
                return None
        return f"the server at {self._name} speaks TLS; use TLS too (tls=True, --tls, grpcs://HOST:PORT)"

    def _reason_after_handshake(self, context: ssl.SSLContext, *, has_identity: bool) -> str | None:
        context.set_alpn_protocols(["h2"])
        with (
            self._connection() as connection,
            context.wrap_socket(connection, server_hostname=self._host.partition("%")[0]) as encrypted,
        ):
            if encrypted.selected_alpn_protocol() is None:
                return f"the server at {self._name} has TLS without HTTP/2; is this the port for gRPC?"
            refusal = ""
            try:  # from TLS 1.3 on, a server judges the client's certificate after the handshake
                encrypted.sendall(_HELLO)
                if encrypted.recv(1):
                    return None
            except TimeoutError:
                return None
            except (ssl.SSLError, ConnectionError) as error:
                refusal = getattr(error, "reason", None) or ""
        if not has_identity:
            return (
                f"the server at {self._name} ended the connection after the handshake: it wants a client certificate; "
                "give one with its key (tls_cert and tls_key, --tls-cert and --tls-key)"
            )
        words = f" ({refusal})" if refusal else ""
        return (
            f"the server at {self._name} refuses the client certificate{words}; it must be of an authority that the "
            "server trusts (nextchar-server --tls-client-ca) and must not have expired"
        )

    def _distrust(self, error: ssl.SSLCertVerificationError, context: ssl.SSLContext) -> str:
        """Why the certificate of the server can't be trusted."""
        if error.verify_code in _EXPIRED:
            return f"the certificate of {self._name} has expired; renew it on the server"
        if error.verify_code in _NOT_YET_VALID:
            return f"the certificate of {self._name} isn't valid yet; compare the clocks of both machines"
        if error.verify_code in _WRONG_NAME:
            names = self._names(context)
            return (
                f"the certificate of {self._name} is for {names}, not for {self._host}; use a name of the certificate "
                f"in the endpoint, or issue one for {self._host}"
            )
        if error.verify_code in _UNTRUSTED:
            return (
                f"the certificate of {self._name} is of no trusted authority ({error.verify_message}); give the "
                "certificate of its authority (tls_ca, --tls-ca)"
            )
        return f"the certificate of {self._name} can't be trusted: {error.verify_message}"

    def _names(self, context: ssl.SSLContext) -> str:
        """The first names and addresses in the certificate of the server, whose authority ``context`` trusts."""
        context.check_hostname = False
        try:
            with self._connection() as connection, context.wrap_socket(connection) as encrypted:
                certificate = encrypted.getpeercert() or {}
        except OSError:
            return "another name"
        finally:
            context.check_hostname = True
        names = [str(entry[1]) for entry in certificate.get("subjectAltName", ())]
        return ", ".join(names[:_MOST_NAMES]) + ", …" * (len(names) > _MOST_NAMES) if names else "no name"

    def _speaks_plaintext(self) -> bool:
        try:
            with self._connection() as connection:
                connection.sendall(_HELLO)
                frame = connection.recv(4)
        except OSError:
            return False
        return len(frame) == 4 and frame[3] == _SETTINGS

    def _connection(self) -> socket.socket:
        left = self._last - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return socket.create_connection((self._host, self._port), timeout=left)


def _trust_as_grpc(context: ssl.SSLContext) -> None:
    """Makes ``context`` trust the public authorities that gRPC trusts."""
    chosen = os.environ.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
    context.load_verify_locations(chosen or Path(grpc.__file__).parent / "_cython" / "_credentials" / "roots.pem")
