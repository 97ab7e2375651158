import numpy as np
import pytest
import torch

from ulfine_cache.progress import Silent
from ulfine_fast.methods.semi_supervised.ecalp import METHOD, EcalpSettings, nearest_edges
from ulfine_fast.rows.cross_validation import kept


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def joined(rows, data, text):
    """Shares of new rows, each of which joins the graph of all nodes, written out as one dense matrix."""
    x, q = data.features.double().numpy(), data.unlabelled.double().numpy()
    n_text, n_given, n_nodes = 6, 6 + len(x), 6 + len(x) + len(q)
    nodes = np.concatenate([text, x, q])
    kinds = [(slice(0, n_text), 1.0, 3), (slice(n_text, n_given), 1 / x.var(0), 8)]
    kinds.append((slice(n_given, n_nodes), text.var(0), 8))

    def edges(row):
        found = np.zeros(n_nodes)
        for places, channels, k in kinds:
            cosines = np.maximum(nodes[places] @ unit(row * channels), 0) ** 10
            if len(cosines):
                found[places] = np.where(cosines >= np.sort(cosines)[-min(k, len(cosines))], cosines, 0)
        return found

    weights = np.zeros((n_nodes, n_nodes))
    weights[n_given:] = [edges(row) for row in q] if len(q) else 0
    weights = weights + weights.T
    degrees = weights.sum(1)
    root = 1 / (np.sqrt(degrees) + 1e-6)
    labels = np.zeros((n_nodes, 6))
    labels[:n_given] = np.concatenate([np.eye(6), np.eye(6)[data.labels.numpy()]])
    for _ in range(2):
        labels[n_given:] = (root[:, None] * weights * root @ labels)[n_given:]
    answers = []
    for row in rows:
        found = edges(row)
        answers.append(found / (np.sqrt(degrees + found) + 1e-6) @ labels)
    return np.array(answers) / np.sum(answers, axis=1, keepdims=True)


@pytest.mark.parametrize("unlabelled", [60, 0])
@pytest.mark.parametrize("with_text", [True, False])
def test_fit__is_the_published_graph(long_tailed, new_rows, unlabelled, with_text):
    data = long_tailed(text=with_text, unlabelled=unlabelled)
    x, labels = data.features.double().numpy(), data.labels.numpy()
    text = data.text.double().numpy() if with_text else unit(np.stack([x[labels == k].sum(0) for k in range(6)]))
    if with_text:  # a class without labelled rows
        data = kept(data, data.labels != 1)
    model = METHOD.fit(data, EcalpSettings(), 0, Silent()).model
    expected = joined(new_rows.astype(float), data, text)
    np.testing.assert_allclose(model.probabilities(torch.tensor(new_rows)), expected, atol=1e-4)


def test_nearest_edges__in_blocks(monkeypatch):
    rows = torch.nn.functional.normalize(torch.randn(20, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    whole = nearest_edges(rows, rows, torch.ones(5), 3, 10.0).to_dense()
    monkeypatch.setattr("ulfine_fast.methods.semi_supervised.ecalp.SIMILARITIES_AT_ONCE", 60)
    np.testing.assert_allclose(nearest_edges(rows, rows, torch.ones(5), 3, 10.0).to_dense(), whole, atol=1e-5)
    assert ((whole > 0).sum(1) <= 3).all()
    np.testing.assert_allclose(whole.diagonal(), 1.0, atol=1e-5)
