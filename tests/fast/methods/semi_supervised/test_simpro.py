from dataclasses import replace

import numpy as np
import torch
from scipy.special import softmax

from ulfine_cache.progress import Silent
from ulfine_fast.closed_form.text_anchored_probe import fit_text_anchored_probes
from ulfine_fast.methods.semi_supervised import self_training
from ulfine_fast.methods.semi_supervised.simpro import METHOD, SimProSettings

ONE = {"penalties": (1.0,), "default_penalty": 1.0, "scale": 20.0}


def regression(features, labels, text):
    rows, labels = torch.tensor(features), torch.tensor(labels)
    everything = torch.ones(1, len(labels), dtype=torch.bool)
    return fit_text_anchored_probes(
        rows, labels, 20 * text, everything, penalty=1 / len(labels), max_iter=200, tolerance=1e-6
    )[0].numpy()


def test_fit__rounds_by_hand(long_tailed):
    data = long_tailed()
    result = METHOD.fit(data, SimProSettings(rounds=2, threshold=0.6, **ONE), 0, Silent())
    x, labels, q = data.features.numpy(), data.labels.numpy(), data.unlabelled.numpy()
    weight, prior, used = regression(x, labels, data.text), np.full(6, 1 / 6), np.empty(0)
    for _ in range(2):
        shares = softmax(q @ weight.T + np.log(prior), axis=1)
        used = shares.max(1) >= 0.6
        prior = (shares[used].sum(0) + 1) / (used.sum() + 6)
        rows, guessed = np.concatenate([x, q[used]]), shares[used].argmax(1)
        weight = regression(rows, np.concatenate([labels, guessed]), data.text)
    np.testing.assert_allclose(list(result.diagnostics["unlabelled_prior"].values()), prior, atol=1e-4)
    np.testing.assert_allclose(result.model.state_dict()["weight"], weight, atol=2e-2)
    np.testing.assert_allclose(result.history[-1]["pseudo_label_rate"], used.mean())


def test_fit__without_unlabelled_rows_is_self_training_without_them(long_tailed):
    data = long_tailed(unlabelled=0)
    result = METHOD.fit(data, SimProSettings(**ONE), 0, Silent())
    expected = self_training.METHOD.fit(data, self_training.SelfTrainingSettings(**ONE), 0, Silent())
    assert torch.equal(result.model.state_dict()["weight"], expected.model.state_dict()["weight"])
    assert result.history == []


def test_fit__finds_the_prior_of_the_unlabelled_rows(long_tailed):
    data = long_tailed(unlabelled=600)
    rare = replace(data, unlabelled=data.unlabelled[torch.arange(600) % 6 >= 4])
    first, last = (
        list(METHOD.fit(rare, SimProSettings(rounds=rounds), 0, Silent()).diagnostics["unlabelled_prior"].values())
        for rounds in (1, 10)
    )
    assert sum(last[4:]) > sum(first[4:]) > 2 / 6
