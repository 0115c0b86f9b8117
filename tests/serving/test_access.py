"""API keys, and what answers tell browsers."""

from pathlib import Path

import pytest

from serving.settings import Settings, UsageError, parse_settings, read_keys
from tests.serving.bundles import color_bundle, publish
from tests.serving.pictures import RED
from tests.serving.running_server import Server, StartServer, run_serving
from tests.serving.test_batching import send
from tests.serving.test_predict import problem

KEY, OTHER = "first-key-0123", "second.key~4567"


@pytest.fixture
def closed(start_server: StartServer, models: Path, tmp_path: Path) -> Server:
    publish(models, 1, color_bundle())
    keys = tmp_path / "keys"
    keys.write_text(f"{OTHER}\n")
    return start_server("--api-key-file", str(keys), SERVING_API_KEY=KEY)


@pytest.mark.parametrize("key", [KEY, OTHER])
def test_any_key_lets_in_in_both_ways(closed: Server, key: str) -> None:
    assert closed.post(RED, Authorization=f"Bearer {key}").status_code == 200
    assert closed.post(RED, Authorization=f"bearer  {key}").status_code == 200
    assert closed.post(RED, X_API_Key=key).status_code == 200


@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"X_API_Key": KEY[:-1]},
        {"X_API_Key": KEY + "x"},
        {"X_API_Key": ""},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": KEY},
        {"Authorization": "Bearer"},
    ],
)
def test_without_a_key_nothing_is_predicted(closed: Server, shown: dict[str, str]) -> None:
    refused = closed.post(RED, **shown)
    assert "API key" in problem(refused, 401)
    assert refused.headers["www-authenticate"] == "Bearer"
    assert KEY not in refused.text
    assert send(closed, ("a", RED)).status_code == 401


def test_probes_metrics_and_the_page_stay_open(closed: Server) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/", "/docs", "/openapi.json"):
        assert closed.get(path).status_code == 200
    assert KEY not in closed.log


def test_metrics_can_be_closed_too(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server("--protect-metrics", "--api-key", KEY)
    assert server.get("/metrics").status_code == 401
    assert server.get("/metrics", headers={"X-API-Key": KEY}).status_code == 200
    assert server.get("/readyz").status_code == 200


def test_keys_that_cannot_be_kept_are_refused_and_never_shown(tmp_path: Path) -> None:
    secret = "geheim geheim"
    said = run_serving("--models-dir", str(tmp_path), "--port", "0", SERVING_API_KEY=secret)
    assert said.returncode == 2
    assert "SERVING_API_KEY must be 8 to 256 letters" in said.stderr
    assert secret not in said.stderr
    for content, sentence in (
        ("", "holds no key"),
        ("short\n", "key 1 in"),
        (b"\xff\xfe", "it is no text"),
        (None, "No such"),
    ):
        path = tmp_path / "keys"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(UsageError, match=sentence):
            read_keys(parse_settings(["--api-key-file", str(path)], {}))
    assert read_keys(Settings()) == frozenset()


def test_answers_tell_browsers_to_stay_inside(server: Server) -> None:
    for answer in (
        server.get("/"),
        server.post(RED),
        server.post(b"x"),
        server.get("/metrics"),
        server.get("/nowhere"),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        assert "access-control-allow-origin" not in answer.headers
    assert "'unsafe-inline'" in server.get("/docs").headers["content-security-policy"]
