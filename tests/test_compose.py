"""What docker-compose.yml and the Dockerfile say, against the tree they are built from. No Docker is needed."""

import fnmatch
import os
import re
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from serving.settings import VARIABLE_PREFIX, Settings
from tests.shipped_model import shipped_versions

REPOSITORY = Path(__file__).parent.parent
DOCKERFILE = REPOSITORY / "deploy" / "Dockerfile"
DECIDED_BY_THE_IMAGE = {"models_dir", "host", "port"}
DECIDED_BY_THE_GPU_FILE = {"require_cuda"}


def compose(name: str) -> Any:
    return yaml.safe_load((REPOSITORY / name).read_text())


COMPOSE = compose("docker-compose.yml")
SERVICES = {name: service for name, service in COMPOSE["services"].items() if "build" in service}
MONITORING = {name: service for name, service in COMPOSE["services"].items() if "build" not in service}
GPU_SERVICES = compose("docker-compose.gpu.yml")["services"]


def stage(name: str) -> str:
    """A stage's instructions and those of the stage it begins with, continued lines joined."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    stages = dict(re.findall(r"^FROM \S+ AS (\w+)\n(.*?)(?=^FROM|\Z)", text, re.DOTALL | re.MULTILINE))
    return f"{stages['base']}\n{stages[name]}"


def copied(name: str) -> list[str]:
    lines = re.findall(r"^COPY (?:--\S+ )*(.+) \S+$", stage(name), re.MULTILINE)
    return [source for line in lines for source in line.split()]


def is_sent(path: str) -> bool:
    """Whether .dockerignore lets a file through: the last line that names it, or a folder around it, decides."""
    pure, sent = PurePosixPath(path), True
    around = [str(pure), *(str(parent) for parent in pure.parents)]
    for line in (REPOSITORY / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        names = [part for whole in around for part in whole.split("/")] if "**/" in line else around
        if line and not line.startswith("#") and any(fnmatch.fnmatchcase(name, pattern) for name in names):
            sent = line.startswith("!")
    return sent


def files_sent(source: str) -> list[str]:
    path = REPOSITORY / source
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return [name for file in files if is_sent(name := file.relative_to(REPOSITORY).as_posix())]


@pytest.mark.parametrize(("service", "source"), [(service, path) for service in SERVICES for path in copied(service)])
def test_what_is_copied_is_there_and_is_sent_to_the_builder(service: str, source: str) -> None:
    assert files_sent(source), f"{service}: nothing of {source} gets through .dockerignore"


@pytest.mark.parametrize(
    ("service", "needed"),
    [
        ("server", "serving/__main__.py"),
        ("server", "serving/web/index.html"),
        *(("server", f"{folder}/model.onnx") for folder in shipped_versions()),
        ("trainer", "training/__main__.py"),
        ("trainer", "training/report/templates/report.html"),
        ("trainer", "scripts/train.sh"),
        *(("trainer", f"{folder}/model.onnx") for folder in shipped_versions()),
    ],
)
def test_an_image_holds_what_its_command_needs(service: str, needed: str) -> None:
    assert needed in [file for source in copied(service) for file in files_sent(source)]


@pytest.mark.parametrize(
    "unwanted",
    [
        "training/__pycache__/loop.cpython-311.pyc",
        "data/x.bin",
        "runs/a/b",
        ".git/x",
        "models/cifar10/99/model.onnx",
        "models/flowers/1/model.onnx",
    ],
)
def test_what_is_no_part_of_an_image_stays_here(unwanted: str) -> None:
    assert not is_sent(unwanted)


@pytest.mark.parametrize("service", SERVICES)
def test_the_image_is_a_stage_and_is_not_run_as_root(service: str) -> None:
    assert SERVICES[service]["build"]["dockerfile"] == "deploy/Dockerfile"
    assert SERVICES[service]["build"]["target"] == service
    assert re.findall(r"^USER (\d+)", stage(service), re.MULTILINE)[-1] != "0"


def test_what_the_trainer_publishes_is_in_the_volume_that_the_server_reads() -> None:
    assert "models:/app/models" in SERVICES["trainer"]["volumes"]
    assert SERVICES["server"]["volumes"] == ["models:/app/models:ro"]
    for service in SERVICES:
        assert "WORKDIR /app\n" in stage(service)
        # A named volume is writable for the user whose directory it hides.
        assert re.search(r"install --directory --owner app --group app .*\bmodels\b", stage(service))


def test_every_setting_of_the_server_can_be_given() -> None:
    given = {name for name in SERVICES["server"]["environment"] if not name.startswith("OTEL_")}  # OpenTelemetry's own
    names = {setting.name for setting in fields(Settings)} - DECIDED_BY_THE_IMAGE - DECIDED_BY_THE_GPU_FILE
    assert given == {VARIABLE_PREFIX + name.upper() for name in names}


def test_docker_waits_longer_than_the_server() -> None:
    assert float(SERVICES["server"]["stop_grace_period"].removesuffix("s")) > Settings().shutdown_timeout


def test_the_gpu_file_reserves_gpus_for_every_service() -> None:
    assert GPU_SERVICES.keys() == SERVICES.keys()
    for service in GPU_SERVICES.values():
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu"]


@pytest.mark.parametrize("service", MONITORING)
def test_monitoring_is_started_only_when_asked_for(service: str) -> None:
    assert MONITORING[service]["profiles"] == ["monitoring"]
    assert set(MONITORING[service].get("depends_on", [])) <= MONITORING.keys()
    assert not any("profiles" in SERVICES[name] for name in SERVICES)


@pytest.mark.parametrize("service", MONITORING)
def test_monitoring_runs_a_fixed_image_that_changes_nothing_of_the_repository(service: str) -> None:
    settings = MONITORING[service]
    assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", settings["image"])
    hardened = COMPOSE["x-hardened"]
    assert {key: settings[key] for key in hardened} == hardened
    volumes = [volume.split(":") for volume in settings["volumes"]]
    mounted = [(source, *options) for source, _, *options in volumes if source.startswith(".")]
    assert mounted
    for source, *options in mounted:
        assert (REPOSITORY / source).is_dir()
        assert options == ["ro"]
    kept = [source for source, *_ in volumes if not source.startswith(".")]
    assert set(kept) <= COMPOSE["volumes"].keys()


@pytest.mark.parametrize("service", ["server", *MONITORING])
def test_a_port_is_open_to_this_machine_alone_unless_somebody_says_otherwise(service: str) -> None:
    for port in COMPOSE["services"][service]["ports"]:
        assert re.fullmatch(r"\$\{[A-Z]+_HOST:-127\.0\.0\.1}:\$\{[A-Z]+_PORT:-(\d+)}:\1", port)


@pytest.mark.parametrize("service", MONITORING)
def test_the_health_check_asks_the_port_that_is_published(service: str) -> None:
    (port,) = MONITORING[service]["ports"]
    assert f"http://127.0.0.1:{port.rsplit(':', 1)[1]}/" in MONITORING[service]["healthcheck"]["test"][-1]


def test_nobody_can_sign_in_to_grafana_and_everybody_only_looks() -> None:
    settings = MONITORING["grafana"]["environment"]
    assert settings["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert settings["GF_AUTH_BASIC_ENABLED"] == "false"
    assert settings["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"
    assert settings["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


@pytest.mark.parametrize("extras", ["train", "serve", GPU_SERVICES["server"]["build"]["args"]["EXTRAS"]])
def test_the_images_install_what_pyproject_names(extras: str) -> None:
    script = [sys.executable, str(REPOSITORY / "deploy" / "extras.py"), extras]
    printed = subprocess.run(script, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout.splitlines()
    assert ("torch" in printed) == (extras == "train")
    assert any(requirement.startswith("onnxruntime-gpu") for requirement in printed)
    assert ("onnxruntime-gpu[cuda,cudnn]" in printed) == ("cuda" in extras)


@pytest.mark.parametrize(
    ("settings", "trained"),
    [
        ({}, "--data cifar10 --recipe tutorial --steps 2000 --run-dir runs/cifar10 --resume"),
        ({"STEPS": "7"}, "--data cifar10 --recipe tutorial --steps 7 --run-dir runs/cifar10 --resume"),
        ({"RECIPE": "fast", "STEPS": ""}, "--data cifar10 --recipe fast --run-dir runs/cifar10-fast --resume"),
        (
            {"RECIPE": "fast", "STEPS": "7"},
            "--data cifar10 --recipe fast --steps 7 --run-dir runs/cifar10-fast --resume",
        ),
        ({"GPUS": "8"}, "--data cifar10 --recipe tutorial --steps 2000 --gpus 8 --run-dir runs/cifar10 --resume"),
    ],
)
def test_the_trainers_command_trains_what_is_set(settings: dict[str, str], trained: str, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    command = ["sh", str(REPOSITORY / "scripts" / "train.sh")]
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"} | settings
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    run_dir = trained.split("--run-dir ")[1].split()[0]
    assert done.stdout.splitlines() == [
        "-m training fetch",
        f"-m training train {trained}",
        f"-m training export --run-dir {run_dir} --models-dir models",
    ]


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [(signal.SIGTERM, {143}), (signal.SIGINT, {130, -signal.SIGINT})],
    ids=["SIGTERM", "SIGINT"],
)
def test_stopping_the_trainers_command_saves_a_checkpoint(
    sent: signal.Signals, statuses: set[int], cifar10_dir: Path, tmp_path: Path
) -> None:
    """The whole group is told, as Ctrl-C and docker-init do it (TINI_KILL_PROCESS_GROUP)."""
    settings = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CIFAR10_DIR": str(cifar10_dir),
        "RUNS_DIR": str(tmp_path / "runs"),
        "MODELS_DIR": str(tmp_path / "models"),
        "STEPS": "1000000",
    }
    with subprocess.Popen(
        ["sh", "scripts/train.sh"],
        cwd=REPOSITORY,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout
        assert any(": step 0, loss = " in line for line in process.stdout)
        os.killpg(process.pid, sent)
        rest = process.stdout.read()
    assert process.returncode in statuses
    assert f"Stopped by {sent.name} after " in rest
    assert list((tmp_path / "runs" / "cifar10" / "checkpoints").glob("checkpoint-*.pt"))
    assert not (tmp_path / "models").exists()
