from dataclasses import replace

import numpy as np
import pytest
import torch

from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Silent
from ulfine_fast.gradient.strong_views import strong_view
from ulfine_fast.methods import fixmatch, lp_la
from ulfine_fast.methods.fixmatch import FixMatchSettings, unlabelled_loss


def lp_la_weights(data, **settings):
    chosen = lp_la.LogitAdjustedProbeSettings(steps=50, **settings)
    return lp_la.METHOD.fit(data, chosen, 3, Silent()).model.state_dict()["weight"]


def weights(data, **settings):
    return fixmatch.METHOD.fit(data, FixMatchSettings(steps=50, **settings), 3, Silent()).model.state_dict()["weight"]


@pytest.mark.parametrize("text", [True, False])
def test_fit__without_unlabelled_rows_it_is_lp_la(long_tailed, text):
    data = long_tailed(text=text, unlabelled=0)
    assert torch.equal(weights(data), lp_la_weights(data))


def test_fit__without_weight_or_confident_rows_it_is_lp_la(long_tailed):
    data = long_tailed()
    assert torch.equal(weights(data, unlabelled_weight=0.0), lp_la_weights(data))
    # A scale of 2 leaves every confidence far below 1.
    assert torch.equal(weights(data, scale=2.0, threshold=1.0), lp_la_weights(data, scale=2.0))
    assert not torch.equal(weights(data, scale=2.0, threshold=0.2), lp_la_weights(data, scale=2.0))


def test_unlabelled_loss__by_hand():
    weak = torch.log(torch.tensor([[0.8, 0.2], [0.4, 0.6], [0.1, 0.9]]))
    strong = torch.log(torch.tensor([[0.5, 0.5], [0.9, 0.1], [0.75, 0.25]]))
    loss, used = unlabelled_loss(weak, strong, 0.7)
    # Rows 0 and 2 are confident, of classes 0 and 1; the mean is over all three rows.
    np.testing.assert_allclose(loss, -(np.log(0.5) + np.log(0.25)) / 3, rtol=1e-6)
    np.testing.assert_allclose(used, 2 / 3, rtol=1e-6)


def test_unlabelled_loss__no_gradient_through_the_pseudo_labels():
    weak = torch.zeros(2, 3, requires_grad=True)
    strong = torch.zeros(2, 3, requires_grad=True)
    unlabelled_loss(weak, strong, 0.0)[0].backward()
    assert weak.grad is None
    assert strong.grad is not None


def test_strong_view__length_of_the_noise():
    rows = torch.nn.functional.normalize(torch.ones(2000, 64), dim=-1)
    noisy = strong_view(rows, 0.5, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(noisy.norm(dim=-1), 1.0, rtol=1e-5)
    # Noise of length r, nearly orthogonal to the row, leaves a cosine of 1 / sqrt(1 + r^2).
    np.testing.assert_allclose((rows * noisy).sum(-1).mean(), 1 / np.sqrt(1.25), atol=5e-3)
    assert torch.equal(strong_view(rows, 0.0, torch.Generator()), torch.nn.functional.normalize(rows, dim=-1))


def test_fit__history_tells_the_share_of_pseudo_labels(long_tailed):
    result = fixmatch.METHOD.fit(long_tailed(), FixMatchSettings(steps=40, threshold=0.0), 0, Silent())
    assert [entry["step"] for entry in result.history] == [20, 40]
    assert {entry["pseudo_label_rate"] for entry in result.history} == {1.0}
    for entry in result.history:
        assert 0 < entry["prior_min"] < 1 / 6 < entry["prior_max"] < 1


def test_fit__depends_on_what_the_unlabelled_rows_show(long_tailed):
    data = long_tailed()
    other = replace(data, unlabelled=data.unlabelled.roll(1, dims=1))
    assert not torch.equal(weights(data, threshold=0.3), weights(other, threshold=0.3))


def with_strong_views(data, strong):
    """The data as a cache of weak and strong views gives it; `strong` is (n, K, D)."""
    return replace(data, strong_views=lambda: strong.half())


def test_fit__takes_cached_strong_views_where_there_are_some(long_tailed):
    data = long_tailed()
    strong = torch.stack([data.unlabelled.roll(1, dims=1), data.unlabelled.roll(2, dims=1)], dim=1)
    seen = with_strong_views(data, strong)
    cached = fixmatch.METHOD.fit(seen, FixMatchSettings(steps=50, threshold=0.3), 3, Silent())
    assert cached.diagnostics == {"strong_views": "cached", "cached_strong_views": 2}
    assert not torch.equal(cached.model.state_dict()["weight"], weights(data, threshold=0.3))
    # Both of the two views are looked at, and none is where noise is asked for.
    for view in range(2):
        other = strong.clone()
        other[:, view] = data.unlabelled
        changed = weights(with_strong_views(data, other), threshold=0.3)
        assert not torch.equal(changed, cached.model.state_dict()["weight"])
    assert torch.equal(weights(seen, threshold=0.3, strong_views="noise"), weights(data, threshold=0.3))


def test_fit__strong_views_belong_to_their_rows(long_tailed):
    """Strong views that equal the weak ones are what noise of length 0 gives, up to their storage in 16 bits."""
    data = long_tailed()
    seen = with_strong_views(data, data.unlabelled[:, None])
    found = weights(seen, threshold=0.3, unlabelled_ratio=1)
    expected = weights(data, threshold=0.3, unlabelled_ratio=1, strong_noise=0.0)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    shuffled = with_strong_views(data, data.unlabelled.flip(0)[:, None])
    assert (weights(shuffled, threshold=0.3, unlabelled_ratio=1) - expected).abs().max() > 2e-2


def test_fit__cached_strong_views_that_are_not_there(long_tailed):
    with pytest.raises(UlfineError, match="--views weak-strong:2"):
        weights(long_tailed(), strong_views="cached")
    result = fixmatch.METHOD.fit(long_tailed(), FixMatchSettings(steps=1), 0, Silent())
    assert result.diagnostics == {"strong_views": "noise", "cached_strong_views": 0}
