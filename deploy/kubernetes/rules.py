"""Writes components/monitoring/rules.yaml: the rules of deploy/prometheus as an object of the Prometheus operator.

python deploy/kubernetes/rules.py
"""

from __future__ import annotations

from pathlib import Path

import yaml

_HERE = Path(__file__).parent
SOURCES = sorted((_HERE.parent / "prometheus").glob("*rules*.yml"))
WRITTEN = _HERE / "components" / "monitoring" / "rules.yaml"

_HEAD = "# Written by deploy/kubernetes/rules.py from deploy/prometheus, which has the reasons.\n"


def manifest() -> str:
    """Returns the object in YAML."""
    groups = [group for source in SOURCES for group in yaml.safe_load(source.read_text())["groups"]]
    metadata = {"name": "nextchar", "labels": {"app.kubernetes.io/name": "nextchar"}}
    rule = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": metadata}
    rule |= {"spec": {"groups": groups}}
    return _HEAD + yaml.safe_dump(rule, sort_keys=False, allow_unicode=True, width=120)


if __name__ == "__main__":
    WRITTEN.write_text(manifest())
