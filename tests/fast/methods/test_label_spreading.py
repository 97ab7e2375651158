import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from sklearn.semi_supervised import LabelSpreading

from ulfine_cache.progress import Silent
from ulfine_fast.methods.label_spreading import METHOD, LabelSpreadingSettings
from ulfine_fast.rows.folds import stratified_folds
from ulfine_fast.rows.training_data import make_training_data

# Both sides stop after scikit-learn's 30 rounds where alpha is large.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def one_setting(neighbours, alpha):
    return LabelSpreadingSettings(neighbours=(neighbours,), alphas=(alpha,))


def rows_and_labels(data):
    rows = torch.cat([data.features, data.unlabelled]).numpy()
    return rows, np.concatenate([data.labels.numpy(), np.full(len(data.unlabelled), -1)])


@pytest.mark.parametrize(("neighbours", "alpha"), [(7, 0.2), (4, 0.9)])
def test_fit__equals_scikit_learn_on_new_rows(long_tailed, new_rows, neighbours, alpha):
    data = long_tailed(unlabelled=80)
    model = METHOD.fit(data, one_setting(neighbours, alpha), 0, Silent()).model
    reference = LabelSpreading(kernel="knn", n_neighbors=neighbours, alpha=alpha)
    expected = reference.fit(*rows_and_labels(data)).predict_proba(new_rows)
    np.testing.assert_allclose(model.probabilities(torch.tensor(new_rows)), expected, atol=2e-5)


def test_fit__settings_are_those_that_left_out_rows_prefer(long_tailed):
    data = long_tailed(text=False)
    result = METHOD.fit(data, LabelSpreadingSettings(neighbours=(3, 7), alphas=(0.2, 0.9), folds=4), 1, Silent())
    rows, labels = rows_and_labels(data)
    n_labelled = len(data.labels)
    folds = stratified_folds(data.labels, 4, torch.Generator().manual_seed(1)).numpy()
    settings, accuracies = [(3, 0.2), (3, 0.9), (7, 0.2), (7, 0.9)], []
    for neighbours, alpha in settings:
        predicted = np.empty(n_labelled, dtype=int)
        for fold in range(4):
            hidden = labels.copy()
            hidden[:n_labelled][folds == fold] = -1
            reference = LabelSpreading(kernel="knn", n_neighbors=neighbours, alpha=alpha)
            predicted[folds == fold] = reference.fit(rows, hidden).transduction_[:n_labelled][folds == fold]
        accuracies.append(balanced_accuracy_score(labels[:n_labelled], predicted))
    np.testing.assert_allclose(result.diagnostics["left_out_macro_accuracy"], accuracies)
    chosen = (result.diagnostics["neighbours"], result.diagnostics["alpha"])
    assert accuracies[settings.index(chosen)] == max(accuracies)


def test_fit__unlabelled_rows_carry_labels_on():
    # Two arcs, one labelled row at the start of each: only the rows in between tell which arc the far end is on.
    angles = np.linspace(0.0, 1.2, 40)
    arcs = [
        np.stack([np.cos(sign * (0.3 + a)), np.sin(sign * (0.3 + a))], axis=1)
        for sign, a in ((1, angles), (-1, angles))
    ]
    data = make_training_data(
        features=np.stack([arcs[0][0], arcs[1][0]]),
        labels=np.array([0, 1]),
        unlabelled=np.concatenate([arcs[0][1:], arcs[1][1:]]),
        text=None,
        class_names=("up", "down"),
    )
    model = METHOD.fit(data, one_setting(5, 0.99), 0, Silent()).model
    predicted = model(torch.tensor(np.stack([arcs[0][-1], arcs[1][-1]]), dtype=torch.float32)).argmax(-1)
    assert predicted.tolist() == [0, 1]
