"""Serves model bundles over HTTP: FastAPI in front, onnxruntime behind. Knows nothing of PyTorch."""
