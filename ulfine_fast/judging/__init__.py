"""Figures of a fitted classifier."""
