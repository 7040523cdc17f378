"""Each alert, by a real Prometheus: it fires when its trouble is made on a real server, and clears when it is mended.

The rules are those of deploy/prometheus with short times; their times themselves are tested by promtool.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import yaml

from tests.support.pages import ROOT
from tests.support.prometheus import Prometheus, prometheus, shortened
from tests.support.tiny_model import TinyModel
from tests.support.troubles import TROUBLES, Scene

RULES = (ROOT / "deploy" / "prometheus" / "rules.yml").read_text()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with the alerts."""
    with prometheus(tmp_path_factory.mktemp("prometheus"), shortened(RULES)) as running:
        yield running


def firing(alert: str, labels: dict[str, str]) -> str:
    """Returns the query of an alert with these labels, which has a series while it fires."""
    wanted = {"alertname": alert, "alertstate": "firing", **labels}
    return f"ALERTS{{{','.join(f'{name}={json.dumps(value)}' for name, value in wanted.items())}}}"


def test_every_alert_has_a_trouble() -> None:
    rules = [rule for group in yaml.safe_load(RULES)["groups"] for rule in group["rules"]]
    assert list(TROUBLES) == [rule["alert"] for rule in rules if "alert" in rule]


@pytest.mark.slow
@pytest.mark.parametrize("alert", TROUBLES)
async def test_an_alert_fires_when_its_trouble_is_made_and_clears_when_it_is_mended(
    alert: str, running: Prometheus, tiny: TinyModel, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        async with TROUBLES[alert](Scene(tiny, tmp_path, running, stack)) as labels:
            await asyncio.to_thread(running.until, firing(alert, labels))
        await asyncio.to_thread(running.until, f"absent({firing(alert, labels)})")
