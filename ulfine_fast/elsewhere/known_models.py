"""Models that can be built again for methods that this package does not know: their runs open without foreign code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ulfine_fast.models.logit_model import LogitModel


def known_models() -> dict[str, type[LogitModel]]:
    """The models of `ulfine_fast.models` by class name."""
    from ulfine_fast.models.affine_model import AffineModel
    from ulfine_fast.models.dual_logit_model import DualLogitModel
    from ulfine_fast.models.fused_model import FusedModel
    from ulfine_fast.models.neighbour_vote import NeighbourVote
    from ulfine_fast.models.propagated_votes import PropagatedVotes

    models = (AffineModel, DualLogitModel, FusedModel, NeighbourVote, PropagatedVotes)
    return {model.__name__: model for model in models}


def name_of(model: LogitModel) -> str | None:
    """Under which name `build_known` makes the model again; None for a class of one's own."""
    from ulfine_fast.models.several_encoders import SeveralEncoders

    if isinstance(model, SeveralEncoders):
        names = {name_of(each) for each in model.classifiers()}
        return names.pop() if len(names) == 1 else None
    name = type(model).__name__
    return name if known_models().get(name) is type(model) else None


def build_known(name: str, architecture: dict[str, Any]) -> LogitModel:
    """The untrained model of a name and an architecture.

    Raises:
        KeyError: There is none of that name.

    Example:
        >>> type(build_known("AffineModel", {"n_features": 4, "n_classes": 3})).__name__
        'AffineModel'
    """
    return known_models()[name](**architecture)
