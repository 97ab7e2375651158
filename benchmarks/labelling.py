"""The labelling page: how fast are its disk, its pages at 100,000 rows, and half an afternoon on photographs?

    python benchmarks/labelling.py [--quick] [--json FILE] [--data DIR] [--afternoon-only] [--pictures DIR]

Four parts:

- **disk**: decisions a second into the file, each on the disk (fsync) before the next, beside what the disk gives to
  32 bytes written and synced without any of our code;
- **rows**: milliseconds of one decision, of the next 60 rows of a queue and of the opening of a queue, with 100,000
  rows of 100 classes, beside the same with 2,000 rows: what a page costs must not grow with the rows;
- **kill**: a process that decides without end is killed by SIGKILL; how many of its acknowledged decisions are gone;
- **afternoon**: 900 aerial photographs of WHU-RS19 and 105 for the test, 143 of the 900 labelled in a long tail, 15 of
  these wrongly. A browser without a window is driven by keys as a person would press them: through the likely wrong
  labels (`label-errors`), until 60 have been looked at; then the 60 photographs that `next-to-label` names first are
  labelled, and the page fits again after each. A driven browser is no person: it knows the truth, makes no mistakes and
  needs no time to look. What is measured is the page, not the eye.

The photographs lie outside the repository: `--data` (or ULFINE_SHARED_DATA, else ../shared/data) names the folder that
holds `images/whurs19/`. Without them, or without Chromium with chromedriver, the last part is left out.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.labelling.journal import Journal
from ulfine_cache.stage_one import cache_features
from ulfine_exports.label import labelling
from ulfine_fast.fitting import fit

KILLS = 10
GROWTH = 3.0
"""Most that a page of 100,000 rows may cost over one of 2,000."""

ENDLESS = """
import sys
from pathlib import Path
from ulfine_cache.labelling.journal import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(10**9):
    journal.append([(f"{number}.jpg", "cat", "")])
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""

LABELLED, WRONG, LOOKED_AT, NEXT = 143, 15, 60, 60


def disk(folder: Path, count: int) -> dict[str, float]:
    started = time.perf_counter()
    with Journal(folder / "labels.csv") as journal:
        for number in range(count):
            journal.append([(f"photos/{number:06d}.jpg", "grey heron", "")])
    ours = count / (time.perf_counter() - started)
    started = time.perf_counter()
    handle = os.open(folder / "plain", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(count):
        os.write(handle, b"x" * 32)
        os.fsync(handle)
    os.close(handle)
    return {"decisions_per_second": ours, "plain_syncs_per_second": count / (time.perf_counter() - started)}


def rows(folder: Path, n_rows: int, n_classes: int, asks: int) -> dict[str, float]:
    """Medians in milliseconds, asked as the page's own code asks, without the browser."""
    generator = np.random.default_rng(0)
    # Each class as often as any other, and of each some that stay labelled.
    labels = np.arange(n_rows) % n_classes
    centres = generator.normal(size=(n_classes, 32))
    features = (centres[labels] + generator.normal(size=(n_rows, 32))).astype(np.float32)
    labels[5 * n_classes :][generator.random(n_rows - 5 * n_classes) < 0.9] = -1
    place = folder / str(n_rows)
    place.mkdir()
    np.savez(
        place / "f.npz",
        features=features,
        labels=labels,
        class_names=np.array([f"class {k}" for k in range(n_classes)]),
    )
    import_features(file=place / "f.npz", out=place / "cache", index="none")
    run = fit(cache=place / "cache", out=place / "run", method="lp", set=["steps=20"])
    found: dict[str, list[float]] = {"decide": [], "page": [], "open": []}
    with labelling(cache=place / "cache", run=run.path, out=place / "labels.csv") as (_, desk):
        for _ in range(asks):
            started = time.perf_counter()
            first = desk.rows("least-sure", "", 0, 60)
            opened = time.perf_counter()
            desk.rows("least-sure", "", first["next"], 60)
            paged = time.perf_counter()
            desk.decide([first["items"][0]["row"]], "class 1")
            done = time.perf_counter()
            for name, seconds in zip(found, (done - paged, paged - opened, opened - started), strict=True):
                found[name].append(1000 * seconds)
    return {name: float(np.median(values)) for name, values in found.items()}


def kills(folder: Path, count: int) -> int:
    """Acknowledged decisions that a file lacks after SIGKILL, of all kills together."""
    lost = 0
    for number in range(count):
        path = folder / f"killed-{number}.csv"
        command = [sys.executable, "-c", ENDLESS, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = [process.stdout.readline()]
            time.sleep(0.02 * (number + 1))
            os.kill(process.pid, signal.SIGKILL)
            said += process.stdout.readlines()
        acknowledged = {f"{line.strip()}.jpg" for line in said if line.endswith("\n")}
        with Journal(path) as journal:
            lost += len(acknowledged - {each.path for each in journal.decisions})
    return lost


def lay_out(photos: Path, folder: Path) -> tuple[dict[str, str], set[str]]:
    """The photographs as somebody has them: few labelled, some of them wrongly, names that say nothing.

    Returns:
        The true class of each path, and the paths that are labelled wrongly.
    """
    generator = np.random.default_rng(3)
    names = sorted(path.name for path in photos.iterdir() if path.is_dir())
    files = [(name, path) for name in names for path in sorted((photos / name).glob("*.jpg"))]
    order = generator.permutation(len(files))
    truth: dict[str, str] = {}
    counts = dict.fromkeys(names, 0)
    # A long tail: 24 of the first class down to 2 of the last.
    most = {name: max(2, round(24 * 0.86**rank)) for rank, name in enumerate(generator.permutation(names).tolist())}
    tests = labelled = 0
    wrong: set[str] = set()
    kept: list[tuple[str, str]] = []
    per_class = dict.fromkeys(names, 0)
    for number, place in enumerate(order.tolist()):
        name, path = files[place]
        if per_class[name] < 6 and tests < 105:
            per_class[name] += 1
            tests += 1
            target = f"test/{name}/{number:04d}.jpg"
        elif counts[name] < most[name] and labelled < LABELLED:
            counts[name] += 1
            labelled += 1
            kept.append((name, f"{number:04d}.jpg"))
            (folder / "train" / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / "train" / name / f"{number:04d}.jpg")
            continue
        else:
            target = f"train/unlabelled/{number:04d}.jpg"
        truth[target] = name
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / target)
    several = [place for place, (name, _) in enumerate(kept) if counts[name] > 2]
    for name, file in kept:
        truth[f"train/{name}/{file}"] = name
    for place in generator.choice(several, WRONG, replace=False).tolist():
        name, file = kept[place]
        other = names[(names.index(name) + int(generator.integers(1, len(names)))) % len(names)]
        (folder / "train" / other).mkdir(parents=True, exist_ok=True)
        (folder / "train" / name / file).rename(folder / "train" / other / file)
        del truth[f"train/{name}/{file}"]
        truth[f"train/{other}/{file}"] = name
        wrong.add(f"train/{other}/{file}")
    return truth, wrong


class Driver:
    """A browser without a window, and keys."""

    def __init__(self, url: str) -> None:
        from selenium import webdriver
        from selenium.webdriver.common.by import By

        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,800"):
            options.add_argument(argument)
        self.browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
        self._by = By
        self.browser.get(url)
        self.settle()

    def settle(self) -> None:
        script = """
        const shown = ["single", "many", "end"].some((id) => !document.getElementById(id).hidden);
        const picture = document.getElementById("picture");
        const there = document.getElementById("single").hidden || picture.complete;
        return !document.body.dataset.busy && shown && there;
        """
        until = time.monotonic() + 120
        while not self.browser.execute_script(script):
            if time.monotonic() > until:
                raise SystemExit("error: the page does not settle")
            time.sleep(0.005)

    def press(self, key: str) -> None:
        self.browser.find_element(self._by.TAG_NAME, "body").send_keys(key)
        self.settle()

    def text(self, selector: str) -> str:
        return self.browser.find_element(self._by.CSS_SELECTOR, selector).text

    def choose(self, element: str, value: str) -> None:
        from selenium.webdriver.support.ui import Select

        Select(self.browser.find_element(self._by.ID, element)).select_by_value(value)
        self.settle()

    def decide(self, name: str) -> bool:
        """Give the picture this class by a key, or by typing where it is not among the five; whether a key did."""
        offered = [each.text for each in self.browser.find_elements(self._by.CSS_SELECTOR, "#answers .name")]
        if name in offered:
            self.press(str(offered.index(name) + 1))
            return True
        self.press("n")
        field = self.browser.switch_to.active_element
        field.send_keys(name)
        field.send_keys("\ue007")
        self.settle()
        return False

    def refit(self) -> None:
        self.press("r")
        until = time.monotonic() + 300
        while self.browser.execute_script("return document.getElementById('refitted').dataset.state") == "running":
            if time.monotonic() > until:
                raise SystemExit("error: the fit does not end")
            time.sleep(0.05)
        self.settle()


def afternoon(photos: Path, folder: Path, pictures: Path | None) -> dict[str, Any]:
    steps: dict[str, float] = {}
    started = time.perf_counter()

    def timed(name: str) -> None:
        nonlocal started
        now = time.perf_counter()
        steps[name] = round(now - started, 2)
        started = now

    truth, wrong = lay_out(photos, folder / "photos")
    started = time.perf_counter()
    cache_features(source=folder / "photos", out=folder / "cache", model="builtin:lite0")
    timed("cache-features")
    first = fit(cache=folder / "cache", out=folder / "run")
    timed("fit")
    # What the labels would have been worth without mistakes.
    right = "".join(f"{path},{truth[path]}\n" for path in sorted(wrong))
    (folder / "right.csv").write_text(f"path,label\n{right}")
    clean = fit(cache=folder / "cache", out=folder / "clean", apply=folder / "right.csv")
    started = time.perf_counter()
    found: list[str] = []
    by_key = 0
    at_hand: list[int] = []
    with labelling(cache=folder / "cache", run=first.path, out=folder / "labels.csv") as (url, desk):
        driver = Driver(url)
        try:
            timed("page opens")
            driver.choose("queue", "label-errors")
            timed("label-errors opens")
            for number in range(1, LOOKED_AT + 1):
                path = driver.text("#caption").partition(" · ")[0]
                label = driver.text("#label-now").removeprefix("Now: ")
                if label == truth[path]:
                    driver.press("\ue007")
                else:
                    by_key += driver.decide(truth[path])
                    found.append(path)
                    at_hand.append(number)
                if pictures is not None and number == 1:
                    driver.browser.save_screenshot(str(pictures / "doubt.png"))
            timed(f"{LOOKED_AT} likely wrong labels")
            driver.refit()
            timed("first refit")
            corrected = desk.refit.figures
            driver.choose("queue", "next-to-label")
            timed("next-to-label opens")
            if pictures is not None:
                driver.browser.save_screenshot(str(pictures / "next.png"))
            for _ in range(NEXT):
                path = driver.text("#caption").partition(" · ")[0]
                by_key += driver.decide(truth[path])
            timed(f"{NEXT} labelled next")
            driver.refit()
            timed("second refit")
            labelled = desk.refit.figures
            if pictures is not None:
                driver.choose("queue", "most-sure")
                driver.press("g")
                time.sleep(1)
                driver.browser.save_screenshot(str(pictures / "grid.png"))
        finally:
            driver.browser.quit()
    assert corrected is not None and labelled is not None
    return {
        "rows": len(FeatureCache.open(folder / "cache").labels),
        "labelled": LABELLED,
        "wrong": len(wrong),
        "found": len(set(found) & wrong),
        "found_after": [place for place, path in zip(at_hand, found, strict=True) if path in wrong],
        "other_corrections": len(set(found) - wrong),
        "by_key": by_key,
        "seconds": steps,
        "seconds_a_decision": (steps[f"{LOOKED_AT} likely wrong labels"] + steps[f"{NEXT} labelled next"])
        / (LOOKED_AT + NEXT),
        "accuracy": {
            "as it was": first.metrics["accuracy"],
            "without mistakes": clean.metrics["accuracy"],
            "corrected": corrected["accuracy"]["after"],
            "and 60 more": labelled["accuracy"]["after"],
        },
        "macro_accuracy": {
            "as it was": first.metrics["macro_accuracy"],
            "without mistakes": clean.metrics["macro_accuracy"],
            "corrected": corrected["macro_accuracy"]["after"],
            "and 60 more": labelled["macro_accuracy"]["after"],
        },
        "changed": [corrected["changed"], labelled["changed"]],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="The labelling page: its disk, its rows, and half an afternoon.")
    parser.add_argument("--quick", action="store_true", help="20,000 rows, a tenth of the decisions, no afternoon")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ULFINE_SHARED_DATA", "../shared/data")))
    parser.add_argument("--afternoon-only", action="store_true", help="the photographs alone")
    parser.add_argument("--pictures", type=Path, help="write pictures of the page into this folder")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}
    bars: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not arguments.afternoon_only:
            scale = 10 if arguments.quick else 1
            many = 20_000 if arguments.quick else 100_000
            figures["disk"] = disk(folder, 2000 // scale)
            figures["rows"] = {str(count): rows(folder, count, 100, 200 // scale) for count in (2_000, many)}
            figures["lost"] = kills(folder, KILLS // (2 if arguments.quick else 1))
            bars.append({"name": "acknowledged decisions lost", "value": figures["lost"], "bar": 0})
            bars[-1]["holds"] = figures["lost"] == 0
            for what in ("decide", "page"):
                growth = figures["rows"][str(many)][what] / figures["rows"]["2000"][what]
                bars.append(
                    {"name": f"{what}: {many} rows over 2000", "value": round(growth, 2), "bar": f"<= {GROWTH}"}
                )
                bars[-1]["holds"] = growth <= GROWTH
        photos = arguments.data / "images" / "whurs19"
        driven = (shutil.which("chromium") or shutil.which("google-chrome")) and shutil.which("chromedriver")
        if arguments.quick or not photos.is_dir() or not driven:
            print("left out: the afternoon, which needs images/whurs19, a browser and no --quick")
        else:
            (folder / "afternoon").mkdir()
            if arguments.pictures is not None:
                arguments.pictures.mkdir(parents=True, exist_ok=True)
            found = figures["afternoon"] = afternoon(photos, folder / "afternoon", arguments.pictures)
            bars.append({"name": f"of {WRONG} wrong labels found", "value": found["found"], "bar": f"{WRONG}"})
            bars[-1]["holds"] = found["found"] == WRONG
            gain = found["macro_accuracy"]["and 60 more"] - found["macro_accuracy"]["as it was"]
            bars.append({"name": "macro accuracy gained", "value": round(gain, 4), "bar": "> 0", "holds": gain > 0})
    print(json.dumps(figures, indent=2))
    for bar in bars:
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {bar['name']}: {bar['value']} (bar {bar['bar']})")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures | {"bars": bars}, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar["holds"] for bar in bars) else 1


if __name__ == "__main__":
    raise SystemExit(main())
