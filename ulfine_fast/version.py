"""The version of all four packages, which are one distribution. Nothing else is here, so anyone may import it."""

__version__ = "0.1.0"
