"""`lp-la`: the linear probe that starts from the text prototypes and is trained with logit adjustment."""

from typing import Literal

from pydantic import Field

from ulfine_fast.gradient.heads import LinearHeadSettings, build, train_heads
from ulfine_fast.method import Method, unadjusted_prior


class LogitAdjustedProbeSettings(LinearHeadSettings):
    """Settings of `lp-la`: those of `LinearHeadSettings` with what LIFT trains its head by (Shi et al., ICML 2024)."""

    tau: float = Field(default=1.0, ge=0)
    cosine: bool = True
    initial: Literal["text", "zero"] = "text"


METHOD = Method(
    name="lp-la",
    settings=LogitAdjustedProbeSettings,
    fit_seeds=train_heads,
    build=build,
    prior_power=unadjusted_prior,
)
