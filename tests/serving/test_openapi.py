"""The OpenAPI description is kept: schemathesis asks for everything in it, rightly and wrongly."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.bundles import color_bundle, publish
from tests.serving.running_server import REPOSITORY, Server, StartServer

KEY = "first-key-0123"


CONFIGURATION = REPOSITORY / "schemathesis.toml"


def run_schemathesis(server: Server, *arguments: str, configuration: Path = CONFIGURATION) -> None:
    """Fails with what schemathesis found."""
    program = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration)]
    found = subprocess.run(
        [*program, "run", f"{server.url}/openapi.json", "--no-color", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "Traceback" not in server.log


@pytest.mark.parametrize("phases", ["examples,coverage", "fuzzing,stateful"])
def test_schemathesis_finds_nothing(server: Server, phases: str) -> None:
    run_schemathesis(server, "--phases", phases, "--max-examples", "15")


def test_schemathesis_finds_nothing_where_keys_are_asked_for(
    start_server: StartServer, models: Path, tmp_path: Path
) -> None:
    publish(models, 1, color_bundle())
    server = start_server("--api-key", KEY, "--protect-metrics")
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(f'{CONFIGURATION.read_text()}\n[auth.openapi.header]\napi_key = "{KEY}"\n')
    run_schemathesis(server, "--phases", "examples,coverage", configuration=configuration)


def test_what_needs_a_key_says_so(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    document = start_server("--api-key", KEY).get("/openapi.json").json()
    assert document["components"]["securitySchemes"].keys() == {"bearer", "header"}
    predict = document["paths"]["/predict"]["post"]
    assert predict["security"] == [{"bearer": []}, {"header": []}]
    assert "application/problem+json" in predict["responses"]["401"]["content"]
    assert "security" not in document["paths"]["/healthz"]["get"]
