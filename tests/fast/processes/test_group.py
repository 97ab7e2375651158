"""A process alone, and what torchrun says of several."""

import pytest
import torch

from ulfine_cache.errors import UsageError
from ulfine_fast.processes import group
from ulfine_fast.processes.shared_logits import rows_shared
from ulfine_fast.registry import get_method


@pytest.fixture
def torchrun(monkeypatch):
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("WORLD_SIZE", "3"), ("LOCAL_WORLD_SIZE", "3"), ("RANK", "2")):
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_place_from_torchrun(torchrun):
    assert group.place_from_torchrun() == (2, 3)
    torchrun.setenv("LOCAL_WORLD_SIZE", "1")
    with pytest.raises(UsageError, match="leave --nnodes of torchrun at 1"):
        group.place_from_torchrun()
    torchrun.setenv("WORLD_SIZE", "1")
    assert group.place_from_torchrun() is None
    torchrun.setenv("WORLD_SIZE", "3")
    torchrun.delenv("TORCHELASTIC_RUN_ID")
    assert group.place_from_torchrun() is None


def test_group__one_process_is_all_of_it(torchrun):
    """What torchrun says is no group yet: a script of one's own may run under it."""
    assert (group.is_joined(), group.rank(), group.count(), group.share_of(5)) == (False, 0, 1, slice(0, 5))
    values = torch.ones(3)
    group.add_up(values)
    assert values.tolist() == [1, 1, 1]
    assert group.any_of(True)
    assert not group.any_of(False)
    group.check_shared(get_method("knn"))
    model = torch.nn.Linear(2, 2)
    with rows_shared(model):
        assert "logits" not in model.__dict__


def test_share_of__parts_make_the_whole(monkeypatch):
    monkeypatch.setattr(group, "count", lambda: 3)
    for n_rows in (0, 1, 2, 7, 9):
        rows = []
        for rank in range(3):
            monkeypatch.setattr(group, "rank", lambda rank=rank: rank)
            rows += list(range(n_rows))[group.share_of(n_rows)]
        assert rows == list(range(n_rows))
