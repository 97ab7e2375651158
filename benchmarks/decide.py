"""Can decisions be left to `--target-accuracy`, `diff` and `drift`? Promises against what then happens.

    python benchmarks/decide.py [--quick] [--json FILE] [--data DIR] [--only refusal,diff,drift,thresholds,unknown]
        [--draws K]

refusal: real CLIP features (`--data`, or the environment variable ULFINE_SHARED_DATA, else ../shared/data), four
collections, ten draws each: sixteen labels of the largest class, imbalance 4, the rest unlabelled but eight rows of
each class, which are the test rows. A threshold for 95 % is learnt from rows that the fit left out, then accuracy and
coverage are those of the test rows. The peers, scikit-learn's logistic regression and discriminant analysis, are left
out in five folds, get their best temperature there and a threshold by the same rule. Accuracy on the files' own test
rows, which are from elsewhere, stands beside it. diff: 200 simulated pairs of models, a hundred classes to three, three
to thirty test rows each: how often the interval of the difference holds the true one, and how often that of a bootstrap
does. drift: batches of 50 rows of a collection against 500 others, 200 of them unchanged ones. What changes pictures is
tried on WHU-RS19's photographs with `builtin:tiny`, the one encoder that is always there: a blur of the third of five
strengths (a Gaussian of 0.5, 1, 1.5, 2 or 3 of the 32 pixels that the encoder sees, so 14 of 300), and another camera
(warmer, darker, less contrast). ImageNet-C's third strength, 3 pixels of 224, is 0.4 of these 32: shown, not barred.
With `builtin:lite0`, where that is installed, the blur is ImageNet-C's third strength itself, and the same is tried in
what an exported file remembers. A class whose share doubles is the most frequent one, in batches of 50 and of 200; and,
in classes drawn by chance, one of 5 to 40 % among twenty, beside the best that any test can do: one that is told which
class and how frequent it was, and may raise 5 % false alarms. thresholds (only where it is named; no bars): one for all
against one for each class, from up to 40 labels a class, imbalance 2; accepted test rows by the class that is answered.
unknown: about half of the classes are known, of Caltech-54 12 of 54; the AUROC of what tells rows of known classes from
those of the others: the outlier score of `fit --outlier-score`, plain confidence of the same fit, the cosine to the
nearest class mean, and the largest probability and logit of scikit-learn's logistic regression. Rows are the files' own
test rows; of WHU-RS19, which has none, eight rows of each class that were held back, and half of the others.
"strangers" are sets whose unlabelled rows hold rows of unknown classes as well.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from regimes import Cell, Regime, draw, read

from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Silent
from ulfine_cache.splitting.split_protocol import long_tailed_counts
from ulfine_exports.drifting.reference import reference_of
from ulfine_fast.deciding.acceptance import acceptance_figures, accepted_figures, learn_acceptance
from ulfine_fast.deciding.class_thresholds import AcceptBy
from ulfine_fast.deciding.drift_test import ALARM, PARTS, PERMUTATIONS, compare_rows, frequency_test
from ulfine_fast.deciding.learn_outlier_score import learn_outlier_scale
from ulfine_fast.deciding.paired_difference import paired_difference
from ulfine_fast.judging.accepted_rows import accepted_rows
from ulfine_fast.judging.outlier_score import outlier_scores
from ulfine_fast.registry import get_method
from ulfine_fast.rows.cross_validation import kept
from ulfine_fast.rows.folds import stratified_folds
from ulfine_fast.rows.training_data import TrainingData

TARGET = 0.95
SETS = (("whurs19_vit-b-32", True), ("caltech54_vit-b-32", True), ("dtd_vit-b-32", False), ("ucf101_vit-b-32", False))
PEERS = ("sklearn-lr", "gda")
REGIME = Regime(16, 4, "many")
Bar = dict[str, Any]


def softmax(logits: NDArray[Any], temperature: float = 1.0) -> NDArray[np.float32]:
    return torch.softmax(torch.as_tensor(logits) / temperature, -1).numpy()


def best_temperature(logits: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """Of the least cross-entropy, each class counting the same."""
    weights = 1 / np.bincount(labels)[labels]
    grid = np.exp(np.linspace(-5, 3, 161))
    losses = [
        -(weights * np.log(np.maximum(softmax(logits, t)[np.arange(len(labels)), labels], 1e-12))).sum() for t in grid
    ]
    return float(grid[int(np.argmin(losses))])


def peer_answers(name: str, data: TrainingData, rows: torch.Tensor, seed: int) -> tuple[NDArray[Any], ...]:
    """Probabilities of left-out rows, with the rows that can be judged, and of test rows."""
    method = get_method(name)
    labels = data.labels.numpy()
    left = np.zeros((len(labels), data.n_classes), np.float32)
    folds = stratified_folds(data.labels, 5, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for fold in folds.unique().tolist():
            out = folds == fold
            model = method.fit(kept(data, ~out), method.settings(), seed, Silent()).model
            left[out.numpy()] = model(data.features[out]).numpy()
        tested = method.fit(data, method.settings(), seed, Silent()).model(rows).numpy()
    judged = (data.labelled_counts[data.labels] > 1).numpy()
    temperature = best_temperature(left[judged], labels[judged])
    return softmax(left[judged], temperature), labels[judged], softmax(tested, temperature)


def refused(name: str, text: bool, seed: int) -> dict[str, dict[str, float]]:
    """Accuracy and coverage of accepted test rows of `ulfine` and its peers, of one draw."""
    file = read(DATA, name)
    drawn = draw(file, Cell(name, REGIME, text), seed, "pool")
    method = get_method("ulfine")
    result = method.fit(drawn.data, method.settings(), seed, Silent())
    assert result.left_out is not None
    rows, left = result.left_out.averaged()
    labels = drawn.data.labels.numpy()[rows]
    judged = (drawn.data.labelled_counts.numpy() > 1)[labels]
    learnt = learn_acceptance(left[judged], labels[judged], TARGET)
    assert learnt is not None
    with torch.no_grad():
        found = {"ulfine": accepted_figures(softmax(result.model(drawn.rows)), drawn.labels, learnt.threshold)}
        if file.test is not None and file.test_labels is not None:
            place = np.argsort([int(label) for label in drawn.data.class_names])
            elsewhere = softmax(result.model(torch.as_tensor(file.test)))
            found["elsewhere"] = accepted_figures(elsewhere, place[file.test_labels], learnt.threshold)
    found["ulfine"]["promised"] = learnt.promised
    for peer in PEERS:
        left, labels, tested = peer_answers(peer, drawn.data, drawn.rows, seed)
        other = learn_acceptance(left, labels, TARGET)
        assert other is not None
        found[peer] = accepted_figures(tested, drawn.labels, other.threshold)
    return found


def refusal_bars(draws: int, quick: bool) -> tuple[dict[str, Any], list[Bar]]:
    figures: dict[str, Any] = {}
    for name, text in SETS[: 2 if quick else None]:
        each = [refused(name, text, seed) for seed in range(draws)]
        figures[name] = {
            who: {
                key: float(np.nanmean([np.nan if of[who][key] is None else of[who][key] for of in each]))
                for key in ("accuracy", "coverage")
            }
            for who in each[0]
        }
        shown = ", ".join(
            f"{who} {100 * of['accuracy']:.1f} % of {100 * of['coverage']:.1f} %" for who, of in figures[name].items()
        )
        print(f"{name}: {shown}", flush=True)
    short = max(TARGET - of["ulfine"]["accuracy"] for of in figures.values())
    # Of peers that keep the promise as well; coverage that is bought with wrong answers is none.
    behind = [
        of[peer]["coverage"] - of["ulfine"]["coverage"]
        for of in figures.values()
        for peer in PEERS
        if of[peer]["accuracy"] >= TARGET - 0.015
    ]
    return figures, [
        at_most("refusal: accepted accuracy short of the target, worst of the sets", max(0.0, short), 0.015),
        at_most("refusal: coverage behind the best peer that keeps the target, worst of the sets", max(behind), 0.0),
    ]


def thresholds_of(name: str, draws: int) -> dict[str, dict[str, float]]:
    """What one threshold for all and one for each class do to test rows, all draws together; by target and kind."""
    file = read(DATA, name)
    told: dict[tuple[float, AcceptBy], list[NDArray[Any]]] = {}
    own: dict[tuple[float, AcceptBy], list[bool]] = {}
    for seed in range(draws):
        drawn = draw(file, Cell(name, Regime(40, 2), False), seed, "pool")
        method = get_method("ulfine")
        result = method.fit(drawn.data, method.settings(), seed, Silent())
        assert result.left_out is not None
        rows, left = result.left_out.averaged()
        labels, counts = drawn.data.labels.numpy()[rows], drawn.data.labelled_counts.numpy()
        with torch.no_grad():
            tested = softmax(result.model(drawn.rows))
        answers, names = tested.argmax(1), np.array([int(label) for label in drawn.data.class_names])
        for target in (0.9, TARGET):
            for by in ("all", "class"):
                learnt = acceptance_figures((left, labels), (tested, drawn.labels), counts, target, by)
                assert learnt is not None
                entries = learnt["by_class"]
                least = learnt["threshold"] if by == "all" else [entry["threshold"] for entry in entries]
                found = np.stack([names[answers], answers == drawn.labels, accepted_rows(tested, least)])
                told.setdefault((target, by), []).append(found)
                own.setdefault((target, by), []).extend(entry.get("judged", False) for entry in entries)
    figures: dict[str, dict[str, float]] = {}
    for (target, by), found in told.items():
        answers, right, accepted = np.concatenate(found, axis=1)
        sure = accepted.astype(bool)
        taken = np.bincount(answers[sure], minlength=len(file.pool_labels))
        hits = np.bincount(answers[sure], right[sure], len(file.pool_labels))
        shares = hits[taken >= 10] / taken[taken >= 10]
        figures[f"{target} by {by}"] = {
            "accuracy": float(right[sure].mean()),
            "coverage": float(sure.mean()),
            "classes": len(shares),
            "least": float(shares.min()),
            "tenth": float(np.quantile(shares, 0.1)),
            "short_by_5_points": float((shares < target - 0.05).mean()),
            "judged": float(np.mean(own[target, by])),
        }
    return figures


def thresholds_figures(draws: int, quick: bool) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name in ("dtd_vit-b-32", "caltech54_vit-b-32", "ucf101_vit-b-32")[: 1 if quick else None]:
        figures[name] = thresholds_of(name, draws)
        for by, of in figures[name].items():
            print(f"{name}, {by}: {', '.join(f'{key} {value:.3f}' for key, value in of.items())}", flush=True)
    return figures


UNKNOWN = {
    # name: file, known classes, labels of the largest class (of "most" two thirds of the rarest), imbalance, strangers
    "Caltech-54, 12 of 54, 8 labels": ("caltech54_vit-b-32", 12, 8, 4, False),
    "Caltech-54, 12 of 54, most labels": ("caltech54_vit-b-32", 12, "most", 1, False),
    "Caltech-54, 12 of 54, 8 labels, strangers": ("caltech54_vit-b-32", 12, 8, 4, True),
    "Caltech-54, 12 of 54, most labels, strangers": ("caltech54_vit-b-32", 12, "most", 1, True),
    "WHU-RS19, 10 of 19": ("whurs19_vit-b-32", 10, 16, 4, False),
    "WHU-RS19, 10 of 19, strangers": ("whurs19_vit-b-32", 10, 16, 4, True),
    "DTD, 24 of 47": ("dtd_vit-b-32", 24, 16, 4, False),
    "DTD, 24 of 47, strangers": ("dtd_vit-b-32", 24, 16, 4, True),
    "UCF-101, 50 of 101": ("ucf101_vit-b-32", 50, 16, 4, False),
    "UCF-101, 50 of 101, strangers": ("ucf101_vit-b-32", 50, 16, 4, True),
}


def separations(task: tuple[Any, ...], seed: int) -> dict[str, float]:
    """AUROC of unknown rows against known ones, by score, and how many known and unknown rows are above 1."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    name, known, most, imbalance, strangers = task
    file = read(DATA, name)
    rng = np.random.default_rng([seed, 42])
    order = rng.permutation(int(file.pool_labels.max()) + 1)
    place = np.full(len(order), -1)
    place[order[:known]] = np.arange(known)
    largest = int(np.bincount(file.pool_labels).min() * 2 / 3) if most == "most" else most
    labelled, unlabelled, held = [], [], []
    for k, count in zip(order[:known], long_tailed_counts(largest, imbalance, known), strict=True):
        rows = rng.permutation(np.flatnonzero(file.pool_labels == k)).tolist()
        if file.test is None:
            held, rows = held + rows[:8], rows[8:]
        labelled, unlabelled = labelled + rows[:count], unlabelled + rows[count:]
    others = rng.permutation(np.flatnonzero(place[file.pool_labels] < 0)).tolist()
    if file.test is None or file.test_labels is None:
        held, others = held + others[: len(others) // 2], others[len(others) // 2 :]
        tested, unknown = file.pool[held], place[file.pool_labels[held]] < 0
    else:
        tested, unknown = file.test, place[file.test_labels] < 0
    data = TrainingData(
        features=torch.as_tensor(file.pool[labelled]),
        labels=torch.as_tensor(place[file.pool_labels[labelled]]),
        unlabelled=torch.as_tensor(file.pool[unlabelled + (others if strangers else [])]),
        text=None if file.text is None else torch.as_tensor(file.text[order[:known]]),
        class_names=tuple(map(str, range(known))),
    )
    method = get_method("ulfine")
    result = method.fit(data, method.settings(), seed, Silent())
    assert result.left_out is not None
    left = result.left_out.averaged()[0]
    scale = learn_outlier_scale(result.left_out.energies(), data.labels.numpy()[left])
    assert scale is not None
    rows = torch.as_tensor(tested)
    with torch.no_grad():
        logits = result.model(rows)
        scores = outlier_scores(logits.numpy(), scale)
    means = np.stack([data.features.numpy()[data.labels.numpy() == k].mean(0) for k in range(known)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    logistic = LogisticRegression(C=10, class_weight="balanced", max_iter=500)
    peer = logistic.fit(data.features.numpy(), data.labels.numpy()).decision_function(tested)
    found = {
        "score": scores,
        "confidence": -torch.log_softmax(logits, -1).amax(-1).numpy(),
        "cosine": -(tested @ means.T).max(1),
        "logistic regression, probability": -torch.log_softmax(torch.as_tensor(peer), -1).amax(-1).numpy(),
        "logistic regression, logit": -peer.max(1),
    }
    shares = {
        "known above 1": float((scores > 1)[~unknown].mean()),
        "unknown above 1": float((scores > 1)[unknown].mean()),
    }
    return {name: float(roc_auc_score(unknown, values)) for name, values in found.items()} | shares


def unknown_bars(draws: int, quick: bool) -> tuple[dict[str, Any], list[Bar]]:
    figures: dict[str, Any] = {}
    bars: list[Bar] = []
    for name, task in UNKNOWN.items():
        if quick and name not in ("Caltech-54, 12 of 54, 8 labels", "WHU-RS19, 10 of 19"):
            continue
        each = [separations(task, seed) for seed in range(draws)]
        figures[name] = {
            what: {"mean": float(np.mean([of[what] for of in each])), "per_seed": [of[what] for of in each]}
            for what in each[0]
        }
        print(
            f"unknown, {name}: " + ", ".join(f"{what} {of['mean']:.3f}" for what, of in figures[name].items()),
            flush=True,
        )
        mean = figures[name]["score"]["mean"]
        if name.startswith("Caltech") and "strangers" not in name:
            bars.append({"name": f"unknown: AUROC, {name}", "value": mean, "bar": 0.99, "holds": mean >= 0.99})
        pairs = zip(*(figures[name][what]["per_seed"] for what in ("score", "confidence")), strict=True)
        figures[name]["over confidence, worst draw"] = min(score - confidence for score, confidence in pairs)
        print(f"    over confidence in the worst draw: {figures[name]['over confidence, worst draw']:.4f}", flush=True)
        over = mean - figures[name]["confidence"]["mean"]
        bars.append({"name": f"unknown: AUROC over confidence, {name}", "value": over, "bar": 0, "holds": over >= 0})
    return figures, bars


def bootstrap(
    won: NDArray[Any], lost: NDArray[Any], totals: NDArray[Any], rng: np.random.Generator
) -> tuple[float, float]:
    """The percentile interval of a bootstrap within classes."""
    sums = np.zeros(1000)
    for more, less, n in zip(won, lost, totals, strict=True):
        drawn = rng.multinomial(n, [more / n, less / n, (n - more - less) / n], size=1000)
        sums += (drawn[:, 0] - drawn[:, 1]) / n
    low, high = np.percentile(sums / len(totals), [2.5, 97.5])
    return float(low), float(high)


def diff_bars(pairs: int = 200, looks: int = 5) -> tuple[dict[str, Any], list[Bar]]:
    """Pairs differ by class: few or many rows change, in favour of either; each is looked at on several test sets."""
    rng = np.random.default_rng(0)
    held: dict[str, list[bool]] = {"macro": [], "tail": [], "bootstrap, macro": []}
    for _ in range(pairs):
        n_classes = int(rng.choice([10, 20, 50, 100]))
        changed = np.clip(rng.gamma(1.0, rng.choice([0.05, 0.1, 0.2]), n_classes), 0, 0.9)
        shares = changed[:, None] * rng.dirichlet((2.0, 2.0), n_classes)
        most = int(rng.choice([6, 15, 30]))
        for _ in range(looks):
            totals = rng.integers(3, most + 1, n_classes)
            strata = np.repeat(np.arange(n_classes), totals)
            draws = rng.random(len(strata))
            won = draws < shares[strata, 0]
            lost = ~won & (draws < shares[strata].sum(1))
            for name, classes in (("macro", n_classes), ("tail", n_classes // 3)):
                mine = strata < classes
                true = float((shares[:classes, 0] - shares[:classes, 1]).mean())
                found = paired_difference(~won[mine], ~lost[mine], strata[mine])
                assert found is not None
                held[name].append(found.low <= true <= found.high)
            counts = [np.bincount(strata[mask], minlength=n_classes) for mask in (won, lost)]
            low, high = bootstrap(counts[0], counts[1], totals, rng)
            held["bootstrap, macro"].append(low <= float((shares[:, 0] - shares[:, 1]).mean()) <= high)
    covered = {name: float(np.mean(of)) for name, of in held.items()}
    print(f"diff: intervals that hold the true difference, {covered}", flush=True)
    bars = [
        {"name": f"diff: {name}, intervals that hold the true difference", "value": covered[name], "bar": "93 to 97 %",
         "holds": 0.93 <= covered[name] <= 0.97}
        for name in ("macro", "tail")
    ]  # fmt: skip
    return covered, bars


def drift_bars(batches: int) -> tuple[dict[str, Any], list[Bar]]:
    """False alarms and what is found; classes are those of the nearest class mean."""
    figures: dict[str, Any] = {}
    alarms: list[bool] = []
    exported: list[bool] = []
    frequent_doubled: dict[int, list[bool]] = {50: [], 200: []}
    for name, _ in SETS[:2]:
        file = read(DATA, name)
        labels = file.pool_labels
        means = np.stack([file.pool[labels == k].mean(0) for k in range(labels.max() + 1)])
        answers = (file.pool @ means.T).argmax(1)
        frequent = int(np.bincount(labels).argmax())
        rng = np.random.default_rng(0)

        for seed in range(batches // 2):
            order = rng.permutation(len(labels))
            alarms.append(alarm(file.pool, answers, order[:500], order[500:550], seed))
            reference = reference_of(file.pool[order[:500]], answers[order[:500]])
            kept = (reference.rows, reference.like(file.pool[order[500:550]]))
            parts = (*kept, reference.answers, answers[order[500:550]])
            exported.append(compare_rows(*parts, int(answers.max()) + 1, seed).alarm)
        for size, found in frequent_doubled.items():
            for seed in range(batches // 10):
                order = rng.permutation(len(labels))
                former, rest = order[:500], order[500:]
                mine = rest[labels[rest] == frequent]
                wanted = min(len(mine), round(2 * size * float((labels == frequent).mean())))
                new = np.concatenate([mine[:wanted], rest[labels[rest] != frequent][: size - wanted]])
                found.append(alarm(file.pool, answers, former, new, seed))
    figures["false alarms"] = float(np.mean(alarms))
    figures["false alarms, exported"] = float(np.mean(exported))
    figures |= {f"doubled share, {size} rows": float(np.mean(of)) for size, of in frequent_doubled.items()}
    figures |= changed_pictures("builtin:tiny", 14, batches // 10)
    figures |= changed_pictures("builtin:lite0", 4, batches // 10)
    figures["doubled"] = doubled(batches)
    print(f"drift: {figures}", flush=True)
    bars = [at_most("drift: false alarms, unchanged batches of 50", figures["false alarms"], 0.05)]
    bars.append(at_most("drift: the same, as an exported file", figures["false alarms, exported"], 0.05))
    for name, value in figures.items():
        if name != "doubled" and "false alarms" not in name and "cannot" not in name:
            bars.append({"name": f"drift: finds {name}", "value": value, "bar": 0.9, "holds": value >= 0.9})
    for share, size in ((0.4, 50), (0.3, 100), (0.2, 200), (0.1, 800)):
        value = figures["doubled"][f"{share:g}"][str(size)]["found"]
        name = f"drift: finds a class of {100 * share:g} % that doubles, {size} rows"
        bars.append({"name": name, "value": value, "bar": 0.9, "holds": value >= 0.9})
    return figures, bars


def doubled(trials: int, former: int = 500, n_classes: int = 20) -> dict[str, Any]:
    """How often a class that doubles raises an alarm, by share and batch size, and how often the best test would."""
    from scipy.stats import binom

    table: dict[str, Any] = {}
    for share in (0.05, 0.1, 0.2, 0.3, 0.4):
        rng = np.random.default_rng(0)
        before, after = (np.r_[p, np.full(n_classes - 1, (1 - p) / (n_classes - 1))] for p in (share, 2 * share))
        table[f"{share:g}"] = row = {}
        for size in (50, 100, 200, 400, 800):
            # Neyman and Pearson: reject from a number on, and at the number below by chance, at 5 % in all.
            least = int(binom.isf(0.05, size, share)) + 1
            extra = (0.05 - binom.sf(least - 1, size, share)) / binom.pmf(least - 1, size, share)
            best = binom.sf(least - 1, size, 2 * share) + extra * binom.pmf(least - 1, size, 2 * share)
            found = []
            for _ in range(trials):
                parts = [rng.choice(n_classes, n, p=p) for n, p in ((former, before), (size, after))]
                found.append(classes_alarm(parts[0], parts[1], n_classes, int(rng.integers(2**31))))
            row[str(size)] = {"found": float(np.mean(found)), "best": float(best)}
    return table


def classes_alarm(former: NDArray[np.int64], new: NDArray[np.int64], n_classes: int, seed: int) -> bool:
    """Whether the classes alone raise an alarm: the numbers of random choices, without the choices."""
    among_new = np.bincount(new, minlength=n_classes)
    totals = among_new + np.bincount(former, minlength=n_classes)
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(totals, len(new), size=PERMUTATIONS)
    return frequency_test(np.vstack([among_new, drawn]), totals)[0] < PARTS[2] * ALARM


def alarm(
    rows: NDArray[Any], answers: NDArray[Any], former: NDArray[np.int64], new: NDArray[np.int64], seed: int
) -> bool:
    parts = (rows[former], rows[new], answers[former], answers[new])
    return compare_rows(*parts, int(answers.max()) + 1, seed).alarm


def changed_pictures(model: str, blur: float, batches: int) -> dict[str, float]:
    """Share of batches of 50 changed photographs that raise an alarm, in whole features and as an exported file."""
    from PIL import Image, ImageEnhance, ImageFilter

    from ulfine_cache.encoders.encoder import ClipEncoder

    files = sorted((DATA / "images" / "whurs19").rglob("*.jpg"))
    if not files:
        return {}
    files = [files[place] for place in np.random.default_rng(0).permutation(len(files))[:400]]
    try:
        encoder = ClipEncoder.load(model, "", "cpu", "fp32")
    except UlfineError as error:
        print(f"no pictures are changed for {model}: {error}")
        return {}
    of = "" if model == "builtin:tiny" else f", {model}"

    def warmer(picture: Image.Image) -> Image.Image:
        dark = ImageEnhance.Contrast(ImageEnhance.Brightness(picture).enhance(0.8)).enhance(0.8)
        red, green, blue = dark.split()
        bands = red.point(lambda value: min(255, int(1.15 * value))), green, blue.point(lambda value: int(0.85 * value))
        return Image.merge("RGB", bands)

    changes = {
        "": lambda picture: picture,
        "a blur": lambda picture: picture.filter(ImageFilter.GaussianBlur(blur)),
        "another camera": warmer,
    }
    if not of:
        changes["a blur that the encoder cannot see"] = lambda picture: picture.filter(ImageFilter.GaussianBlur(4))
    features = {}
    for name, change in changes.items():
        rows = []
        for start in range(0, len(files), 50):
            opened = [change(Image.open(file).convert("RGB")) for file in files[start : start + 50]]
            rows.append(encoder.encode_images(np.stack([encoder.preprocess.to_pixels(picture) for picture in opened])))
        features[name] = np.concatenate(rows)
    rng, nobody = np.random.default_rng(1), np.zeros(len(files), np.int64)
    found: dict[str, list[bool]] = {f"{name}{of}": [] for name in changes if name}
    found |= {f"{name}{of}, exported": [] for name in changes if name and of}
    for seed in range(batches):
        order = rng.permutation(len(files))
        former, new = order[:350], order[350:]
        for name in filter(None, changes):
            parts = (features[""][former], features[name][new])
            found[f"{name}{of}"].append(compare_rows(*parts, nobody[former], nobody[new], 1, seed).alarm)
            if of:
                reference = reference_of(parts[0], nobody[former])
                parts = (reference.rows, reference.like(parts[1]))
                found[f"{name}{of}, exported"].append(compare_rows(*parts, nobody[former], nobody[new], 1, seed).alarm)
    return {name: float(np.mean(alarms)) for name, alarms in found.items()}


def at_most(name: str, value: float, bar: float) -> Bar:
    return {"name": name, "value": value, "bar": bar, "holds": value <= bar}


def main() -> int:
    global DATA
    parser = argparse.ArgumentParser(description="Can decisions be left to ulfine?")
    parser.add_argument("--quick", action="store_true", help="two sets and one draw, 40 pairs")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ULFINE_SHARED_DATA", "../shared/data")))
    parser.add_argument("--only", type=lambda text: text.split(","), default=["refusal", "diff", "unknown", "drift"])
    parser.add_argument("--draws", type=int, default=10)
    arguments = parser.parse_args()
    DATA = arguments.data
    there = (DATA / "clip-features").is_dir()
    figures: dict[str, Any] = {}
    bars: list[Bar] = []
    if not there:
        print(f"refusal and drift are skipped: no clip-features in {DATA}; pass --data DIR")
    if "diff" in arguments.only:
        figures["diff"], found = diff_bars(40 if arguments.quick else 200)
        bars += found
    if "refusal" in arguments.only and there:
        figures["refusal"], found = refusal_bars(1 if arguments.quick else arguments.draws, arguments.quick)
        bars += found
    if "thresholds" in arguments.only and there:
        draws = 1 if arguments.quick else arguments.draws
        figures["thresholds"] = thresholds_figures(draws, arguments.quick)
    if "unknown" in arguments.only and there:
        figures["unknown"], found = unknown_bars(1 if arguments.quick else arguments.draws, arguments.quick)
        bars += found
    if "drift" in arguments.only and there:
        figures["drift"], found = drift_bars(20 if arguments.quick else 200)
        bars += found
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {bar['value']:.4g} (bar {bar['bar']})")
    if arguments.json:
        arguments.json.write_text(json.dumps({**figures, "bars": bars}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


DATA = Path()

if __name__ == "__main__":
    raise SystemExit(main())
