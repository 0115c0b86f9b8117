"""The Open Inference Protocol, version 2, over HTTP: everything below /v2, as KServe and NVIDIA Triton speak it."""
