"""The model that shows whether CUDA works, where there is none: on the CPU."""

import numpy as np
import onnx
import onnxruntime

from serving.providers import CPU, PROBE_MODEL


def test_the_probe_is_a_convolution_that_hands_its_input_on() -> None:
    onnx.checker.check_model(PROBE_MODEL, full_check=True)
    session = onnxruntime.InferenceSession(PROBE_MODEL, providers=[CPU])
    (found,) = session.run(["y"], {"x": np.full((1, 1, 1, 1), 7, np.float32)})
    assert found.item() == 7
