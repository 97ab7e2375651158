"""The encoder that made the features of a run."""
