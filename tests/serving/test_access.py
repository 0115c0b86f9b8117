"""API keys, and what answers tell browsers."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.api_keys import read_keys
from serving.settings import Settings, UsageError, parse_settings
from tests.chromium import chromium
from tests.serving.bundles import color_bundle, publish
from tests.serving.pictures import RED
from tests.serving.running_server import Server, StartServer, run_serving, start
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


def test_the_log_says_who_may_ask(start_server: StartServer, closed: Server) -> None:
    assert "INFO    Predictions need an API key; keys known: 2." in closed.log
    open_to_all = start_server("--host", "0.0.0.0")
    assert "WARNING Predictions need no API key, and others may reach 0.0.0.0;" in open_to_all.log
    several = start_server("--host", "0.0.0.0", "--workers", "2", "--api-key", KEY)
    assert several.log.count("Predictions need") == several.log.count("keys known: 1.") == 1
    assert KEY not in several.log


@pytest.fixture(scope="module")
def discreet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that tells of its models and its requests to those alone who show a key."""
    folder = tmp_path_factory.mktemp("serving")
    publish(folder / "models", 1, color_bundle())
    server = start(folder / "models", folder / "server.log", ("--protect-metrics", "--api-key", KEY), {})
    yield server
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/metrics"),
        ("GET", "/models"),
        ("GET", "/models/cifar10"),
        ("GET", "/models/cifar10/1"),
        ("GET", "/v2/models/cifar10"),
        ("GET", "/v2/models/cifar10/versions/1/config"),
        ("POST", "/v2/repository/index"),
    ],
)
def test_metrics_and_models_can_be_closed_too(discreet: Server, method: str, path: str) -> None:
    refused = discreet.client.request(method, discreet.url + path)
    assert refused.status_code == 401
    assert "needs an API key" in refused.text
    assert discreet.client.request(method, discreet.url + path, headers={"X-API-Key": KEY}).status_code == 200
    assert discreet.client.request(method, f"{discreet.url}{path}%0A").status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v2/health/ready", "/v2/models/cifar10/versions/1/ready"])
def test_probes_are_never_closed(discreet: Server, path: str) -> None:
    assert discreet.get(path).status_code == 200


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


def preflight(
    server: Server, path: str, origin: str, method: str = "POST", headers: str = "x-api-key"
) -> httpx.Response:
    """What a browser asks before it sends a page's request with a key; it shows none itself."""
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return server.client.options(server.url + path, headers={"Origin": origin, **asked})


def test_pages_of_the_named_origins_may_ask(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    named, stranger = "https://example.org", "https://example.com"
    server = start_server("--cors-origins", f"http://localhost:5173,{named}", "--api-key", KEY)
    allowed = preflight(server, "/predict", named, headers="content-type, x-api-key, x-request-id, traceparent")
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == named
    assert "POST" in allowed.headers["access-control-allow-methods"]
    for answer, status in (
        (server.post(RED, X_API_Key=KEY, Origin=named), 200),
        (server.post(RED, Origin=named), 401),
        (server.post(b"x", X_API_Key=KEY, Origin=named), 422),
        (server.get("/nowhere", headers={"Origin": named}), 404),
        (server.get("/metrics", headers={"Origin": named}), 200),
    ):
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == named
        assert "Origin" in answer.headers["vary"]
        exposed = answer.headers["access-control-expose-headers"]
        assert {"X-Request-ID", "Server-Timing", "Retry-After"} <= set(exposed.split(", "))
        assert "access-control-allow-credentials" not in answer.headers
    refused = preflight(server, "/predict", stranger)
    assert problem(refused, 400) == "Disallowed CORS origin."
    assert "access-control-allow-origin" not in refused.headers
    assert problem(preflight(server, "/predict", named, "DELETE"), 400) == "Disallowed CORS method."
    unread = server.post(RED, X_API_Key=KEY, Origin=stranger)
    assert unread.status_code == 200
    assert "access-control-allow-origin" not in unread.headers


def test_pages_of_every_origin_may_ask_where_that_is_set(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server(SERVING_CORS_ORIGINS="*")
    assert preflight(server, "/predict", "null").status_code == 200
    assert server.post(RED, Origin="https://example.org").headers["access-control-allow-origin"] == "*"


def test_no_page_of_another_origin_may_ask_unless_that_is_set(server: Server) -> None:
    refused = preflight(server, "/predict", "https://example.org")
    problem(refused, 405)
    assert not [name for name in refused.headers if name.startswith("access-control-")]


ASK = """async ([url, key]) => {
  const headers = { "Content-Type": "image/png", ...(key && { "X-API-Key": key }) };
  const answer = await fetch(url, { method: "POST", body: new Uint8Array(8), headers });
  return [answer.status, (await answer.json()).title, answer.headers.get("X-Request-ID")];
}"""


def test_a_browser_lets_a_page_of_another_origin_read_the_answers(
    start_server: StartServer, models: Path, server: Server
) -> None:
    publish(models, 1, color_bundle())
    closed = start_server("--cors-origins", server.url, "--api-key", KEY)
    with chromium() as browser:
        # The page's own Content-Security-Policy would not let it ask elsewhere.
        page = browser.new_context(bypass_csp=True).new_page()
        page.goto(server.url)
        status, title, request_id = page.evaluate(ASK, [f"{closed.url}/predict", KEY])
        assert (status, title) == (422, "The upload is no intact picture")
        assert len(request_id) == 32
        assert page.evaluate(ASK, [f"{closed.url}/predict", ""])[0] == 401
        page.goto(closed.url)
        with pytest.raises(Exception, match="Failed to fetch"):
            page.evaluate(ASK, [f"{server.url}/predict", ""])
