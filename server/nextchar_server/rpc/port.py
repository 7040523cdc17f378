"""The gRPC port: how many connections it takes, how long they may be silent, and the sizes of messages.

Made by ``server``. The HTTP port is ``probes``.

Invariant: connections of callers never use up the files that the process may open; the HTTP port and the model files
keep theirs.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress

import grpc
import structlog

from ..settings.config import Config
from . import channelz
from .core import make_core
from .interceptor import CallInterceptor
from .resets import Resets

_OTHER_FILES = 160
"""Files that the process keeps beside those connections: those of the HTTP port, models, logs and libraries."""

_HTTP_PART = 4
"""Part of the other files that requests of the HTTP API may take, if there are few: one in this many."""

_log = structlog.get_logger()


def http_requests(wanted: int) -> int:
    """Returns how many requests of the HTTP API there may be at once, each on a connection of its own."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, (files - _OTHER_FILES) // _HTTP_PART))


def make_server(
    interceptor: CallInterceptor, resets: Resets, config: Config, *, max_request: int, is_shared: bool = False
) -> grpc.aio.Server:
    """Returns a server without services and ports, which reads requests of at most ``max_request`` bytes.

    Its ports may be in use by other workers if they are ``is_shared``, and by nobody else.

    Raises the process's limit of open files as far as it may, because every connection is one.
    """
    _start_poller()
    others = channelz.server_ids()
    server = make_core(
        [interceptor], _options(config, max_request, is_shared=is_shared), interceptor.refuse, resets.shuns
    )
    (number,) = channelz.server_ids() - others
    resets.watch(number)
    return server


def _options(config: Config, max_request: int, *, is_shared: bool) -> list[tuple[str, int]]:
    options = [
        ("grpc.so_reuseport", int(is_shared)),  # without it, a port in use is an error
        ("grpc.max_receive_message_length", max_request),
        # Only the identity: a few KiB that unpack to many MiB would take more time than the largest plain message.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        ("grpc.max_metadata_size", 8 * 1024),
        ("grpc.absolute_max_metadata_size", 16 * 1024),
        # Calls of one method that the event loop has not seen yet. gRPC ends more of them as CANCELLED, which no metric
        # counts, so there is room for a burst of 5,000; each takes 10 to 15 KB.
        ("grpc.server.max_pending_requests", 6_000),
        ("grpc.server.max_pending_requests_hard_limit", 8_000),
        ("grpc.max_concurrent_streams", config.max_calls_per_connection),
        ("grpc.http2.bdp_probe", 0),  # 64 KiB of a stream's messages wait to be read; on fast lines it would be MiBs
        ("grpc.enable_channelz", 1),  # counts, for `resets`
        ("grpc.tcp_receive_buffer_size", 64 * 1024),  # the system holds that much of a connection that is held back
        # Connections.
        ("grpc.max_allowed_incoming_connections", _connections(config.max_connections, config.max_http_requests)),
        ("grpc.server_handshake_timeout_ms", _ms(config.handshake_timeout)),
        ("grpc.max_connection_idle_ms", _ms(config.connection_idle)),
        # Callers that vanished are detected, so that their streams are freed.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        # Clients may ping every 10 s, with and without calls, as Envoy and those of Go and Java are often set up to.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ]
    if config.connection_age is not None:
        options.append(("grpc.max_connection_age_ms", _ms(config.connection_age)))
    if config.connection_age_grace is not None:
        options.append(("grpc.max_connection_age_grace_ms", _ms(config.connection_age_grace)))
    return options


def _ms(seconds: float) -> int:
    return max(1, round(1000 * seconds))


def _connections(wanted: int, wanted_http: int) -> int:
    """Returns how many connections the gRPC port may take, after raising the limit of open files."""
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != most:
        with suppress(OSError, ValueError):  # not permitted: fewer connections
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            files = most
    if files == resource.RLIM_INFINITY:
        files = wanted + wanted_http + _OTHER_FILES
    connections = max(1, min(wanted, files - _OTHER_FILES - http_requests(wanted_http)))
    if connections < wanted:
        _log.warning("few_files", files=files, connections=connections, hint="raise the limit of open files")
    return connections


def _start_poller() -> None:
    """Starts the thread in which gRPC waits for its events, scheduled so that it reports several events at once.

    gRPC would start the thread by itself. For each event it writes to the event loop. An ordinary thread that wakes
    up takes the core from the running one, so the two would alternate at every event; a thread of Linux's batch class
    waits until the event loop has finished, then reports all events since.
    """
    if not hasattr(os, "SCHED_BATCH"):
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    with suppress(OSError):  # not permitted: only slower
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # a new thread inherits the policy of its creator
        try:
            grpc.aio.init_grpc_aio()
        finally:
            os.sched_setscheduler(0, policy, parameters)
