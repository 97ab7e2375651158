"""The `ulfine` command line."""
