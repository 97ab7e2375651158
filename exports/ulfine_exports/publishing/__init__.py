"""Folders for the Hub and for Triton."""
