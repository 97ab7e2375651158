"""`lft`: lightweight fine-tuning on cached features, a residual adapter and a cosine head, plain cross-entropy."""

from typing import Literal

from pydantic import Field

from ulfine_fast.gradient.heads import LinearHeadSettings, build, train_heads
from ulfine_fast.method import Method, unadjusted_prior


class LightweightFineTuningSettings(LinearHeadSettings):
    """Settings of `lft`: those of `LinearHeadSettings` with an adapter. `tau=1` makes it `lift`.

    Attributes:
        adapter_width: Bottleneck of the residual adapter.
    """

    cosine: bool = True
    initial: Literal["text", "zero"] = "text"
    adapter_width: int = Field(default=64, ge=0)


METHOD = Method(
    name="lft",
    settings=LightweightFineTuningSettings,
    fit_seeds=train_heads,
    build=build,
    prior_power=unadjusted_prior,
    shared=True,
)
