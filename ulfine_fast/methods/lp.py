"""`lp`: a plain linear probe, cross-entropy from zero weights. The published baseline whose tail suffers."""

from ulfine_fast.gradient.heads import LinearHeadSettings, build, train_heads
from ulfine_fast.method import Method, unadjusted_prior

METHOD = Method(
    name="lp",
    settings=LinearHeadSettings,
    fit_seeds=train_heads,
    build=build,
    prior_power=unadjusted_prior,
    shared=True,
)
