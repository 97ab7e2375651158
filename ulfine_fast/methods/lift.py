"""`lift`: the adapter and cosine head of `lft`, trained with logit adjustment: LIFT on cached features.

LIFT's results are those of its test-time ensembling, see `ulfine_fast.judging.five_crops`.
"""

from pydantic import Field

from ulfine_fast.gradient.heads import build, train_heads
from ulfine_fast.method import Method, unadjusted_prior
from ulfine_fast.methods.lft import LightweightFineTuningSettings


class LiftSettings(LightweightFineTuningSettings):
    """Settings of `lift` (Shi et al., Long-tail learning with foundation model, ICML 2024, on frozen features)."""

    tau: float = Field(default=1.0, ge=0)


METHOD = Method(
    name="lift",
    settings=LiftSettings,
    fit_seeds=train_heads,
    build=build,
    prior_power=unadjusted_prior,
)
