"""Files of weights: read safely, found in any layout, fitted to a model, and what lies beside them."""
