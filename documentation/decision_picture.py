"""Which method when, as a picture and a table: both are made from the table "Every regime" in docs/benchmarks.md.

    python documentation/decision_picture.py

writes docs/explanation/choosing.svg, and the table of docs/explanation/choosing.md between its two marks. After a
change of the figures run it again; a test compares. Nothing here chooses: it shows what was measured.
"""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "docs" / "benchmarks.md"
PAGE = ROOT / "docs" / "explanation" / "choosing.md"
PICTURE = PAGE.with_suffix(".svg")
OWN, BASELINE = "ulfine", "zero-shot"
BEGIN, END = "<!-- begin: made by documentation/decision_picture.py -->", "<!-- end -->"


class Regime(NamedTuple):
    """One row of the table: macro and tail accuracy in percent of each method that has them."""

    name: str
    cells: int
    figures: dict[str, tuple[float, float]]

    def best(self, place: int, among: list[str] | None = None) -> str:
        """The method with the highest macro (0) or tail (1) accuracy; of equal ones the first column."""
        return max(among or self.figures, key=lambda name: self.figures[name][place])


def read_regimes(text: str) -> list[Regime]:
    """The rows of the table of regimes; the mean over all cells is the last.

    Raises:
        ValueError: The page has no such table.
    """
    section = text.partition("\n## Every regime\n")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in section.splitlines()
        if line.startswith("| ")
    ]
    try:
        first = next(place for place, row in enumerate(rows) if row[0] == "regime")
    except StopIteration:
        raise ValueError("docs/benchmarks.md has no table of regimes under 'Every regime'") from None
    names = [cell.strip("`") for cell in rows[first]]
    regimes = []
    for row in rows[first + 1 :]:
        found = re.fullmatch(r"(.*) \((\d+)\)", row[0])
        if not found:
            break
        pairs = {name: re.fullmatch(r"([\d.]+) \\\| ([\d.]+)", cell) for name, cell in zip(names, row, strict=True)}
        figures = {name: (float(pair[1]), float(pair[2])) for name, pair in pairs.items() if pair}
        regimes.append(Regime(found[1], int(found[2]), figures))
    return regimes


def table(regimes: list[Regime]) -> str:
    """The best method of each regime by macro and by tail accuracy, beside `ulfine`."""
    lines = ["| regime | best macro accuracy | `ulfine` | best tail accuracy | `ulfine` |", "|---|---|---|---|---|"]
    for regime in regimes:
        cells = [regime.name]
        for place in (0, 1):
            best = regime.best(place)
            cells += [f"`{best}` {regime.figures[best][place]:.1f}", f"{regime.figures[OWN][place]:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def digest(regimes: list[Regime]) -> str:
    """What the picture was drawn from."""
    return hashlib.sha256(repr(regimes).encode()).hexdigest()


def draw(regimes: list[Regime], file: Path) -> None:
    """Bars: points of macro and tail accuracy that `ulfine` is ahead of the best peer of each regime, or behind it."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams.update({"svg.hashsalt": "ulfine", "svg.fonttype": "none", "font.size": 10})
    peers = [name for name in regimes[-1].figures if name not in (OWN, BASELINE)]
    figure, axes = plt.subplots(1, 2, figsize=(9, 0.4 * len(regimes) + 1), sharey=True, sharex=True)
    for place, (axis, title) in enumerate(zip(axes, ("macro accuracy", "tail accuracy"), strict=True)):
        for row, regime in enumerate(regimes):
            best = regime.best(place, [name for name in (*peers, BASELINE) if name in regime.figures])
            lead = round(regime.figures[OWN][place] - regime.figures[best][place], 1)
            behind = f"{-lead:+.1f}" if lead else "level"
            axis.barh(row, lead, height=0.62, color="#0b63c5" if lead > 0 else "#c0662a")
            # The name stands on the side that the bar leaves free.
            axis.annotate(
                best if lead > 0 else f"{best} {behind}",
                (0, row),
                (5 if lead <= 0 else -5, 0),
                textcoords="offset points",
                va="center",
                ha="left" if lead <= 0 else "right",
                color="#333a44",
            )
        axis.axvline(0, color="#333a44", linewidth=0.8)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("points ahead of the best peer")
        axis.grid(axis="x", color="#e3e6ea")
        axis.set_axisbelow(True)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
    low, high = axes[0].get_xlim()
    axes[0].set_xlim(min(low, -9), max(high, 9))
    axes[0].set_yticks(range(len(regimes)), [regime.name for regime in regimes])
    axes[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(file, facecolor="white", metadata={"Date": None, "Description": f"from {digest(regimes)}"})
    plt.close(figure)


def main() -> None:
    """Write picture and table."""
    regimes = read_regimes(BENCHMARKS.read_text("utf-8"))
    draw(regimes, PICTURE)
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(regimes)}\n\n{END}{rest.partition(END)[2]}", "utf-8")


if __name__ == "__main__":
    main()
