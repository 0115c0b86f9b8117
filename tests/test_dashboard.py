"""The structure of Grafana's dashboard; tests/test_monitoring.py has its queries answered."""

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

MONITORING = Path(__file__).parent.parent / "deploy" / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana" / "dashboards" / "serving.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
VARIABLES = DASHBOARD["templating"]["list"]
ANNOTATIONS = DASHBOARD["annotations"]["list"]
(DATASOURCE,) = yaml.safe_load((MONITORING / "grafana" / "datasources" / "prometheus.yml").read_text())["datasources"]
UNITS = {"none", "short", "s", "bytes", "reqps", "percentunit"}


def test_variables_are_defined_and_used() -> None:
    queries = [target["expr"] for panel in PANELS for target in panel["targets"]]
    queries += [annotation["target"]["expr"] for annotation in ANNOTATIONS]
    used = {name for query in queries for name in re.findall(r"\$(?!__)(\w+)", query)}
    assert used == {variable["name"] for variable in VARIABLES}


def test_every_panel_can_be_told_from_the_others() -> None:
    for values in ([panel["id"] for panel in DASHBOARD["panels"]], [panel["title"] for panel in DASHBOARD["panels"]]):
        assert [value for value, count in Counter(values).items() if count > 1] == []


def test_panels_do_not_overlap() -> None:
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_a_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    references = [target["refId"] for target in panel["targets"]]
    assert references
    assert len(references) == len(set(references))
    if panel["type"] != "table":
        assert all(target["legendFormat"] for target in panel["targets"])
        for target in panel["targets"]:
            named = set(re.findall(r"\{\{(\w+)}}", target["legendFormat"]))
            kept = ",".join(re.findall(r"\bby \(([^)]*)\)", target["expr"])) or "instance"
            assert named <= set(re.findall(r"\w+", kept))


def test_everything_asks_the_provisioned_data_source() -> None:
    asked = [panel["datasource"] for panel in PANELS]
    asked += [target["datasource"] for panel in PANELS for target in panel["targets"]]
    asked += [item["datasource"] for item in VARIABLES + ANNOTATIONS]
    assert all(source == {"type": DATASOURCE["type"], "uid": DATASOURCE["uid"]} for source in asked)
