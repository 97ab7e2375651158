"""The settings of `ulfine`, which its parts know too."""

from __future__ import annotations

from pydantic import Field

from ulfine_cache.config import StrictConfig

IDENTITY = 1.0
"""The shrinkage that leaves nothing of the covariance."""


class UlfineSettings(StrictConfig):
    """Settings of `ulfine`.

    Attributes:
        adapter: Whether features are adapted by the shared covariance; without it, and where left-out labelled rows
            clearly prefer it, the adapter is the identity.
        shrinkage: How far that covariance is shrunk towards the identity, in (0, 1]; None for what
            `ulfine_fast.closed_form.paf.covariance_shrinkage` says.
        paf: Whether prototypes are fitted to images; without it the anchors that text predicts stay.
        pseudo_count: Images that an anchor is worth.
        anchor_ridge: Penalty of the map from text to anchors.
        dlf: Whether the probe and the raw text take part; without it the fitted prototypes decide alone.
        probe_penalty: Penalty on the probe's distance from the text prototypes, beside the losses of all labelled rows:
            the precision of a Gaussian prior, which weighs less the more rows there are.
        logit_adjustment: Whether the probe's loss is logit-adjusted.
        tau: Strength of that adjustment. Twice what a probe alone would need: the prototypes, which weigh about as much
            in the fusion, lean to the frequent classes, since those of few images stay near their anchors.
        unlabelled: Whether unlabelled rows are used.
        unlabelled_weight: What a pseudo-labelled row counts, relative to a labelled one.
        pseudo_label_temperature: Pseudo-labels are the softmax of the fused logits over this. Below 1 sharpens, as in
            MixMatch (Berthelot et al., NeurIPS 2019, equation 7, T = 0.5).
        rounds: Rounds of EM at most; they end when pseudo-labels stand still.
        folds: Folds of the cross-validation that sets the fusion weights.
    """

    adapter: bool = True
    shrinkage: float | None = Field(default=None, gt=0, le=1)
    paf: bool = True
    pseudo_count: float = Field(default=3.0, gt=0)
    anchor_ridge: float = Field(default=1.0, ge=0)
    dlf: bool = True
    probe_penalty: float = Field(default=12.0, ge=0)
    logit_adjustment: bool = True
    tau: float = Field(default=2.0, ge=0)
    unlabelled: bool = True
    unlabelled_weight: float = Field(default=0.25, ge=0, le=1)
    pseudo_label_temperature: float = Field(default=0.5, gt=0)
    rounds: int = Field(default=8, ge=1)
    folds: int = Field(default=5, ge=2)
