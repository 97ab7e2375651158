"""PAF in closed form: one prototype per class as the MAP mean of a Gaussian, anchored in text, refined by EM.

The published rule of prototype adaptive fitting (arXiv 2505.05062) moves a text prototype towards the visual mean by a
share that grows with how often the class is predicted. Here that share is the one Bayes' rule gives: with a Gaussian
prior worth `kappa` images around the anchor, `a_k = N_k / (N_k + kappa)`, where `N_k` counts labelled images and the
weighted pseudo-labels. Classes with many images follow them; rare ones stay near their anchor. The closed form, the
anchor and the pseudo-count are this project's decisions.

All functions carry a leading axis of B independent problems (the whole fit and its cross-validation folds), so that one
matrix product serves all of them, and compute in the dtype of the moments.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 4096  # rows whose products are summed in the rows' own precision
TILE = 128  # columns

SAFE_SHRINKAGE = 0.1
"""From here on the covariance has so much of the identity in it that single precision inverts it safely."""

_RAISES = 8


@dataclass(frozen=True)
class Moments:
    """What a Gaussian model with shared covariance needs to know of weighted rows.

    Attributes:
        counts: float (B, C), weight of each class.
        sums: float (B, C, D), weighted sum of each class's features.
        gram: float (B, D, D), weighted sum of outer products over all rows.
    """

    counts: Tensor
    sums: Tensor
    gram: Tensor

    def plus(self, other: Moments, weight: float) -> Moments:
        """These moments and `weight` times others."""
        return Moments(
            self.counts + weight * other.counts,
            self.sums + weight * other.sums,
            torch.add(self.gram, other.gram, alpha=weight),
        )

    def of(self, problem: int) -> Moments:
        """One of the problems, with B = 1."""
        chosen = slice(problem, problem + 1)
        return Moments(self.counts[chosen], self.sums[chosen], self.gram[chosen])


@dataclass(frozen=True)
class Prototypes:
    """Fitted prototypes and the linear classifier they amount to.

    Attributes:
        means: float (B, C, D), the prototypes in feature space.
        anchors: float (B, C, D), where each would be without images.
        covariance: float (B, D, D), shared by the classes, shrunk.
        floor: float (B,), the variance in directions along which no row has any.
        shrinkage: float (B,), how far the covariance is shrunk.
        counts: float (B, C), images behind each prototype; pseudo-labelled ones count as their moments say.
        weight: float (B, C, D) and
        bias: float (B, C): the log-likelihood of class k, up to a term all classes share, is `x . weight_k + bias_k`.
    """

    means: Tensor
    anchors: Tensor
    covariance: Tensor
    floor: Tensor
    shrinkage: Tensor
    counts: Tensor
    weight: Tensor
    bias: Tensor


def class_means(moments: Moments) -> tuple[Tensor, Tensor, Tensor]:
    """Class means, their trust and their centre.

    Returns:
        means (B, C, D); trust (B, C) in [0, 1), `n / (n + 1)`, since the mean of few images is noisy; centre (B, 1, D),
        the mean of the means by trust.
    """
    means = moments.sums / moments.counts.clamp_min(1e-12)[..., None]
    trust = moments.counts / (moments.counts + 1)
    centre = (trust[..., None] * means).sum(1, keepdim=True) / trust.sum(1).clamp_min(1e-12)[:, None, None]
    return means, trust, centre


def text_anchors(text: Tensor | None, moments: Moments, ridge: float) -> Tensor:
    """Predict where the images of each class lie from its text.

    Image and text features of one class lie far apart (the modality gap), so a text prototype is no good centre for
    images. A ridge regression from text to class means carries it over: `m_k = m + b (t_k - t) + (t_k - t) B`, where
    `m` and `t` are the centres of means and texts, `b >= 0` is one number and `B` a matrix penalised by `ridge`.
    Without text every anchor is the centre of the class means.

    Args:
        text: float (C, D) unit text prototypes, or None.
        moments: Of the rows to learn from.
        ridge: Penalty in units of the mean squared length of the centred, trust-weighted texts.

    Returns:
        float (B, C, D).
    """
    means, trust, centre = class_means(moments)
    if text is None:
        return centre.expand_as(means)
    offsets = text - text.mean(0)
    root = trust.sqrt()[..., None]
    predictors = root * offsets
    targets = root * (means - centre)
    slope = (predictors * targets).sum((1, 2)) / (predictors**2).sum((1, 2)).clamp_min(1e-12)
    slope = slope.clamp_min(0)[:, None, None]
    kernel = predictors @ predictors.transpose(1, 2)
    unit = kernel.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12)
    penalty = ridge * unit[:, None, None] * torch.eye(kernel.shape[-1], dtype=kernel.dtype, device=kernel.device)
    coefficients = torch.linalg.solve(kernel + penalty, targets - slope * predictors)
    # The texts' inner products are at hand: `offsets @ predictors^T` is the kernel without one of its roots.
    return centre + slope * offsets + (offsets @ predictors.transpose(1, 2)) @ coefficients


def movement_rates(counts: Tensor, pseudo_count: float) -> Tensor:
    """How far each prototype leaves its anchor, `a_k = N_k / (N_k + kappa)`, in [0, 1).

    The published rate is `a_k = mu * P_u^k / max_i P_u^i` (`published_paf.movement_rates`); this one follows from a
    Gaussian prior worth `kappa` images around the anchor.
    """
    return counts / (counts + pseudo_count)


def covariance_shrinkage(n_rows: Tensor, width: int) -> Tensor:
    """How far a covariance from n rows is shrunk towards the identity, `s = D / (D + n)`, within 0.1 to 0.5.

    This is the share of the identity in the empirical Bayes ridge estimate `(n S + tr(S) I) / (n + D)` of Kubokawa and
    Srivastava (Estimation of the precision matrix of a singular Wishart distribution, Journal of Multivariate Analysis,
    2008), which `gda` takes from Wang et al. (ICLR 2024). The bounds are this project's: with fewer rows than
    dimensions more than a half costs accuracy, and 0.1 is `SAFE_SHRINKAGE`.

    Args:
        n_rows: float (B,), weights of all rows.
        width: D.
    """
    return (width / (width + n_rows)).clamp(SAFE_SHRINKAGE, 0.5)


def fit_prototypes(
    text: Tensor | None,
    moments: Moments,
    *,
    pseudo_count: float,
    anchor_ridge: float,
    shrinkage: float | None,
    width: int | None = None,
) -> Prototypes:
    """MAP prototypes and shared covariance from weighted moments.

    `c_k = (1 - a_k) anchor_k + a_k mean_k` with `a_k` from `movement_rates`; the covariance is the pooled scatter
    around the prototypes, shrunk towards a multiple of the identity, `(1 - s) S + s tr(S)/D I`. With `s = 1` distances
    are Euclidean.

    Args:
        text: float (C, D) or None.
        moments: Of labelled and pseudo-labelled rows.
        pseudo_count: kappa > 0, images that an anchor is worth.
        anchor_ridge: See `text_anchors`.
        shrinkage: s in (0, 1]; None for `covariance_shrinkage`.
        width: D where the rows are given in coordinates of a subspace that holds them; None where they are not.

    Returns:
        The prototypes with the linear classifier they amount to.
    """
    anchors = text_anchors(text, moments, anchor_ridge)
    counts, sums = moments.counts, moments.sums
    means, _, _ = class_means(moments)
    prototypes = anchors + movement_rates(counts, pseudo_count)[..., None] * (means - anchors)
    total = counts.sum(1).clamp_min(1e-12)
    # Scatter is gram + H + H^T with H = c^T (N c / 2 - sums).
    half = 0.5 * counts[..., None] * prototypes - sums
    width = width or sums.shape[-1]
    share = covariance_shrinkage(total, width) if shrinkage is None else torch.full_like(total, shrinkage)
    trace = moments.gram.diagonal(dim1=1, dim2=2).sum(1) + 2 * (prototypes * half).sum((1, 2))
    variance = trace / total / width
    # Rows that are all copies have no scatter but rounding errors.
    nothing = 8 * torch.finfo(sums.dtype).eps * moments.gram.diagonal(dim1=1, dim2=2).sum(1) / total
    floor = share * torch.maximum(variance, nothing).clamp_min(1e-9)
    if shrinkage is None or shrinkage < 1:
        covariance = prototypes.transpose(1, 2) @ half
        covariance = covariance + covariance.transpose(1, 2)
        covariance += moments.gram
        covariance *= ((1 - share) / total)[:, None, None]
        covariance.diagonal(dim1=1, dim2=2).add_(floor[:, None])
        factor, floor = _factor(covariance, floor)
        weight = torch.cholesky_solve(prototypes.transpose(1, 2), factor).transpose(1, 2)
    else:
        covariance = torch.diag_embed(floor[:, None].expand(-1, sums.shape[-1]))
        weight = prototypes / floor[:, None, None]
    bias = -0.5 * (weight * prototypes).sum(-1)
    return Prototypes(prototypes, anchors, covariance, floor, share, counts, weight, bias)


def _factor(covariance: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """Cholesky factors (B, D, D) and floors (B,) of covariances that lie on their floors.

    Of many equal rows the scatter is a difference of large numbers, whose rounding errors can outweigh the floor. There
    it is raised, in `covariance` itself too, until it outweighs them.
    """
    for _ in range(_RAISES):
        factor, failed = torch.linalg.cholesky_ex(covariance)
        if not failed.any():
            return factor, floor
        raised = torch.where(failed > 0, 10 * floor, floor)
        covariance.diagonal(dim1=1, dim2=2).add_((raised - floor)[:, None])
        floor = raised
    return torch.linalg.cholesky(covariance), floor


def labelled_moments(
    features: Tensor, labels: Tensor, n_classes: int, keep: Tensor, dtype: torch.dtype = torch.float64
) -> Moments:
    """Moments of B selections of the same labelled rows.

    Args:
        features: float32 (N, D).
        labels: int64 (N,).
        n_classes: C.
        keep: bool (B, N), which rows each problem may see.
        dtype: Of the result.
    """
    every = second_moment(features, dtype)
    counts, sums, grams = [], [], []
    for chosen in keep:
        rows, classes = features[chosen].to(dtype), labels[chosen]
        counts.append(torch.bincount(classes, minlength=n_classes).to(dtype))
        sums.append(rows.new_zeros(n_classes, rows.shape[1]).index_add_(0, classes, rows))
        # From whichever is fewer, the rows kept or those left out.
        few = 2 * len(rows) < len(features)
        grams.append(second_moment(rows, dtype) if few else every - second_moment(features[~chosen], dtype))
    return Moments(torch.stack(counts), torch.stack(sums), torch.stack(grams))


def second_moment(rows: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """Sum of the outer products of rows (N, D), (D, D), multiplied in `dtype` in blocks that are summed in float64."""
    width = rows.shape[1]
    gram = torch.zeros(width, width, dtype=torch.float64, device=rows.device)
    for block in rows.split(BLOCK):
        block = block.to(dtype)
        # It is symmetric: of the blocks below the diagonal none is computed.
        for start in range(0, width, TILE):
            stop = start + TILE
            gram[start:stop, start:] += block[:, start:stop].T @ block[:, start:]
    upper = gram.triu().to(dtype)
    return upper + upper.triu(1).T
