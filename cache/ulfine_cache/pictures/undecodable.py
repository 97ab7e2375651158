"""The one error of all files that give no picture."""

from ulfine_cache.errors import UlfineError


class UndecodableImage(UlfineError):
    """An image file that gives no picture; the message is the reason alone, without the file's name."""
