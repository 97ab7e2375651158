import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.progress import Silent
from ulfine_cache.splits import draw_split, make_split
from ulfine_fast import registry
from ulfine_fast.compare import compare
from ulfine_fast.judging.metrics import SCALARS
from ulfine_fast.methods import zero_shot
from ulfine_fast.rows.training_data import load_training_data
from ulfine_fast.seeds import one_by_one


@pytest.fixture
def means_method(monkeypatch):
    """A second method that needs nothing but this file: zero-shot on class means."""
    import dataclasses

    def fit(data, settings, seed, progress):
        return zero_shot.fit(dataclasses.replace(data, text=None), settings, seed, progress)

    monkeypatch.setattr(
        zero_shot,
        "MEANS",
        dataclasses.replace(zero_shot.METHOD, name="means", fit_seeds=one_by_one(fit)),
        raising=False,
    )
    monkeypatch.setitem(registry.METHODS, "means", registry.Entry("zero_shot:MEANS", "class means"))


def test_compare__structure_and_figures(text_cache, means_method):
    figures = compare(cache=text_cache, split="lt", methods="zero-shot, means", seeds=3)
    assert (figures["split"], figures["seeds"]) == ("lt", [0, 1, 2])
    assert figures["protocol"]["imbalance"] == 5.0
    first, second = figures["methods"]
    assert (first["method"], second["method"]) == ("zero-shot", "means")
    for method in figures["methods"]:
        for name in (*SCALARS, "seconds"):
            assert set(method[name]) == {"mean", "std", "per_seed"}
            assert len(method[name]["per_seed"]) == 3
    macro = [np.array(method["macro_accuracy"]["per_seed"]) for method in (first, second)]
    assert second["macro_accuracy"]["mean"] == pytest.approx(macro[1].mean())
    assert second["macro_accuracy"]["std"] == pytest.approx(macro[1].std(ddof=1))
    difference = macro[1] - macro[0]
    assert second["difference"]["mean"] == pytest.approx(difference.mean())
    assert second["difference"]["stderr"] == pytest.approx(difference.std(ddof=1) / np.sqrt(3))
    assert first["difference"] == {"mean": 0.0, "stderr": 0.0}
    assert first["many_accuracy"] == {"mean": None, "std": None, "per_seed": [None] * 3}


def test_compare__draws_the_protocol_anew(text_cache, opened, means_method):
    figures = compare(cache=text_cache, split="lt", methods="means", seeds=2)
    method = zero_shot.MEANS
    for seed in (0, 1):
        protocol = opened.read_split("lt").protocol | {"seed": seed}
        draw = draw_split(opened.labels, opened.set_names, protocol, class_names=opened.class_names)
        model = method.fit(load_training_data(opened, draw), method.settings(), seed, Silent()).model
        import torch

        predicted = model(torch.as_tensor(opened.features(draw.test))).argmax(1).numpy()
        expected = balanced_accuracy_score(opened.labels[draw.test], predicted)
        assert figures["methods"][0]["macro_accuracy"]["per_seed"][seed] == pytest.approx(expected)


def test_compare__one_seed_has_no_spread(text_cache):
    figures = compare(cache=text_cache, split="lt", methods="zero-shot", seeds=1)
    method = figures["methods"][0]
    assert method["macro_accuracy"]["std"] is None
    assert method["difference"] == {"mean": 0.0, "stderr": None}


def test_compare__mistakes(text_cache):
    for changes, kind, words in [
        ({"methods": "zero-shot,magic"}, UsageError, "unknown method 'magic'"),
        ({"methods": "zero-shot,zero-shot"}, UsageError, "named twice"),
        ({"methods": ""}, UsageError, "methods '' holds an empty name"),
        ({"methods": ","}, UsageError, "methods ',' holds an empty name"),
        ({"seeds": 0}, UsageError, "seeds=0"),
        ({"split": "none"}, UlfineError, "no split 'none'"),
    ]:
        with pytest.raises(kind, match=words):
            compare(**({"cache": text_cache, "split": "lt", "methods": "zero-shot"} | changes))


def test_compare__needs_test_rows(make_cache, clusters):
    features, labels, text = clusters(20)
    cache = make_cache("untested", features=features, labels=labels, text_features=text)
    make_split(cache=cache, name="lt", labelled_max=10, imbalance=2.0)
    assert len(FeatureCache.open(cache).read_split("lt").test) == 0
    with pytest.raises(UlfineError, match="no test rows to compare on"):
        compare(cache=cache, split="lt", methods="zero-shot", seeds=1)


def test_compare__says_how_many_pseudo_labels_are_false(text_cache, opened, means_method):
    figures = compare(cache=text_cache, split="lt", methods="zero-shot", seeds=2)["methods"][0]["pseudo_labels"]
    import torch

    false = []
    for seed in (0, 1):
        protocol = opened.read_split("lt").protocol | {"seed": seed}
        draw = draw_split(opened.labels, opened.set_names, protocol, class_names=opened.class_names)
        model = zero_shot.METHOD.fit(
            load_training_data(opened, draw), zero_shot.METHOD.settings(), seed, Silent()
        ).model
        predicted = model(torch.as_tensor(opened.features(draw.unlabelled))).argmax(1).numpy()
        false.append((predicted != opened.labels[draw.unlabelled]).mean())
    assert figures["all"]["false"]["per_seed"] == pytest.approx(false)
    assert set(figures) == {"all", "head", "medium", "tail"}


def test_compare__ablation_turns_parts_off_one_by_one(text_cache):
    figures = compare(cache=text_cache, split="lt", methods="ulfine", seeds=1, ablation=True)["methods"]
    parts = registry.get_method("ulfine").switches
    assert [entry["method"] for entry in figures] == ["ulfine", *(f"ulfine without {part}" for part in parts)]
    whole = compare(cache=text_cache, split="lt", methods="ulfine", seeds=1)["methods"][0]
    assert figures[0]["nll"] == whole["nll"]
    assert all(entry["nll"] != whole["nll"] for entry in figures[1:])


@pytest.mark.parametrize("methods", ["ulfine,ulfine-paper", "zero-shot"])
def test_compare__ablation_of_nothing(text_cache, methods):
    with pytest.raises(UsageError, match="one of ulfine, ulfine-paper"):
        compare(cache=text_cache, split="lt", methods=methods, ablation=True)


def test_compare__prints_the_table_for_a_paper(text_cache):
    asked = {"cache": text_cache, "split": "lt", "methods": "knn,zero-shot", "seeds": 2}
    figures = compare(**asked, latex=True)
    assert figures["printed"].splitlines()[-1].startswith("\\end{tabular}")
    assert figures["methods"][1]["test"]["name"]
    assert "| zero-shot |" in compare(**asked, markdown=True)["printed"]
    assert "printed" not in compare(**asked)
    with pytest.raises(UsageError, match="one table each"):
        compare(**asked, latex=True, markdown=True)
