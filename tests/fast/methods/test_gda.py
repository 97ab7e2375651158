import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score

from ulfine_cache.progress import Silent
from ulfine_fast.methods.gda import METHOD, GdaSettings
from ulfine_fast.rows.cross_validation import kept
from ulfine_fast.rows.folds import stratified_folds


def gaussian_scores(rows, features, labels, means):
    """Logarithm of the likelihood of each class, up to a constant: the quadratic form itself, not its expansion."""
    centred = features - means[labels]
    covariance = np.cov(centred, rowvar=False, bias=False)
    width = features.shape[1]
    precision = width * np.linalg.pinv((len(features) - 1) * covariance + np.trace(covariance) * np.eye(width))
    distances = rows[:, None, :] - means[None]
    return -0.5 * np.einsum("ncd,de,nce->nc", distances, precision, distances)


def class_means(features, labels):
    return np.array([features[labels == k].mean(0) for k in range(6)])


def test_fit__without_text_is_the_gaussian_posterior(long_tailed, new_rows):
    data = long_tailed(text=False)
    result = METHOD.fit(data, GdaSettings(), 0, Silent())
    features, labels = data.features.double().numpy(), data.labels.numpy()
    scores = gaussian_scores(new_rows, features, labels, class_means(features, labels))
    expected = softmax(scores, axis=1)
    np.testing.assert_allclose(result.model.probabilities(torch.tensor(new_rows)), expected, atol=1e-5)
    assert result.diagnostics == {}


def test_fit__with_text_adds_zero_shot_with_the_alpha_that_left_out_rows_prefer(long_tailed, new_rows):
    data = long_tailed()
    settings = GdaSettings(folds=4)
    result = METHOD.fit(data, settings, 3, Silent())
    features, labels, text = data.features.double().numpy(), data.labels.numpy(), data.text.double().numpy()
    folds = stratified_folds(data.labels, 4, torch.Generator().manual_seed(3)).numpy()
    zero_shot, gaussian = 100 * features @ text.T, np.empty((len(labels), 6))
    for fold in range(4):
        keep = folds != fold
        means = class_means(features[keep], labels[keep])
        gaussian[~keep] = gaussian_scores(features[~keep], features[keep], labels[keep], means)
    accuracies = [balanced_accuracy_score(labels, (zero_shot + a * gaussian).argmax(1)) for a in settings.alphas]
    np.testing.assert_allclose(result.diagnostics["left_out_macro_accuracy"], accuracies)
    alpha = result.diagnostics["alpha"]
    assert accuracies[settings.alphas.index(alpha)] == max(accuracies)
    scores = gaussian_scores(new_rows, features, labels, class_means(features, labels))
    expected = softmax(100 * new_rows @ text.T + alpha * scores, axis=1)
    np.testing.assert_allclose(result.model.probabilities(torch.tensor(new_rows)), expected, atol=1e-4)


def test_fit__class_without_rows_gets_the_mean_of_text_and_nearest_images(long_tailed, new_rows):
    data = long_tailed()
    data = kept(data, data.labels != 2)
    result = METHOD.fit(data, GdaSettings(scale=1.0, alphas=(1.0,), default_alpha=1.0), 0, Silent())
    features, labels, text = data.features.double().numpy(), data.labels.numpy(), data.text.double().numpy()
    means = np.array([features[labels == k].mean(0) if k != 2 else np.zeros(8) for k in range(6)])
    means[2] = (features.sum(0) + 16 * text[2]) / (len(features) + 16)  # fewer than 64 images: all are nearest
    expected = softmax(new_rows @ text.T + gaussian_scores(new_rows, features, labels, means), axis=1)
    np.testing.assert_allclose(result.model.probabilities(torch.tensor(new_rows)), expected, atol=1e-4)


def test_fit__one_image_per_class_spreads_around_the_mean_of_all(long_tailed, new_rows):
    data = long_tailed(text=False)
    first = torch.tensor([int(torch.nonzero(data.labels == k)[0, 0]) for k in range(6)])
    data = kept(data, torch.isin(torch.arange(len(data.labels)), first))
    features = data.features.double().numpy()
    scatter = (len(features) - 1) * np.cov(features, rowvar=False)
    precision = 8 * np.linalg.inv(scatter + np.trace(scatter) / (len(features) - 1) * np.eye(8))
    distances = new_rows[:, None, :] - features[None]
    expected = softmax(-0.5 * np.einsum("ncd,de,nce->nc", distances, precision, distances), axis=1)
    model = METHOD.fit(data, GdaSettings(), 0, Silent()).model
    np.testing.assert_allclose(model.probabilities(torch.tensor(new_rows)), expected, atol=1e-5)


@pytest.mark.parametrize("text", [True, False])
def test_fit__is_as_good_as_its_parts(long_tailed, text):
    data = long_tailed(text=text, unlabelled=300)
    truth = np.arange(300) % 6
    predicted = METHOD.fit(data, GdaSettings(), 0, Silent()).model(data.unlabelled).argmax(-1)
    assert balanced_accuracy_score(truth, predicted) > 0.7
