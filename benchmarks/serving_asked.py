"""A running server and a way to ask it, once it has given the right answer; and what came of asking."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.peers.onnx_classifier import OnnxClassifier
from benchmarks.serving_load import Load, ask
from benchmarks.serving_peers import MODEL, Server, models_in
from benchmarks.serving_process import ServerProcess, free_port
from benchmarks.serving_requests import Answer, Request, make_picture
from training.errors import UserError

WARM_UP_SECONDS = 1


@dataclass
class Asked:
    """A row of the table."""

    name: str
    process: ServerProcess
    request: Request
    loads: dict[int, list[Load]] = field(default_factory=dict)
    """By the number of connections, one a round."""

    def ask(self, connections: int, seconds: int) -> Load:
        """Load the server, which runs meanwhile alone. Raises UserError where it answers nothing."""
        self.process.resume()
        try:
            ask(self.process.port, self.request, connections, WARM_UP_SECONDS)
            load = ask(self.process.port, self.request, connections, seconds)
        finally:
            self.process.halt()
        if not load.rate:
            raise UserError(f"{self.name} gave no good answer in {seconds} s over {connections} connections.")
        self.loads.setdefault(connections, []).append(load)
        return load


def start(server: Server, python: str, given: Mapping[str, str], log: Path, until_the_end: ExitStack) -> list[Asked]:
    """A server that is ready, answers rightly, and is halted; with the variables `given`.

    Raises UserError where it does not.
    """
    port = free_port()
    models = models_in(log.parent)
    command = [python, *(part.format(port=port, models=models) for part in server.command)]
    process = until_the_end.enter_context(ServerProcess(command, port, server.ready, given, log))
    process.wait_until_ready()
    asked = [Asked(name, process, request) for name, request in server.asked.items()]
    for each in asked:
        check(each)
    process.halt()
    return asked


def check(asked: Asked) -> None:
    """Raises UserError where an answer is not onnxruntime's own, to float32's rounding."""
    request = asked.request
    headers = {"Content-Type": request.content_type}
    url = f"http://127.0.0.1:{asked.process.port}{request.path}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, request.body, headers), timeout=30) as answer:
            found = request.read(json.load(answer))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{asked.name} does not answer as expected: {error!r}") from error
    expected = _expected()
    if len(found) != request.pictures:
        raise UserError(f"{asked.name} answers {len(found)} pictures, not {request.pictures}.")
    for each in found:
        if each.label != expected.label or not np.allclose(each.probabilities, expected.probabilities, atol=1e-5):
            raise UserError(f"{asked.name} answers {each}, where onnxruntime says {expected}.")


def _expected() -> Answer:
    classifier = OnnxClassifier(str(MODEL), 1)
    answer = classifier.classify(classifier.decode(make_picture())[None])[0]
    return Answer(answer["label"], list(answer["probabilities"].values()))
