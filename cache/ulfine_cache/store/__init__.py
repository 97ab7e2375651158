"""The cache format on disk: read `layout.py` and `cache/README.md` first."""
