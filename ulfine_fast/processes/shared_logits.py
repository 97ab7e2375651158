"""Data-parallel training: each process computes the logits of its share of a batch, and all get the logits of all.

The loss is then the same in every process, whatever it is made of, and its gradients reach a process's weights through
its own rows alone; their mean over the processes is the gradient of one process with the whole batch.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ulfine_fast.models.logit_model import LogitModel
from ulfine_fast.processes.group import add_up, count, is_joined, share_of


@contextmanager
def rows_shared(model: LogitModel) -> Generator[None]:
    """Let the processes share the rows of `LogitModel.logits`, in the body; one process alone changes nothing.

    Args:
        model: The same in every process.
    """
    if not is_joined():
        yield
        return
    whole = model.logits

    def shared(features: Tensor) -> Tensor:
        n_rows = features.shape[-2]
        return _Gathered.apply(whole(features[..., share_of(n_rows), :]), n_rows)

    # On the one object, over the method of its class.
    object.__setattr__(model, "logits", shared)
    try:
        yield
    finally:
        object.__delattr__(model, "logits")


def average_gradients(model: nn.Module) -> None:
    """Make each gradient the mean over the processes.

    Raises:
        OtherProcessEnded: Another process ended meanwhile.
    """
    if is_joined():
        for weights in model.parameters():
            if weights.grad is not None:
                add_up(weights.grad.div_(count()))


class _Gathered(torch.autograd.Function):
    """Logits (..., n, C) of a process's rows to those (..., N, C) of all."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, n_rows: int) -> Tensor:
        gathered = own.new_zeros(*own.shape[:-2], n_rows, own.shape[-1])
        gathered[..., share_of(n_rows), :] = own
        add_up(gathered)
        return gathered

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # Times the number of processes, because the mean over them is taken of what comes of it.
        whole = gradients[0]
        return count() * whole[..., share_of(whole.shape[-2]), :], None
