"""`class-means`: the nearest class mean, each held by its text. A whole method outside ulfine-fast, in closed form."""

import torch
from pydantic import Field
from torch.nn.functional import normalize

from ulfine_cache.config import StrictConfig
from ulfine_fast.method import FitResult, Method
from ulfine_fast.models.affine_model import AffineModel
from ulfine_fast.seeds import one_by_one


class ClassMeansSettings(StrictConfig):
    scale: float = Field(default=20.0, gt=0)
    pseudo_count: float = Field(default=3.0, gt=0)


def fit(data, settings, seed, progress):
    counts = data.labelled_counts[:, None]
    sums = torch.zeros(data.n_classes, data.n_features).to(data.features).index_add_(0, data.labels, data.features)
    centre = data.features.mean(0)
    # Texts lie elsewhere than images: only how they differ from one another is taken from them.
    anchors = centre if data.text is None else centre + data.text - data.text.mean(0)
    means = (sums + settings.pseudo_count * anchors) / (counts + settings.pseudo_count)
    weight = settings.scale * normalize(means - centre, dim=-1)
    return FitResult(AffineModel.of(weight, -weight @ centre))


METHOD = Method(
    name="class-means",
    settings=ClassMeansSettings,
    fit_seeds=one_by_one(fit),
    build=lambda architecture: AffineModel(**architecture),
    seeded=False,
)
