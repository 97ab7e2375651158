"""`lft`: lightweight fine-tuning on cached features, a residual adapter and a cosine head, plain cross-entropy."""

from typing import Literal

from pydantic import Field

from ulfine_fast.gradient.heads import LinearHeadConfig, build, fit, train_heads
from ulfine_fast.method import Method, unadjusted_prior


class LightweightFineTuningConfig(LinearHeadConfig):
    """Settings of `lft`: those of `LinearHeadConfig` with an adapter. `tau=1` makes it LIFT's recipe on features.

    Attributes:
        adapter_width: Bottleneck of the residual adapter.
    """

    cosine: bool = True
    initial: Literal["text", "zero"] = "text"
    adapter_width: int = Field(default=64, ge=0)


METHOD = Method(
    name="lft",
    config=LightweightFineTuningConfig,
    fit=fit,
    fit_seeds=train_heads,
    build=build,
    prior_power=unadjusted_prior,
)
