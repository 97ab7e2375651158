"""Files of a run directory besides the model."""
