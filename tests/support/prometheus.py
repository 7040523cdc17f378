"""A real Prometheus that scrapes servers of tests, with rules and queries whose times are short."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import pytest

PATIENCE = 90.0
"""Seconds to wait for what Prometheus should see."""

SCRAPE_INTERVAL = "500ms"
WINDOW = "5s"

_PAUSE = 0.2
_CONFIGURATION = """
global: {{scrape_interval: {interval}, evaluation_interval: {interval}}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: nextchar
    scrape_timeout: {interval}
    tls_config: {{insecure_skip_verify: true}}
    file_sd_configs: [{{files: [targets.json], refresh_interval: 1s}}]
"""


def shortened(rules: str) -> str:
    """Returns ``rules`` with windows of ``WINDOW``, whose alerts fire at once."""
    return re.sub(r"\[\d+m\]", f"[{WINDOW}]", re.sub(r"(?m)^ +for: .*\n", "", rules))


def query_of_panel(query: str) -> str:
    """Returns the query of a panel with its variables filled in."""
    return re.sub(r"\$(instance|model)", ".*", query.replace("$__rate_interval", WINDOW))


@dataclass
class Prometheus:
    """A Prometheus that runs."""

    folder: Path
    url: str
    process: subprocess.Popen[bytes]
    targets: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def scraping(self, port: int, scheme: str = "http") -> Iterator[str]:
        """Scrapes a port of this machine for a while. Returns its label ``instance``."""
        instance = f"127.0.0.1:{port}"
        self._set({**self.targets, instance: scheme})
        try:
            yield instance
        finally:
            self._set({name: kind for name, kind in self.targets.items() if name != instance})

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """Returns the series of a query, now or at another time. Fails if Prometheus finds it wrong."""
        time_ = {} if at is None else {"time": str(at)}
        result: list[dict[str, Any]] = self._get("/api/v1/query", query=expression, **time_)["result"]
        return result

    def query_range(self, expression: str, begin: float, end: float) -> list[dict[str, Any]]:
        """Returns the series of a query at each second from ``begin`` to ``end``."""
        fields = {"query": expression, "start": str(begin), "end": str(end), "step": "1"}
        result: list[dict[str, Any]] = self._get("/api/v1/query_range", **fields)["result"]
        return result

    def until(self, expression: str) -> list[dict[str, Any]]:
        """Waits until a query has a series that is a number, and returns its series. Fails after a time."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self.query(expression)
            if any(series["value"][1] != "NaN" for series in found):
                return found
            assert time.monotonic() < deadline, f"no data: {expression}"
            time.sleep(_PAUSE)

    def _set(self, targets: Mapping[str, str]) -> None:
        self.targets = dict(targets)
        groups = [{"targets": [name], "labels": {"__scheme__": scheme}} for name, scheme in targets.items()]
        new = self.folder / "targets.new"
        new.write_text(json.dumps(groups))
        new.replace(self.folder / "targets.json")

    def _get(self, path: str, **fields: str) -> Any:
        url = f"{self.url}{path}?{urlencode(fields)}"
        with build_opener(ProxyHandler({})).open(url, timeout=PATIENCE) as answer:
            return json.load(answer)["data"]

    def wait_until_ready(self) -> None:
        """Waits until it answers."""
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            try:
                self._get("/api/v1/query", query="1")
            except OSError:
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(_PAUSE)
            else:
                return


@contextmanager
def prometheus(folder: Path, rules: str) -> Iterator[Prometheus]:
    """Runs a Prometheus with ``rules`` that keeps its files in ``folder``. Skips if there is none."""
    if shutil.which("prometheus") is None:
        pytest.skip("there is no prometheus")
    (folder / "rules.yml").write_text(rules)
    (folder / "prometheus.yml").write_text(_CONFIGURATION.format(interval=SCRAPE_INTERVAL))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["prometheus", *options, f"--web.listen-address=127.0.0.1:{port}"], cwd=folder, stderr=log, stdout=log
        )
    try:
        running = Prometheus(folder, f"http://127.0.0.1:{port}", process)
        running._set({})
        running.wait_until_ready()
        yield running
    finally:
        process.kill()
        process.wait()
