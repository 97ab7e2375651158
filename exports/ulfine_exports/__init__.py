"""What leaves the house: ONNX files and what runs them."""
