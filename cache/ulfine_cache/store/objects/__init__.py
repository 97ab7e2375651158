"""Caches on object storage: their index file, the local copies of what they hold, and how they are written."""
