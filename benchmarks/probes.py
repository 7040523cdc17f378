"""Outside views of a server under attack: how fast it tells its health, and the memory and places that callers take."""

from __future__ import annotations

import threading
import time
import urllib.request

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


class Probe:
    """Asks for the server's health again and again, and keeps how long each answer took."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._seconds: list[float] = []
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    @property
    def percentile(self) -> float:
        """99th percentile of the seconds, by nearest rank."""
        return sorted(self._seconds)[-(-len(self._seconds) * 99 // 100) - 1]

    def _run(self) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{self._port}") as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            while not self._ends.wait(0.01):
                started = time.perf_counter()
                try:
                    check(health_pb2.HealthCheckRequest(), timeout=30, wait_for_ready=True)
                except grpc.RpcError:
                    self._seconds.append(float("inf"))
                else:
                    self._seconds.append(time.perf_counter() - started)


def held(http_port: int) -> float:
    """Returns the sum of the gauges of streams and of memory that callers make the server hold."""
    names = ("nextchar_active_streams", "nextchar_paused_streams", "nextchar_waiting_requests", "nextchar_memory_bytes")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        text: str = direct.open(f"http://127.0.0.1:{http_port}/metrics", timeout=10).read().decode()
    except OSError:  # still shut out
        return 1
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(names))
