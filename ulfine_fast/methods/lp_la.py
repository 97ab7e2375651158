"""`lp-la`: the linear probe that starts from the text prototypes and is trained with logit adjustment."""

from typing import Literal

from pydantic import Field

from ulfine_fast.gradient.heads import LinearHeadConfig, build, fit, train_heads
from ulfine_fast.method import Method, unadjusted_prior


class LogitAdjustedProbeConfig(LinearHeadConfig):
    """Settings of `lp-la`: those of `LinearHeadConfig` with the recipe of LIFT's head (Shi et al., ICML 2024)."""

    tau: float = Field(default=1.0, ge=0)
    cosine: bool = True
    initial: Literal["text", "zero"] = "text"


METHOD = Method(
    name="lp-la",
    config=LogitAdjustedProbeConfig,
    fit=fit,
    fit_seeds=train_heads,
    build=build,
    prior_power=unadjusted_prior,
)
