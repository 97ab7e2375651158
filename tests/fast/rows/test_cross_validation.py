import numpy as np
import torch

from ulfine_fast.rows.cross_validation import choose_setting, kept
from ulfine_fast.rows.training_data import make_training_data


def data(labels, text=False):
    labels = np.asarray(labels)
    n_classes = labels.max() + 1
    return make_training_data(
        features=np.random.default_rng(0).normal(size=(len(labels), 4)),
        labels=labels,
        unlabelled=np.empty((0, 4)),
        text=np.eye(4)[:n_classes] if text else None,
        class_names=tuple("abcd"[:n_classes]),
    )


def choose(training, settings, **arguments):
    """`settings` are predictions for every row, (n,) each; the folds get theirs."""

    def fold_logits(keep):
        for predicted, confidence in settings:
            yield confidence * torch.nn.functional.one_hot(torch.tensor(predicted), training.n_classes)[~keep].float()

    return choose_setting(
        training, fold_logits, n_settings=len(settings), **{"default": 0, "n_folds": 3, "seed": 0} | arguments
    )


def test_choose_setting__macro_not_plain_accuracy():
    # Eight rows of class 0 and two of class 1: always 0 is right on 80 %, but on half of the classes.
    labels = [0] * 8 + [1] * 2
    mixed = [0] * 4 + [1] * 6
    choice = choose(data(labels), [([0] * 10, 1.0), (mixed, 1.0)])
    assert choice.index == 1
    np.testing.assert_allclose(choice.macro_accuracy, [0.5, 0.75])


def test_choose_setting__every_row_is_left_out_once_and_never_learnt_from_then():
    training = data([0] * 7 + [1] * 4)
    seen = torch.zeros(11, dtype=torch.int64)

    def fold_logits(keep):
        seen.add_((~keep).long())
        part = kept(training, keep)
        assert torch.equal(part.features, training.features[keep])
        assert torch.equal(part.labels, training.labels[keep])
        yield torch.zeros(int((~keep).sum()), 2)

    choose_setting(training, fold_logits, n_settings=1, default=0, n_folds=3, seed=0)
    assert (seen == 1).all()


def test_choose_setting__ties_go_to_the_better_likelihood_then_to_the_first():
    labels = [0, 0, 0, 1, 1, 1]
    right = list(labels)
    assert choose(data(labels), [(right, 1.0), (right, 3.0), (right, 2.0)]).index == 1
    assert choose(data(labels), [(right, 1.0), (right, 1.0)]).index == 0


def test_choose_setting__cross_entropy_alone():
    labels = [0, 0, 0, 1, 1, 1]
    one_wrong_but_sure, two_wrong_but_modest = [0, 0, 1, 1, 1, 1], [0, 1, 0, 1, 0, 1]
    settings = [(one_wrong_but_sure, 50.0), (two_wrong_but_modest, 0.1)]
    assert choose(data(labels), settings).index == 0
    assert choose(data(labels), settings, criterion="cross-entropy").index == 1


def test_choose_setting__a_lone_row_has_no_say_without_text():
    labels = [0, 0, 0, 1, 1, 1, 2]
    loner_right, loner_wrong = [0, 0, 1, 1, 1, 1, 2], [0, 0, 0, 1, 1, 1, 0]
    settings = [(loner_right, 1.0), (loner_wrong, 1.0)]
    assert choose(data(labels), settings).index == 1
    assert choose(data(labels, text=True), settings).index == 0


def test_choose_setting__nothing_to_leave_out():
    settings = [([0, 1, 2], 1.0), ([0, 1, 2], 2.0)]
    assert choose(data([0, 1, 2]), settings, default=1).index == 1
    assert choose(data([0, 1, 2]), settings, default=1).macro_accuracy == []


def test_choose_setting__more_folds_than_rows():
    assert choose(data([0, 0, 1]), [([0, 0, 1], 1.0)], n_folds=10).macro_accuracy == [1.0]
