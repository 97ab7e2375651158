"""Finds damage in a cache and mends it."""
