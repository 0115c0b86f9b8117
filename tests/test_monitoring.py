"""What is in deploy/monitoring, against a real server and, where it is installed, a real Prometheus."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.serving_process import free_port
from tests.serving.bundles import brightness_bundle, color_bundle, metadata, publish
from tests.serving.pictures import BLUE, GREEN, RED, encode, flat
from tests.serving.running_server import REPOSITORY, Server, start

MONITORING = REPOSITORY / "deploy" / "monitoring"
PROMETHEUS = MONITORING / "prometheus"
GRAFANA = MONITORING / "grafana"


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


CONFIGURATION = read_yaml(PROMETHEUS / "prometheus.yml")
ALERTS = [rule for group in read_yaml(PROMETHEUS / "alerts.yml")["groups"] for rule in group["rules"]]
(DATASOURCE,) = read_yaml(GRAFANA / "datasources" / "prometheus.yml")["datasources"]
(PROVIDER,) = read_yaml(GRAFANA / "dashboards" / "provider.yml")["providers"]
DASHBOARD = json.loads((GRAFANA / "dashboards" / "serving.json").read_text())
VARIABLES = DASHBOARD["templating"]["list"]
COMPOSE = read_yaml(REPOSITORY / "docker-compose.yml")["services"]

PANEL_QUERIES = [
    (panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", [])
]
ANNOTATIONS = DASHBOARD["annotations"]["list"]
ANNOTATION_QUERIES = [(annotation["name"], annotation["target"]["expr"]) for annotation in ANNOTATIONS]
QUERIES = PANEL_QUERIES + ANNOTATION_QUERIES + [(rule["alert"], rule["expr"]) for rule in ALERTS]

# What Prometheus makes itself.
OF_PROMETHEUS = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate", "severity"}}
OF_A_SCRAPE = {"job", "instance"}
KEYWORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "offset", "bool"}
SECONDS = 20
MANY = tuple(f"class {number}" for number in range(30))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has answered, and refused, pictures and versions of every kind."""
    folder = tmp_path_factory.mktemp("monitored")
    publish(folder / "models", 1, color_bundle())
    publish(folder / "models", 2, b"not a model")
    publish(folder / "models", 1, brightness_bundle(metadata(MANY)), name="many")
    server = start(folder / "models", folder / "server.log", (), {})
    server.wait_for(lambda: server.get("/models/many").status_code == 200)
    send_pictures(server)
    yield server
    assert server.stop() == 0


def send_pictures(server: Server) -> None:
    for picture in (RED, GREEN, BLUE):
        assert server.post(picture).status_code == 200
    assert server.post(b"not a picture").status_code == 422
    for number in range(len(MANY)):
        grey = encode(flat(3 * (round(255 * number / (len(MANY) - 1)),)))
        answer = server.client.post(f"{server.url}/predict?model=many&top=1", content=grey)
        assert answer.json()["label"] == MANY[number]


@pytest.fixture(scope="module")
def exposed(server: Server) -> dict[str, set[str]]:
    """Every sample's name that /metrics has, and its labels."""
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(server.get("/metrics").text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def names_in(query: str) -> set[str]:
    """The metrics that a query asks for: what is neither quoted, nor a label, nor called, nor a keyword."""
    bare = re.sub(r'"[^"]*"', "", query)
    bare = re.sub(r"\{[^}]*}|\[[^]]*]|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    names = re.findall(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()", re.sub(r"\boffset\s+\w+", "", bare))
    return set(names) - KEYWORDS


def labels_in(query: str) -> set[str]:
    """The labels that a query groups by or matches on."""
    bare = re.sub(r'"[^"]*"', "", query)
    grouped = re.findall(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)", bare)
    matched = re.findall(r"\{([^}]*)}", bare)
    return set(re.findall(r"\b[a-zA-Z_]\w*\b", " ".join(grouped + matched)))


@pytest.mark.parametrize(("title", "query"), QUERIES, ids=[title for title, _ in QUERIES])
def test_the_server_exposes_what_is_asked_for(title: str, query: str, exposed: dict[str, set[str]]) -> None:
    known = exposed | OF_PROMETHEUS
    names = names_in(query)
    assert names, f"{title}: no metric was found in {query}"
    assert names <= known.keys()
    if names != {"ALERTS"}:  # an alert has the labels of what it is about
        assert labels_in(query) <= OF_A_SCRAPE.union(*(known[name] for name in names))


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: str(variable["name"]))
def test_a_variable_offers_values_that_exist(variable: dict[str, Any], exposed: dict[str, set[str]]) -> None:
    match = re.fullmatch(r"label_values\((\w+)(?:\{.*})?, (\w+)\)", variable["query"]["query"])
    assert match
    assert match[2] in exposed[match[1]] | OF_A_SCRAPE
    assert variable["query"]["query"] == variable["definition"]


def test_a_rate_has_samples_enough() -> None:
    """Grafana's $__rate_interval is four times the data source's interval."""
    assert DATASOURCE["jsonData"]["timeInterval"] == CONFIGURATION["global"]["scrape_interval"]


def test_compose_puts_the_files_where_they_are_looked_for() -> None:
    services = {"prometheus": COMPOSE["prometheus"], "grafana": COMPOSE["grafana"]}
    mounts = {
        target: REPOSITORY / source
        for service in services.values()
        for source, target, *_ in (volume.split(":") for volume in service["volumes"])
    }
    (given,) = (flag for flag in COMPOSE["prometheus"]["command"] if flag.startswith("--config.file="))
    file = Path(given.partition("=")[2])
    assert (mounts[str(file.parent)] / file.name).samefile(PROMETHEUS / "prometheus.yml")
    home = Path(COMPOSE["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (mounts[str(home.parent)] / home.name).samefile(GRAFANA / "dashboards" / "serving.json")
    assert mounts[PROVIDER["options"]["path"]].samefile(GRAFANA / "dashboards")
    # Where Grafana looks for provisioning.
    assert mounts["/etc/grafana/provisioning/dashboards"].samefile(GRAFANA / "dashboards")
    assert mounts["/etc/grafana/provisioning/datasources"].samefile(GRAFANA / "datasources")


def test_names_and_ports_are_those_of_compose() -> None:
    (job,) = CONFIGURATION["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    for address in (target, DATASOURCE["url"].removeprefix("http://")):
        service, port = address.split(":")
        assert COMPOSE[service]["ports"][0].endswith(f":{port}")
    down = next(rule for rule in ALERTS if rule["alert"] == "ServerDown")
    assert f'job="{job["job_name"]}"' in down["expr"]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_an_alert_waits_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"\d+m", rule["for"])
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"].endswith(".")
    assert len(rule["annotations"]["description"].split(". ")) >= 2


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_an_alert_is_tried(rule: dict[str, Any]) -> None:
    cases = [case for test in read_yaml(PROMETHEUS / "alerts_test.yml")["tests"] for case in test["promql_expr_test"]]
    fired = [sample["labels"] for case in cases for sample in case["exp_samples"]]
    assert any(f'alertname="{rule["alert"]}", alertstate="firing"' in labels for labels in fired)


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name}: install Debian's package prometheus")
    return path


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
    ids=" ".join,
)
def test_promtool_finds_nothing(arguments: tuple[str, ...]) -> None:
    checked = subprocess.run(
        [program("promtool"), *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "WARNING" not in checked.stdout


@pytest.fixture(scope="module")
def prometheus(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A Prometheus with our rules that scrapes the server four times a second, and has seen its numbers grow."""
    folder = tmp_path_factory.mktemp("prometheus")
    (job,) = CONFIGURATION["scrape_configs"]
    quick = CONFIGURATION | {
        "global": {"scrape_interval": "250ms", "evaluation_interval": "250ms"},
        "scrape_configs": [job | {"static_configs": [{"targets": [f"127.0.0.1:{server.port}"]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(quick))
    for name in ("alerts.yml", "alertmanagers.yml"):
        shutil.copy(PROMETHEUS / name, folder / name)
    address = f"127.0.0.1:{free_port()}"
    command = [program("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], cwd=folder, stderr=log)
    with httpx.Client(base_url=f"http://{address}/api/v1") as client:
        try:
            wait_for_samples(client, 1)
            send_pictures(server)
            wait_for_samples(client, 3)
            yield client
        finally:
            process.terminate()
            assert process.wait(SECONDS) == 0, (folder / "log").read_text()


def wait_for_samples(client: httpx.Client, more: int) -> None:
    """Wait until the server has been read that many times more."""
    wanted, deadline = scrapes(client) + more, time.monotonic() + SECONDS
    while scrapes(client) < wanted:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def scrapes(client: httpx.Client) -> int:
    try:
        found = client.get("/query", params={"query": "count_over_time(up[1h])"}).json()["data"]["result"]
    except (httpx.TransportError, ValueError):  # it starts
        return 0
    return int(found[0]["value"][1]) if found else 0


@pytest.mark.parametrize(("title", "query"), PANEL_QUERIES, ids=[title for title, _ in PANEL_QUERIES])
def test_a_panel_has_something_to_show(title: str, query: str, prometheus: httpx.Client) -> None:
    found = asked(query, prometheus)
    assert found, title
    assert all(sample["value"][1] not in ("NaN", "+Inf") for sample in found)


def asked(query: str, prometheus: httpx.Client) -> list[Any]:
    """Grafana puts values for the variables: here all models and instances, and the last minute and hour."""
    values = {"$__rate_interval": "1m", "$__range": "1h", "$model": ".*", "$instance": ".*"}
    for variable, value in values.items():
        query = query.replace(variable, value)
    answer = prometheus.get("/query", params={"query": query}).json()
    assert answer["status"] == "success", answer
    return list(answer["data"]["result"])


@pytest.mark.parametrize("title", ["Classes", "Accuracy of each class"])
def test_of_many_classes_a_panel_shows_twenty(title: str, prometheus: httpx.Client) -> None:
    (query,) = (query for name, query in PANEL_QUERIES if name == title)
    labels = [sample["metric"]["label"] for sample in asked(query, prometheus)]
    assert len(set(labels)) == 20


def test_prometheus_evaluates_every_alert(prometheus: httpx.Client) -> None:
    (group,) = prometheus.get("/rules").json()["data"]["groups"]
    assert {rule["name"]: (rule["health"], rule.get("lastError")) for rule in group["rules"]} == {
        rule["alert"]: ("ok", None) for rule in ALERTS
    }
    pending = prometheus.get("/alerts").json()["data"]["alerts"]
    assert [alert["annotations"]["summary"].partition(" ")[2] for alert in pending] == ["refuses version 2 of cifar10."]
