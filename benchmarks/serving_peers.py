"""The servers that are compared: what each needs, how it is started, how it is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks import machine
from benchmarks.peers.onnx_classifier import MODEL_VARIABLE, THREADS_VARIABLE
from benchmarks.serving_requests import Request, form, listed, open_inference, raw
from training.errors import UserError

# The tutorial's network, of the two that ship the one that takes a server's own time to notice.
MODEL = Path("models") / "cifar10" / "1" / "model.onnx"
MAX_BATCH = 32
OURS = "ours"
# What pip installs, each peer into an environment of its own, since some want other versions than ours.
PEERS: Mapping[str, str] = {
    "fastapi": "fastapi",
    "litserve": "litserve==0.2.19",
    "bentoml": "bentoml==1.4.39 uvloop",  # which uvicorn takes where it is there
    "mlserver": "mlserver==1.7.1 'uvloop<0.22'",  # with a newer one its parallel workers do not start
}
# What the peers' programs need, and what makes uvicorn quicker, in the versions that we have.
SHARED = ("onnxruntime-gpu", "pillow", "python-multipart", "uvicorn", "httptools")


@dataclass(frozen=True)
class Server:
    """One to be started. `command` lacks the Python, in which `{port}` stands for the port."""

    peer: str
    command: tuple[str, ...]
    ready: str
    asked: Mapping[str, Request]
    """By the name of a row."""


def servers(peer: str, processes: int, picture: bytes) -> list[Server]:
    """All of one peer's, each with so many processes."""
    return _LISTS[peer](processes, picture)


def models_in(folder: Path) -> Path:
    """A folder of models with nothing in it but MODEL, for servers that choose the newest version by themselves."""
    models = folder / "models"
    copy = models / MODEL.relative_to("models")
    if not copy.exists():
        copy.parent.mkdir(parents=True)
        shutil.copyfile(MODEL, copy)
    return models


def variables(processes: int, threads: int | None = None) -> dict[str, str]:
    """What the peers' programs read. `threads`, of one process in onnxruntime: by default its share of the cores."""
    return {
        MODEL_VARIABLE: str(MODEL),
        THREADS_VARIABLE: str(threads or max(1, machine.cores() // processes)),
        "BENCHMARK_PROCESSES": str(processes),
        "BENTOML_DO_NOT_TRACK": "True",
    }


def versions(peer: str, python: str) -> str:
    """What is installed there, for the list below the table. Raises UserError where something is missing."""
    names = [PEERS[peer].split("==")[0], *SHARED]
    ask = "import sys; from importlib.metadata import version; [print(name, version(name)) for name in sys.argv[1:]]"
    try:
        done = subprocess.run([python, "-c", ask, *names], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        wanted = " ".join([PEERS[peer], *(f"{name}=={version(name)}" for name in SHARED)])
        raise UserError(
            f"{python} has not all it needs; pip install {wanted} in an environment of its own and give its Python as "
            f"--peer {peer}=PYTHON."
        ) from error
    return ", ".join(done.stdout.splitlines())


def _ours(processes: int, picture: bytes) -> list[Server]:
    flags = ["--models-dir", "{models}", "--port", "{port}", "--log-level", "warning"]
    flags += ["--workers", str(processes)] if processes > 1 else []
    asked = {"ours, raw body": raw("/predict", picture), "ours, form": form("/predict", picture)}
    return [Server(OURS, ("-m", "serving", *flags), "/readyz", asked)]


def _fastapi(processes: int, picture: bytes) -> list[Server]:
    asked = {
        "plain FastAPI, raw body": raw("/predict/body", picture),
        "plain FastAPI, form": form("/predict", picture),
    }
    return [Server("fastapi", _program("plain_fastapi", processes), "/ready", asked)]


def _litserve(processes: int, picture: bytes) -> list[Server]:
    names = {1: "LitServe, form", MAX_BATCH: "LitServe, batching, form"}
    return [
        Server("litserve", _program("litserve_server", processes, size), "/health", {name: form("/predict", picture)})
        for size, name in names.items()
    ]


def _bentoml(processes: int, picture: bytes) -> list[Server]:  # noqa: ARG001
    asked = {
        "BentoML, raw body": raw("/predict/body", picture),
        "BentoML, form": form("/predict", picture),
        "BentoML, batching, form": form("/predict/batched", picture, "files", listed),
    }
    service = "benchmarks.peers.bentoml_server:PictureService"
    command = ("-m", "bentoml", "serve", service, "--host", "127.0.0.1", "--port", "{port}")
    return [Server("bentoml", command, "/readyz", asked)]


def _mlserver(processes: int, picture: bytes) -> list[Server]:
    infer = open_inference("/v2/models/cifar10/infer", picture)
    lone = {"MLServer, raw body": raw("/predict", picture)} if processes == 1 else {"MLServer, protocol v2": infer}
    asked = {1: lone, MAX_BATCH: {"MLServer, batching, protocol v2": infer}}
    return [
        Server("mlserver", _program("mlserver_server", processes, size), "/v2/models/cifar10/ready", each)
        for size, each in asked.items()
    ]


def _program(name: str, *arguments: int) -> tuple[str, ...]:
    return ("-m", f"benchmarks.peers.{name}", "{port}", *map(str, arguments))


_LISTS = {OURS: _ours, "fastapi": _fastapi, "litserve": _litserve, "bentoml": _bentoml, "mlserver": _mlserver}


def pythons(given: Sequence[str]) -> dict[str, str]:
    """Each server's Python, from "NAME=PYTHON"; this one where none is given. Raises UserError."""
    found = dict.fromkeys((OURS, *PEERS), sys.executable)
    for each in given:
        name, _, python = each.partition("=")
        if name not in PEERS or not python:
            raise UserError(f"--peer {each} is not NAME=PYTHON with a name of {', '.join(PEERS)}.")
        found[name] = os.path.expanduser(python)
    return found
