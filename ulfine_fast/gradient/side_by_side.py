"""Models of one shape trained at once: their weights are one tensor each, with leading axes for seeds and problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Axes:
    """The leading axes: S seeds, and for each the whole problem followed by those that leave a fold out, B in all.

    Axes of length 1 are left out, so that one model alone has none and is trained like any other module.

    Attributes:
        seeds: S.
        problems: B.

    Example:
        >>> Axes(4, 1).shape, Axes(1, 6).shape, Axes(4, 6).shape
        ((4,), (6,), (4, 6))
    """

    seeds: int
    problems: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Their lengths: (S, B), (S,), (B,) or ()."""
        return tuple(length for length in (self.seeds, self.problems) if length > 1)

    def batch(self, per_seed: Sequence[Tensor]) -> Tensor:
        """Rows drawn for each seed, S tensors (N, ...), as one that broadcasts against `shape`.

        All problems of a seed see the same rows.
        """
        if self.seeds == 1:
            return per_seed[0]
        stacked = torch.stack(list(per_seed))
        return stacked if self.problems == 1 else stacked.unsqueeze(1)

    def per_problem(self, rows: Tensor) -> Tensor:
        """What `batch` made, (..., N), repeated for every model: (S, B, N) without the axes of length 1."""
        return rows.expand(*self.shape, rows.shape[-1])

    def whole(self, figures: Tensor) -> Tensor:
        """Of one figure per model the S of the whole problems."""
        return figures.reshape(self.seeds, self.problems)[:, 0]


def stack_models(models: Sequence[Model], axes: Axes) -> Model:
    """One module whose parameters and buffers hold those of all models, along leading axes.

    It computes what each of the models would, for modules whose operations broadcast; a step of an elementwise
    optimiser on the sum of their losses is one step of each. `torch.func.stack_module_state` would spare one line, the
    stack itself, and leave two dicts that still have to go into a module.

    Args:
        models: S B modules, all problems of the first seed first.
        axes: S and B. One model alone is returned as it is.
    """
    if len(models) == 1:
        return models[0]
    stacked = deepcopy(models[0])
    states = [model.state_dict() for model in models]
    trained = dict(stacked.named_parameters())
    for name in states[0]:
        values = torch.stack([state[name] for state in states])
        values = values.reshape(*axes.shape, *values.shape[1:])
        owner, _, own_name = name.rpartition(".")
        setattr(stacked.get_submodule(owner), own_name, nn.Parameter(values) if name in trained else values)
    return stacked


def whole_states(stacked: Mapping[str, Tensor], axes: Axes) -> list[dict[str, Tensor]]:
    """Copies of what belongs to the S whole problems, one dict for each.

    Args:
        stacked: Tensors with the axes of the models, such as the ``state_dict()`` of `stack_models`.
        axes: S and B.
    """
    n_axes = len(axes.shape)

    def of(values: Tensor, seed: int) -> Tensor:
        shape = values.shape[n_axes:]
        return values.detach().reshape(axes.seeds, axes.problems, *shape)[seed, 0].clone()

    return [{name: of(values, seed) for name, values in stacked.items()} for seed in range(axes.seeds)]
