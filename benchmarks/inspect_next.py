"""Labels saved: tail accuracy after rounds of 20 labels, chosen by `ulfine inspect --what next-to-label` or by others.

    python benchmarks/inspect_next.py [--quick] [--json FILE] [--data DIR] [--draws K] [--strategies A,B]

Real CLIP features (`--data`, or the environment variable ULFINE_SHARED_DATA, else ../shared/data). Four labels of the
most frequent class down to one of the rarest to begin with, unlabelled rows in a long tail of 8 that has the same
order, and the files' test rows (14 held out of every class of WHU-RS19). In every round each strategy names 20 rows,
which get their true labels, and the default method is fitted. The tail are the third of the classes with fewest labels
at the start. Peers: random; margin, the smallest difference between the two largest probabilities; k-centre greedy
(Sener and Savarese, ICLR 2018); TypiClust (Hacohen et al., ICML 2022), the most typical row of each of the largest
clusters without a label. Nothing is chosen here: the product's rule was settled on WHU-RS19 in RN50, DTD and UCF-101,
on other draws and on rows of the pool that were held back.
"""

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from inspect_outliers import read, training
from sklearn.cluster import KMeans

from ulfine_cache.progress import Silent
from ulfine_cache.splitting.split_protocol import long_tailed_counts
from ulfine_fast.inspecting.next_to_label import choose_next
from ulfine_fast.registry import get_method

NO_TEXT = ", no text"
FILES = (
    "whurs19_rn50",
    "whurs19_vit-b-32" + NO_TEXT,
    "caltech54_vit-b-32" + NO_TEXT,
    "dtd_vit-b-32",
    "whurs19_vit-b-32",
    "caltech54_vit-b-32",
)
"""The last two begin where little is left to gain, with text: 96 and 94 % of the tail."""
HEAD, IMBALANCE, TAIL, ROUND = 4, 4, 8, 20
ENOUGH, GOAL = 100, 60
STRATEGIES = ("random", "next-to-label", "margin", "k-centre", "typiclust")
TEST_PER_CLASS = 14


@dataclass
class Pool:
    features: np.ndarray
    labels: np.ndarray
    text: np.ndarray | None
    labelled: np.ndarray
    unlabelled: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    tail: np.ndarray

    @property
    def n_classes(self):
        return int(self.labels.max()) + 1


def draw(data, name, seed):
    features, labels, test, test_labels, text = read(data, name.removesuffix(NO_TEXT))
    if name.endswith(NO_TEXT):
        text = None
    rng = np.random.default_rng([seed, 18])
    n_classes = int(labels.max()) + 1
    order = rng.permutation(n_classes)
    held = 0 if test is not None else TEST_PER_CLASS
    largest = int(np.median(np.bincount(labels))) - held - HEAD
    labelled, unlabelled, tested = [], [], []
    counts = zip(
        long_tailed_counts(HEAD, IMBALANCE, n_classes), long_tailed_counts(largest, TAIL, n_classes), strict=True
    )
    for k, (few, many) in zip(order, counts, strict=True):
        rows = rng.permutation(np.flatnonzero(labels == k)).tolist()
        tested, rows = tested + rows[:held], rows[held:]
        labelled += rows[:few]
        unlabelled += rows[few : few + many]
    if test is None:
        test, test_labels = features[tested], labels[tested]
    return Pool(
        features, labels, text, np.array(labelled), np.array(unlabelled), test, test_labels, order[-(n_classes // 3) :]
    )


def fitted(pool, labelled, unlabelled, seed):
    made = training(
        pool.features[labelled], pool.labels[labelled], pool.features[unlabelled], pool.text, pool.n_classes
    )
    method = get_method("ulfine")
    model = method.fit(made, method.settings(), seed, Silent()).model
    with torch.no_grad():
        probabilities = torch.softmax(model(made.unlabelled), -1).numpy()
        said = model(torch.as_tensor(pool.test)).argmax(-1).numpy()
    recalls = np.array([(said[pool.test_labels == k] == k).mean() for k in range(pool.n_classes)])
    return probabilities, float(recalls[pool.tail].mean()), float(recalls.mean())


def chosen(strategy, pool, labelled, unlabelled, probabilities, rng):
    """Places among the unlabelled rows."""
    rows, known = pool.features[unlabelled], pool.features[labelled]
    if strategy == "random":
        return rng.choice(len(rows), ROUND, replace=False)
    if strategy == "margin":
        two = np.sort(probabilities, axis=1)[:, -2:]
        return np.argsort(two[:, 1] - two[:, 0], kind="stable")[:ROUND]
    if strategy == "k-centre":
        nearest, picked = (rows @ known.T).max(1), []
        for _ in range(ROUND):
            picked.append(int(nearest.argmin()))
            nearest = np.maximum(nearest, rows @ rows[picked[-1]])
        return np.array(picked)
    if strategy == "typiclust":
        clusters = min(len(known) + ROUND, len(rows))
        every = np.concatenate([rows, known])
        of = KMeans(clusters, n_init=1, random_state=int(rng.integers(2**31))).fit_predict(every)
        covered = set(of[len(rows) :].tolist())
        sizes = np.bincount(of[: len(rows)], minlength=clusters)
        places, picked = np.argsort(-sizes, kind="stable"), []
        for place in [k for k in places if k not in covered] + [k for k in places if k in covered]:
            members = np.flatnonzero(of[: len(rows)] == place)
            if len(members) and len(picked) < ROUND:
                alike = np.sort(rows[members] @ rows[members].T, axis=1)[:, ::-1][:, 1:21]
                picked.append(int(members[alike.mean(1).argmax()] if alike.size else members[0]))
        return np.array(picked)
    counts = np.bincount(pool.labels[labelled], minlength=pool.n_classes)
    return choose_next(probabilities, counts, torch.as_tensor(rows), torch.as_tensor(known), ROUND).places


def curve(data, name, strategy, seed, rounds):
    """Tail and macro accuracy after every round, (rounds + 1, 2)."""
    pool, rng = draw(data, name, seed), np.random.default_rng([seed, 19])
    labelled, unlabelled, found = pool.labelled, pool.unlabelled, []
    for number in range(rounds + 1):
        probabilities, tail, macro = fitted(pool, labelled, unlabelled, seed)
        found.append((tail, macro))
        if number < rounds:
            places = chosen(strategy, pool, labelled, unlabelled, probabilities, rng)
            labelled, unlabelled = np.r_[labelled, unlabelled[places]], np.delete(unlabelled, places)
    return found


def main():
    parser = argparse.ArgumentParser(description="Labels saved.")
    parser.add_argument("--quick", action="store_true", help="WHU-RS19, one draw")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ULFINE_SHARED_DATA", "../shared/data")))
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--files", default=";".join(FILES), help="separated by ;")
    parser.add_argument("--strategies", default=",".join(STRATEGIES), help="random and next-to-label among them")
    arguments = parser.parse_args()
    if not (arguments.data / "clip-features").is_dir():
        print(f"skipped: no clip-features in {arguments.data}; pass --data DIR")
        return 0
    files, draws = (FILES[:1], 1) if arguments.quick else (arguments.files.split(";"), arguments.draws)
    results, bars = {}, []
    for name in files:
        tails, of_draws = {}, {}
        for strategy in arguments.strategies.split(","):
            rounds = ENOUGH // ROUND if strategy == "random" else GOAL // ROUND
            every = np.array([curve(arguments.data, name, strategy, seed, rounds) for seed in range(draws)])
            of_draws[strategy], tails[strategy] = every[:, :, 0], every[:, :, 0].mean(0)
            results[f"{name}, {strategy}"] = every.tolist()
            shown = " ".join(f"{100 * tail:5.1f}" for tail in tails[strategy])
            print(f"{name:<28}{strategy:<15} tail {shown}   macro {100 * every[:, -1, 1].mean():.1f}", flush=True)
        goal = float(tails["random"][ENOUGH // ROUND])
        reached = float(tails["next-to-label"][: GOAL // ROUND + 1].max())
        if draws > 1:
            paired = of_draws["next-to-label"][:, GOAL // ROUND] - of_draws["random"][:, ENOUGH // ROUND]
            error = paired.std(ddof=1) / len(paired) ** 0.5
            print(
                f"{name:<28}{GOAL} labels against {ENOUGH} random ones {100 * paired.mean():+.1f} ± {100 * error:.1f}"
            )
        bars.append(
            {
                "name": f"{name}, tail within {GOAL} labels, random has {100 * goal:.1f} after {ENOUGH}",
                "value": reached,
                "bar": goal,
                "holds": reached >= goal,
            }
        )
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {bar['value']:.3f} (bar {bar['bar']:.3f})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"results": results, "bars": bars}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
