import dataclasses
import signal

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from ulfine_cache.progress import Silent
from ulfine_fast.methods import tip_adapter, tip_adapter_f
from ulfine_fast.methods.tip_adapter import TipAdapterSettings, untrained
from ulfine_fast.methods.tip_adapter_f import TrainedTipAdapterSettings, trained_epochs
from ulfine_fast.rows.folds import stratified_folds


def by_hand(rows, keys, labels, text, alpha, beta):
    logits = 100.0 * rows @ text.T
    for i, row in enumerate(rows):
        for key, label in zip(keys, labels, strict=True):
            logits[i, label] += alpha * np.exp(-beta * (1 - row @ key))
    return logits


def numpy(data):
    return data.features.double().numpy(), data.labels.numpy(), data.text.double().numpy()


def test_fit__published_alpha_and_beta_by_hand(long_tailed, new_rows):
    data = long_tailed()
    result = tip_adapter.fit(data, TipAdapterSettings(search=False), 0, Silent())
    expected = by_hand(new_rows.astype(float), *numpy(data), alpha=1.0, beta=5.5)
    np.testing.assert_allclose(result.model(torch.tensor(new_rows)), expected, atol=1e-3)
    assert result.diagnostics == {"alpha": 1.0, "beta": 5.5}
    parts = result.model.parts(torch.tensor(new_rows))
    np.testing.assert_allclose(parts["text"], 100 * new_rows @ data.text.numpy().T, atol=1e-3)


def test_fit__searches_on_rows_left_out(long_tailed, new_rows):
    data = long_tailed()
    settings = TipAdapterSettings(steps=4, folds=3)
    result = tip_adapter.fit(data, settings, 5, Silent())
    features, labels, text = numpy(data)
    folds = stratified_folds(data.labels, 3, torch.Generator().manual_seed(5)).numpy()
    values = [0.1, 0.1 + 29.9 / 4, 0.1 + 2 * 29.9 / 4, 0.1 + 3 * 29.9 / 4]
    accuracies = {}
    for beta, alpha in [(5.5, 1.0), *((b, a) for b in values for a in values)]:
        predicted = np.empty_like(labels)
        for fold in range(3):
            out = folds == fold
            predicted[out] = by_hand(features[out], features[~out], labels[~out], text, alpha, beta).argmax(1)
        accuracies[alpha, beta] = balanced_accuracy_score(labels, predicted)
    alpha, beta = result.diagnostics["alpha"], result.diagnostics["beta"]
    nearest = min(accuracies, key=lambda pair: abs(pair[0] - alpha) + abs(pair[1] - beta))
    np.testing.assert_allclose(nearest, (alpha, beta))
    assert accuracies[nearest] == max(accuracies.values())
    np.testing.assert_allclose(result.diagnostics["left_out_macro_accuracy"], max(accuracies.values()))
    expected = by_hand(new_rows.astype(float), features, labels, text, alpha, beta)
    np.testing.assert_allclose(result.model(torch.tensor(new_rows)), expected, atol=1e-3)


def test_fit__without_text_class_means_stand_in(long_tailed, new_rows):
    data = long_tailed(text=False)
    features, labels = data.features.double().numpy(), data.labels.numpy()
    means = np.array([features[labels == k].mean(0) for k in range(6)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    model = tip_adapter.fit(data, TipAdapterSettings(search=False), 0, Silent()).model
    expected = by_hand(new_rows.astype(float), features, labels, means, alpha=1.0, beta=5.5)
    np.testing.assert_allclose(model(torch.tensor(new_rows)), expected, atol=1e-3)


def test_fit__keys_are_trained_as_published(long_tailed):
    """Against a training loop in the published shape: a linear layer whose weight is the keys, epochs, batches."""
    data = long_tailed()
    settings = TrainedTipAdapterSettings(search=False, epochs=3, batch_size=10)
    model = tip_adapter_f.METHOD.fit(data, settings, 7, Silent()).model
    adapter = torch.nn.Linear(8, len(data.labels), bias=False)
    adapter.weight = torch.nn.Parameter(data.features.clone())
    optimiser = torch.optim.AdamW(adapter.parameters(), lr=0.001, eps=1e-4)
    batches_per_epoch = -(-len(data.labels) // 10)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 3 * batches_per_epoch)
    values = torch.nn.functional.one_hot(data.labels).float()
    generator = torch.Generator().manual_seed(7)
    for _ in range(3):
        order = torch.randperm(len(data.labels), generator=generator)
        for start in range(0, len(order), 10):
            rows = data.features[order[start : start + 10]]
            affinity = adapter(rows)
            logits = 100.0 * rows @ data.text.T + ((-1) * (5.5 - 5.5 * affinity)).exp() @ values
            loss = torch.nn.functional.cross_entropy(logits, data.labels[order[start : start + 10]])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    assert (adapter.weight - data.features).abs().max() > 1e-3
    np.testing.assert_allclose(model.keys, adapter.weight.detach(), atol=1e-5)


def test_fit__training_lowers_the_loss(long_tailed):
    result = tip_adapter_f.METHOD.fit(long_tailed(), TrainedTipAdapterSettings(), 0, Silent())
    assert len(result.history) == 20
    assert result.history[-1]["loss"] < result.history[0]["loss"]


class Watcher(Silent):
    """Notes the epochs, and presses Ctrl-C at one."""

    def __init__(self, stop=None):
        self.epochs, self.stop = [], stop

    def update(self, stage, done, total, **figures):
        self.epochs.append((done, total))
        assert figures["loss"] > 0
        if done == self.stop:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def interruptible():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_fit__ctrl_c_keeps_the_keys_of_the_epoch(long_tailed, interruptible):
    data, watcher = long_tailed(), Watcher(stop=3)
    settings = TrainedTipAdapterSettings(epochs=5, learning_rate=0.1, batch_size=16)
    result = tip_adapter_f.METHOD.fit(data, settings, 0, watcher)
    assert watcher.epochs == [(1, 5), (2, 5), (3, 5)]
    assert result.interrupted_at == 3
    whole = tip_adapter_f.METHOD.fit(data, settings, 0, Watcher())
    assert whole.interrupted_at is None
    assert whole.history[:3] == result.history
    assert not torch.equal(result.model.state_dict()["keys"], whole.model.state_dict()["keys"])
    # The search is given up: alpha and beta stay at the published start.
    assert result.diagnostics == {"alpha": settings.alpha, "beta": settings.beta}


def test_fit__ctrl_c_gives_the_search_up(long_tailed, interruptible, monkeypatch):
    data, search_grid = long_tailed(), tip_adapter_f.search_grid

    def interrupted_search(*arguments):
        signal.raise_signal(signal.SIGINT)
        monkeypatch.undo()
        return search_grid(*arguments)

    settings = TrainedTipAdapterSettings(epochs=5, steps=20)
    whole = tip_adapter_f.METHOD.fit(data, settings, 0, Watcher())
    assert whole.diagnostics["alpha"] != settings.alpha
    before = tip_adapter_f.METHOD.fit(data, settings, 0, Watcher(stop=5))
    monkeypatch.setattr(tip_adapter_f, "search_grid", interrupted_search)
    within = tip_adapter_f.METHOD.fit(data, settings, 0, Watcher())
    for result in (before, within):
        assert result.interrupted_at == 5
        assert result.diagnostics == {"alpha": settings.alpha, "beta": settings.beta}
        assert torch.equal(result.model.state_dict()["keys"], whole.model.state_dict()["keys"])
    # Without a search a signal in the last epoch comes too late to end anything.
    without = settings.model_copy(update={"search": False})
    assert tip_adapter_f.METHOD.fit(data, without, 0, Watcher(stop=5)).interrupted_at is None


def test_fit__early_stopping_takes_the_epoch_that_is_best_on_rows_left_out(long_tailed):
    data, folds = long_tailed(), 3
    settings = TrainedTipAdapterSettings(
        search=False, early_stopping=True, folds=folds, learning_rate=0.1, batch_size=16
    )
    result = tip_adapter_f.METHOD.fit(data, settings, 4, Silent())
    # With text every row has a say, and every class the same.
    left_out_by = stratified_folds(data.labels, folds, torch.Generator().manual_seed(4))
    weights = 1.0 / data.labelled_counts[data.labels]
    losses = np.zeros(settings.epochs + 1)
    for fold in range(folds):
        keep = left_out_by != fold
        part = dataclasses.replace(data, features=data.features[keep], labels=data.labels[keep])
        models = [untrained(part, settings).logits(data.features[~keep])]
        models += [model.logits(data.features[~keep]) for model, _ in trained_epochs([part], settings, [4])]
        for epoch, logits in enumerate(models):
            each = torch.nn.functional.cross_entropy(logits, data.labels[~keep], reduction="none")
            losses[epoch] += float((weights[~keep] * each).sum())
    best = int(losses.argmin())
    assert 0 < best < settings.epochs
    assert result.diagnostics["epochs"] == best
    assert len(result.history) == settings.epochs
    assert result.interrupted_at is None
    expected = [model.keys.clone() for model, _ in trained_epochs([data], settings, [4])][best - 1]
    assert torch.equal(result.model.keys, expected)
    # The search then judges keys of as many epochs.
    searched = tip_adapter_f.METHOD.fit(data, settings.model_copy(update={"search": True, "steps": 2}), 4, Silent())
    assert torch.equal(searched.model.keys, expected)
    assert "left_out_macro_accuracy" in searched.diagnostics


def test_fit__ctrl_c_gives_early_stopping_up(long_tailed, interruptible, monkeypatch):
    data, choose_settings = long_tailed(), tip_adapter_f.choose_settings

    def interrupted(*arguments, **options):
        signal.raise_signal(signal.SIGINT)
        return choose_settings(*arguments, **options)

    settings = TrainedTipAdapterSettings(search=False, early_stopping=True, epochs=5, learning_rate=0.1)
    whole = tip_adapter_f.METHOD.fit(data, settings.model_copy(update={"early_stopping": False}), 0, Silent())
    monkeypatch.setattr(tip_adapter_f, "choose_settings", interrupted)
    result = tip_adapter_f.METHOD.fit(data, settings, 0, Silent())
    assert result.interrupted_at == 5
    assert torch.equal(result.model.keys, whole.model.keys)
    assert "epochs" not in result.diagnostics


@pytest.mark.parametrize("early_stopping", [False, True])
def test_fit_seeds__the_same_as_each_seed_alone(long_tailed, early_stopping):
    data, seeds = long_tailed(), (3, 4, 8)
    settings = TrainedTipAdapterSettings(steps=4, early_stopping=early_stopping, learning_rate=0.03, batch_size=16)
    together = tip_adapter_f.fit_seeds(data, settings, seeds, Silent())
    for seed, result in zip(seeds, together, strict=True):
        alone = tip_adapter_f.METHOD.fit(data, settings, seed, Silent())
        torch.testing.assert_close(result.model.state_dict(), alone.model.state_dict(), atol=1e-4, rtol=1e-3)
        assert result.diagnostics == pytest.approx(alone.diagnostics)
        for entry, expected in zip(result.history, alone.history, strict=True):
            assert entry == pytest.approx(expected, abs=1e-4)
    assert not torch.allclose(together[0].model.keys, together[1].model.keys, atol=1e-3)
    if early_stopping:
        assert len({result.diagnostics["epochs"] for result in together}) > 1


def test_fit_seeds__as_many_at_once_as_their_keys_allow(long_tailed, monkeypatch):
    data, settings, sizes = long_tailed(), TrainedTipAdapterSettings(epochs=1, search=False), []
    whole_turn = tip_adapter_f._fit_turn
    monkeypatch.setattr(tip_adapter_f, "_fit_turn", lambda *turn: sizes.append(len(turn[2])) or whole_turn(*turn))
    tip_adapter_f.fit_seeds(data, settings, range(5), Silent())
    monkeypatch.setattr(tip_adapter_f, "VALUES_AT_ONCE", 2 * data.features.numel())
    tip_adapter_f.fit_seeds(data, settings, range(5), Silent())
    assert sizes == [5, 2, 2, 1]
