"""`lp-la`: the linear probe that starts from the text prototypes and is trained with logit adjustment."""

from typing import Literal

from pydantic import Field

from ulfine_fast.gradient.heads import LinearHeadSettings, build, train_heads
from ulfine_fast.method import Method, unadjusted_prior


class LogitAdjustedProbeSettings(LinearHeadSettings):
    """Settings of `lp-la`: those of `LinearHeadSettings` with what LIFT trains its head by (Shi et al., ICML 2024).

    As there the optimiser is stochastic gradient descent. AdamW steps equally far for a class of two rows as for one of
    sixteen and so fits the rows of the rare ones by heart: on left-over pool rows it loses 5 points of tail accuracy.
    `tau` is LIFT's 1 and half of it more, which is worth 4 points of tail accuracy there and costs nothing in the mean;
    `scale` is 30 instead of 25, which is better calibrated and as accurate.
    """

    optimiser: Literal["adamw", "sgd"] = "sgd"
    learning_rate: float = Field(default=0.02, gt=0)
    batch_size: int = Field(default=32, ge=1)
    tau: float = Field(default=1.5, ge=0)
    scale: float = Field(default=30.0, gt=0)
    cosine: bool = True
    initial: Literal["text", "zero"] = "text"


METHOD = Method(
    name="lp-la",
    settings=LogitAdjustedProbeSettings,
    fit_seeds=train_heads,
    build=build,
    prior_power=unadjusted_prior,
    shared=True,
)
