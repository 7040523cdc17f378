"""deploy/kubernetes/components/monitoring/adapter.yaml: its query, as prometheus-adapter fills it in, by Prometheus."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.manifests import KUBERNETES

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool")

SERIES = {
    'nextchar_active_streams{namespace="nextchar",pod="a",model="verse"}': 100,
    'nextchar_active_streams{namespace="nextchar",pod="a",model="prose"}': 20,
    'nextchar_waiting_requests{namespace="nextchar",pod="a",model="verse"}': 3,
    'nextchar_waiting_requests{namespace="nextchar",pod="a",model="prose"}': 0,
    'nextchar_active_streams{namespace="nextchar",pod="b",model="verse"}': 7,
    'nextchar_waiting_requests{namespace="nextchar",pod="b",model="verse"}': 0,
    'nextchar_active_streams{namespace="other",pod="a",model="verse"}': 1000,
    'nextchar_waiting_requests{namespace="other",pod="a",model="verse"}': 1000,
}


def test_the_autoscaler_sees_the_streams_and_waiting_requests_of_each_pod_over_all_models(tmp_path: Path) -> None:
    adapter = yaml.safe_load((KUBERNETES / "components" / "monitoring" / "adapter.yaml").read_text())
    (rule,) = adapter["rules"]["custom"]
    query = rule["metricsQuery"].replace("<<.GroupBy>>", "pod")
    query = query.replace("<<.LabelMatchers>>", 'namespace="nextchar",pod=~"a|b"')
    test: dict[str, Any] = {
        "input_series": [{"series": series, "values": str(value)} for series, value in SERIES.items()],
        "promql_expr_test": [
            {
                "expr": query,
                "eval_time": "0s",
                "exp_samples": [{"labels": '{pod="a"}', "value": 123}, {"labels": '{pod="b"}', "value": 7}],
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({"tests": [test]}))
    done = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "test.yaml"], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
