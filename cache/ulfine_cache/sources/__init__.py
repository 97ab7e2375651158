"""Where images, and features made elsewhere, come from: read `source.py` first."""
