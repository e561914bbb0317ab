"""Read our alert rules and dashboards: the expressions in them, and the metrics that they ask for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from tests.promtool import RULES

DASHBOARDS = sorted((RULES.parent / "grafana").glob("*.json"))
_METRIC = re.compile(r"\b(?:mailroom|process|python)_\w+")
_STRING = re.compile(r'"[^"]*"')


def panels(path: Path) -> list[dict[str, Any]]:
    """Return the panels of a dashboard that show something."""
    found: list[dict[str, Any]] = json.loads(path.read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def expressions() -> list[str]:
    """Return each expression of all panels and rules, with values in place of Grafana's variables."""
    asked = [target["expr"] for path in DASHBOARDS for panel in panels(path) for target in panel["targets"]]
    rules = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    return [each.replace("$__rate_interval", "5m").replace("$tenant", "Acme") for each in (*asked, *rules)]


def metrics_asked_for() -> set[str]:
    """Return the names of all metrics that a panel, a variable of a dashboard or a rule asks for."""
    variables = [
        variable["query"]["query"]
        for path in DASHBOARDS
        for variable in json.loads(path.read_text())["templating"]["list"]
        if variable["type"] == "query"
    ]
    return {name for each in (*expressions(), *variables) for name in _METRIC.findall(_STRING.sub("", each))}
