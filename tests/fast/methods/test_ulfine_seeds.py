"""`--seeds K` of `ulfine` is K single fits, bit for bit, in the order of the seeds."""

import numpy as np
import pytest
import torch

from ulfine_cache.progress import Silent
from ulfine_fast.closed_form.em_rounds import sample_size
from ulfine_fast.methods.ulfine import METHOD, UlfineSettings
from ulfine_fast.rows.training_data import make_training_data
from ulfine_fast.training import train, train_seeds

SEEDS = (0, 1, 5)


def task(n_unlabelled, text=True):
    """Five noisy classes of 20 down to 2 labelled rows in 16 dimensions."""
    generator = np.random.default_rng(3)
    centres = generator.normal(size=(5, 16))

    def draw(labels):
        return centres[labels] + 1.2 * generator.normal(size=(len(labels), 16))

    labels = np.repeat(np.arange(5), (20, 12, 7, 4, 2))
    return make_training_data(
        features=draw(labels),
        labels=labels,
        unlabelled=draw(generator.integers(5, size=n_unlabelled)),
        text=centres + generator.normal(size=centres.shape) if text else None,
        class_names=tuple("abcde"),
    )


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("n_unlabelled", [0, 60, 600])
def test_train_seeds__the_same_as_each_seed_alone(n_unlabelled, text):
    data, settings = task(n_unlabelled, text), UlfineSettings()
    assert sample_size(16, 5) in range(61, 600)  # the rounds of 600 rows run on a sample, another for each seed
    together = train_seeds(METHOD, settings, data, SEEDS, Silent())
    for seed, result in zip(SEEDS, together, strict=True):
        alone = train(METHOD, settings, data, seed, Silent())
        assert (result.history, result.diagnostics) == (alone.history, alone.diagnostics)
        for name, values in alone.model.state_dict().items():
            assert torch.equal(result.model.state_dict()[name], values)
    weights = {tuple(result.diagnostics["fusion_weights"].values()) for result in together}
    assert len(weights) == len(SEEDS)
