import numpy as np
import pytest
import torch
from scipy.special import softmax

from ulfine_cache.progress import Silent
from ulfine_fast.methods.semi_supervised.ss_text_u import METHOD, SsTextUSettings, sinkhorn
from ulfine_fast.rows.cross_validation import kept


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def transport(logits, shares):
    """The published plan, in exponentials, which double precision holds at this scale."""
    plan = np.exp(logits).T
    plan /= plan.sum()
    for _ in range(10):
        plan *= (shares / plan.sum(1))[:, None]
        plan *= 1 / len(logits) / plan.sum(0, keepdims=True)
    return plan.T * len(logits)


def published(data, text):
    x, y, q = data.features.double().numpy(), np.eye(6)[data.labels.numpy()], data.unlabelled.double().numpy()
    counts = y.sum(0)
    shares = counts / counts.sum()
    shares[shares == 0] = shares[shares > 0].min() / 4
    shares /= shares.sum()
    labelled = 100 / len(x) * counts[:, None] / 2 * (y.T @ x)
    weight = text if len(q) else labelled + text
    for _ in range(3 if len(q) else 0):
        assigned = transport(100 * q @ unit(weight).T, shares)
        weight = labelled + 100 / len(q) * assigned.T @ q + text
    return 100 * unit(weight)


@pytest.mark.parametrize("unlabelled", [60, 0])
@pytest.mark.parametrize("with_text", [True, False])
@pytest.mark.parametrize("absent", [True, False])
def test_fit__is_the_published_solver(long_tailed, new_rows, unlabelled, with_text, absent):
    data = long_tailed(text=with_text, unlabelled=unlabelled)
    x, labels = data.features.double().numpy(), data.labels.numpy()
    text = data.text.double().numpy() if with_text else unit(np.stack([x[labels == k].sum(0) for k in range(6)]))
    if absent and with_text:
        data = kept(data, data.labels != 1)
    model = METHOD.fit(data, SsTextUSettings(), 0, Silent()).model
    expected = softmax(new_rows @ published(data, text).T, axis=1)
    np.testing.assert_allclose(model.probabilities(torch.tensor(new_rows)), expected, atol=2e-4)


def test_sinkhorn__of_logits_that_single_precision_cannot_hold():
    logits = torch.tensor([[900.0, 0.0], [300.0, 310.0], [0.0, 900.0]])
    plan = sinkhorn(logits, torch.tensor([2 / 3, 1 / 3]), 2000)
    assert torch.isfinite(plan).all()
    np.testing.assert_allclose(plan.sum(1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(plan.mean(0), [2 / 3, 1 / 3], atol=2e-3)
    np.testing.assert_allclose(sinkhorn(logits, torch.tensor([0.5, 0.5]), 0), torch.softmax(logits, dim=-1), rtol=1e-5)
