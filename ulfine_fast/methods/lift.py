"""`lift`: the adapter and cosine head of `lft`, trained with logit adjustment: LIFT on cached features.

LIFT's results are those of its test-time ensembling, see `ulfine_fast.judging.five_crops`.
"""

from typing import Literal

from pydantic import Field

from ulfine_fast.gradient.heads import build, train_heads
from ulfine_fast.method import Method, unadjusted_prior
from ulfine_fast.methods.lft import LightweightFineTuningSettings


class LiftSettings(LightweightFineTuningSettings):
    """Settings of `lift` (Shi et al., Long-tail learning with foundation model, ICML 2024, on frozen features).

    Optimiser and rate are the published ones; `tau` is 1 there, and 1.5 here for the reason given in `lp-la`.
    """

    optimiser: Literal["adamw", "sgd"] = "sgd"
    learning_rate: float = Field(default=0.01, gt=0)
    batch_size: int = Field(default=32, ge=1)
    tau: float = Field(default=1.5, ge=0)


METHOD = Method(
    name="lift",
    settings=LiftSettings,
    fit_seeds=train_heads,
    build=build,
    prior_power=unadjusted_prior,
)
