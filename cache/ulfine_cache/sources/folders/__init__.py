"""Folders whose names are classes and sets."""
