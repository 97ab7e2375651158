"""The words and ranges of a split protocol: for the command that takes them and the record that keeps them."""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

Shape = Literal["consistent", "uniform", "reversed", "middle", "head-tail"]
Unlabelled = Literal["consistent", "uniform", "reversed", "middle", "head-tail", "own"]
Ranks = Literal["permutation", "class-index"]

Natural = Annotated[int, Ge(0)]
Positive = Annotated[int, Ge(1)]
Imbalance = Annotated[float, Ge(1)]
Fraction = Annotated[float, Gt(0), Lt(1)]
