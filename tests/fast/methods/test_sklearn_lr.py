import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from torch.nn.functional import normalize

from ulfine_cache.progress import Silent
from ulfine_fast.methods.sklearn_lr import METHOD, SklearnLogisticRegressionSettings
from ulfine_fast.rows.cross_validation import kept
from ulfine_fast.rows.folds import balanced_weights, stratified_folds
from ulfine_fast.rows.training_data import make_training_data

ONE_C = SklearnLogisticRegressionSettings(cs=(10.0,), default_c=10.0)


def balanced(c=10.0):
    return LogisticRegression(C=c, class_weight="balanced", max_iter=1000)


@pytest.mark.parametrize("classes", [(0, 1, 2, 3, 4, 5), (1, 4), (0, 3, 5)])
def test_fit__equals_scikit_learn(long_tailed, new_rows, classes):
    data = long_tailed()
    data = kept(data, torch.isin(data.labels, torch.tensor(classes)))
    model = METHOD.fit(data, ONE_C, 0, Silent()).model
    expected = np.zeros((len(new_rows), 6))
    reference = balanced().fit(data.features.double().numpy(), data.labels.numpy())
    expected[:, classes] = reference.predict_proba(new_rows)
    np.testing.assert_allclose(model.probabilities(torch.tensor(new_rows)), expected, atol=1e-5)


def test_fit__fewer_rows_than_dimensions_equal_scikit_learn_without_a_word(recwarn):
    generator = np.random.default_rng(0)
    rows = normalize(torch.tensor(generator.normal(size=(35, 120)), dtype=torch.float32), dim=1)
    labels = np.arange(30) % 24  # scikit-learn then asks whether this is a regression
    data = make_training_data(
        features=rows[:30],
        labels=labels,
        unlabelled=rows[:0],
        text=None,
        class_names=tuple(map(str, range(24))),
    )
    model = METHOD.fit(data, ONE_C, 0, Silent()).model
    assert not recwarn.list
    with pytest.warns(UserWarning, match="unique classes"):
        reference = balanced().fit(rows[:30].double().numpy(), labels)
    expected = reference.predict_proba(rows[30:].double().numpy())
    np.testing.assert_allclose(model.probabilities(rows[30:]), expected, atol=1e-5)


def test_fit__c_is_the_one_of_least_balanced_cross_entropy(long_tailed):
    data = long_tailed()
    cs = [0.1, 1.0, 10.0, 100.0]
    result = METHOD.fit(data, SklearnLogisticRegressionSettings(cs=tuple(cs), folds=2), 0, Silent())
    features, labels = data.features.double().numpy(), data.labels.numpy()
    folds = stratified_folds(data.labels, 2, torch.Generator().manual_seed(0)).numpy()
    weights = balanced_weights(data.labels, data.labelled_counts, torch.ones(len(labels), dtype=torch.bool)).numpy()
    losses = []
    for c in cs:
        loss = 0.0
        for fold in range(2):
            out = folds == fold
            chances = balanced(c).fit(features[~out], labels[~out]).predict_proba(features[out])
            loss -= (weights[out] * np.log(chances[np.arange(out.sum()), labels[out]])).sum()
        losses.append(loss)
    assert result.diagnostics["c"] == cs[int(np.argmin(losses))]


# Releases before 1.8 do not know the parameters that later ones ask for.
@pytest.mark.filterwarnings("ignore::FutureWarning:sklearn")
def test_fit__agrees_with_scikit_learns_own_cross_validation_on_balanced_rows(long_tailed):
    data = long_tailed()
    # Two rows of each class: then balanced and plain cross-entropy are the same figure.
    first = torch.cat([torch.nonzero(data.labels == k)[:2, 0] for k in range(6)])
    keep = torch.zeros(len(data.labels), dtype=torch.bool)
    keep[first] = True
    data = kept(data, keep)
    cs = [0.1, 1.0, 10.0, 100.0, 1000.0]
    folds = stratified_folds(data.labels, 2, torch.Generator().manual_seed(0)).numpy()
    reference = LogisticRegressionCV(
        Cs=cs,
        cv=[(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(2)],
        class_weight="balanced",
        scoring="neg_log_loss",
        max_iter=1000,
    ).fit(data.features.double().numpy(), data.labels.numpy())
    result = METHOD.fit(data, SklearnLogisticRegressionSettings(cs=tuple(cs), folds=2), 0, Silent())
    # One number, or the same one for each class: that goes by scikit-learn's release, too.
    assert {result.diagnostics["c"]} == set(np.ravel(reference.C_))
