"""onnxruntime sessions and what they read."""
