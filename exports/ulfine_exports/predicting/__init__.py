"""What `predict` predicts with, and on what."""
