"""The names of the questions; reading them costs nothing."""

from typing import Literal

What = Literal["duplicates", "label-errors", "outliers", "next-to-label"]
