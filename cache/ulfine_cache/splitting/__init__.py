"""Protocols, presets, draws, and the file of a split."""
