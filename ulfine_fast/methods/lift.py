"""`lift`: the adapter and cosine head of `lft`, trained with logit adjustment: LIFT on cached features.

LIFT's results are those of its test-time ensembling, see `ulfine_fast.judging.five_crops`.
"""

from pydantic import Field

from ulfine_fast.gradient.heads import build, train_heads
from ulfine_fast.method import Method, unadjusted_prior
from ulfine_fast.methods.lft import LightweightFineTuningSettings


class LiftSettings(LightweightFineTuningSettings):
    """Settings of `lift` (Shi et al., Long-tail learning with foundation model, ICML 2024, on frozen features).

    The published rate is 0.01 of stochastic gradient descent and `tau` is 1. Here AdamW moves the adapter at 3e-4, a
    third of the rate of `lft`, in batches of 32, and `tau` is 1.5, chosen on left-over pool rows.
    """

    learning_rate: float = Field(default=3e-4, gt=0)
    batch_size: int = Field(default=32, ge=1)
    tau: float = Field(default=1.5, ge=0)


METHOD = Method(
    name="lift",
    settings=LiftSettings,
    fit_seeds=train_heads,
    build=build,
    prior_power=unadjusted_prior,
    shared=True,
)
