"""The words of the four questions: for the command, which is read without numpy, and for who answers them."""

from typing import Literal

What = Literal["duplicates", "label-errors", "outliers", "next-to-label"]
