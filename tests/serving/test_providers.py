"""What is computed with, where there is no GPU."""

import logging

import numpy as np
import onnx
import onnxruntime
import pytest

from serving import server
from serving.providers import CPU, PROBE_MODEL, Provider


def test_the_probe_is_a_convolution_that_hands_its_input_on() -> None:
    onnx.checker.check_model(PROBE_MODEL, full_check=True)
    session = onnxruntime.InferenceSession(PROBE_MODEL, providers=[CPU])
    (found,) = session.run(["y"], {"x": np.full((1, 1, 1, 1), 7, np.float32)})
    assert found.item() == 7


@pytest.mark.parametrize(("has_gpu", "level"), [(True, "WARNING"), (False, "INFO")])
def test_a_gpu_that_cannot_be_used_is_warned_of(
    has_gpu: bool, level: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "choose_provider", lambda: (Provider(CPU), "a library is missing"))
    monkeypatch.setattr(server, "has_gpu", lambda: has_gpu)
    with caplog.at_level(logging.INFO):
        assert server._provider(require_cuda=False) == Provider(CPU)
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert told == [(level, f"Inference with {CPU} (a library is missing)")]
