"""The dashboards for Grafana are sound: whatever a panel asks can be asked, and no panel covers another."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.dashboards import DASHBOARDS, expressions, metrics_asked_for, panels
from tests.promtool import run_promtool

if TYPE_CHECKING:
    from pathlib import Path

each_dashboard = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)


def test_there_is_one_for_all_and_one_for_a_tenant() -> None:
    assert [path.stem for path in DASHBOARDS] == ["overview", "tenant"]


@each_dashboard
def test_no_panel_covers_another(path: Path) -> None:
    places = [panel["gridPos"] for panel in json.loads(path.read_text())["panels"]]
    cells = [
        cell
        for place in places
        for cell in itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        )
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


@each_dashboard
def test_each_panel_has_an_id_a_unit_and_says_what_it_shows(path: Path) -> None:
    ids = [panel["id"] for panel in json.loads(path.read_text())["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels(path):
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


def check(folder: Path, *asked: str) -> str:
    """Return what Prometheus finds wrong with expressions."""
    rules = [{"record": f"asked:{number}", "expr": each} for number, each in enumerate(asked)]
    path = folder / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    ran = run_promtool("check", "rules", path)
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr


def test_prometheus_understands_every_expression(tmp_path: Path) -> None:
    assert check(tmp_path, *expressions()) == ""
    assert "parse error" in check(tmp_path, "max(mailroom_redis_up")


def test_links_lead_to_dashboards_of_ours() -> None:
    documents = [json.loads(path.read_text()) for path in DASHBOARDS]
    links = {link["url"] for document in documents for link in document["links"]}
    assert links == {f"/d/{document['uid']}" for document in documents}


def test_the_metrics_are_found_in_expressions() -> None:
    found = metrics_asked_for()
    assert {"mailroom_door_seconds_bucket", "mailroom_tenant_recent", "process_start_time_seconds"} <= found
    assert not {name for name in found if name.startswith("mailroom_check_") and name != "mailroom_check_ok"}
