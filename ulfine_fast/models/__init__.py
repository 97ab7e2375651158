"""Fitted classifiers: features in, logits out."""
