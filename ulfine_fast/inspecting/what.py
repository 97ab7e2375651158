"""The words for the questions, which the command line knows without what answering them needs."""

from typing import Literal

What = Literal["duplicates", "label-errors", "outliers", "next-to-label"]
