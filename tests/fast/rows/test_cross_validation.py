import numpy as np
import pytest
import torch

from ulfine_fast.rows.cross_validation import Choice, choose_setting, choose_settings, kept
from ulfine_fast.rows.folds import stratified_folds
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


@pytest.mark.parametrize(("n_rows", "n_folds", "expected"), [(11, 3, 3), (11, 5, 5), (2, 5, 2)])
def test_choose_setting__trains_once_a_fold(n_rows, n_folds, expected):
    calls = []

    def fold_logits(keep):
        calls.append(int((~keep).sum()))
        yield torch.zeros(calls[-1], 2)

    training = data([row % 2 for row in range(n_rows)], text=True)
    choose_setting(training, fold_logits, n_settings=1, default=0, n_folds=n_folds, seed=0)
    assert len(calls) == expected
    assert sum(calls) == n_rows


def test_choose_setting__one_row_cannot_be_left_out():
    rows = np.eye(4)
    training = make_training_data(
        features=rows[:1], labels=np.array([0]), unlabelled=rows[:0], text=rows[:2], class_names=("a", "b")
    )
    assert choose(training, [([0], 1.0), ([0], 2.0)], default=1) == Choice(1, [])


def row_logits(training, losses):
    """Logits under which each row has a cross-entropy, and never the right class."""
    wrong = torch.tensor(losses, dtype=torch.float64).expm1().log()
    others = torch.nn.functional.one_hot(1 - training.labels, 2).double()
    return others * wrong[:, None]


def test_choose_setting__every_row_s_loss_weighs_the_same_whatever_the_size_of_its_fold():
    training = data([0, 0, 0, 0, 1, 1, 1, 1, 0, 1])
    folds = stratified_folds(training.labels, 4, torch.Generator().manual_seed(0))
    sizes = torch.bincount(folds)
    large, small = int(sizes.argmax()), int(sizes.argmin())
    assert [int(sizes[large]), int(sizes[small])] == [3, 2]
    settings = [
        row_logits(training, [loss if fold == where else 0.8 for fold in folds])
        for where, loss in ((large, 1.8), (small, 2.0))
    ]
    choice = choose_setting(
        training,
        lambda keep: (logits[~keep] for logits in settings),
        n_settings=2,
        default=0,
        n_folds=4,
        seed=0,
        criterion="cross-entropy",
    )
    # Three rows of 1.8 cost more than two of 2.0. Both predict nothing right, which does not count here.
    assert choice == Choice(1, [0.0, 0.0])


@pytest.mark.parametrize("criterion", ["accuracy", "cross-entropy"])
def test_choose_settings__each_seed_for_itself(criterion):
    training = data([0, 0, 0, 1, 1, 1])
    right = 3.0 * torch.nn.functional.one_hot(training.labels, 2)
    best_of = {0: 2, 1: 0, 2: 1}

    def fold_logits(keeps):
        for setting in range(3):
            yield [(right if best_of[seed] == setting else right.flip(1))[~keep] for seed, keep in enumerate(keeps)]

    found = choose_settings(
        training, fold_logits, n_settings=3, default=0, n_folds=3, seeds=[5, 6, 7], criterion=criterion
    )
    assert [choice.index for choice in found] == [2, 0, 1]
    accuracies = torch.tensor([choice.macro_accuracy for choice in found])
    assert accuracies.numpy() == pytest.approx(np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))


def test_choose_settings__the_best_of_one_seed_is_no_bar_for_another():
    """Half of the rows is the best that the first seed reaches; the other seed reaches all."""
    training = data([0, 0, 0, 1, 1, 1])
    right = 3.0 * torch.nn.functional.one_hot(training.labels, 2)
    one_class = torch.tensor([[5.0, 0.0]]).expand(6, 2)
    wrong = right.flip(1)

    def fold_logits(keeps):
        yield [logits[~keep] for logits, keep in zip((wrong, right), keeps, strict=True)]
        yield [logits[~keep] for logits, keep in zip((one_class, wrong), keeps, strict=True)]

    found = choose_settings(training, fold_logits, n_settings=2, default=0, n_folds=3, seeds=[0, 1])
    assert [choice.index for choice in found] == [1, 0]
    assert [choice.macro_accuracy for choice in found] == [pytest.approx([0.0, 0.5]), pytest.approx([1.0, 0.0])]
