"""How people write the ten digits: pen skeletons, several habits per digit, as smooth curves in the unit square.

The skeletons were written down by hand for this file. Each is a text of points ``x,y`` in hundredths of the square, x
to the right and y downwards. The pen runs smoothly through the points, turns a corner at ``|`` and is lifted at ``/``.
"""

import itertools
from typing import Final

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

SKELETONS: Final[dict[int, tuple[str, ...]]] = {
    0: (
        "50,0 27,12 15,41 19,75 38,97 62,97 81,75 85,41 73,12 50,0",
        "65,7 46,0 28,15 20,45 25,76 40,97 59,98 75,78 80,47 72,17 55,1",
        "36,5 14,25 8,57 21,85 47,98 74,89 90,63 89,31 70,8 42,3 18,19",
        "62,2 30,10 12,50 30,95 65,95 88,50 70,8 45,6",
    ),
    1: (
        "50,0 50,100",
        "50,0 48,100",
        "30,22 52,0 | 52,100",
        "15,40 55,0 | 55,100",
        "32,20 52,0 | 52,100 / 25,100 80,100",
        "50,0 50,100 / 25,100 75,100",
        "30,20 42,14 52,0 | 50,50 50,100",
    ),
    2: (
        "10,25 30,3 62,0 85,20 78,48 45,78 10,100 | 90,100",
        "12,15 45,0 80,15 72,50 36,86 14,98 5,86 22,78 52,92 92,98",
        "15,12 50,0 80,20 65,55 12,95 | 40,86 65,100 94,92",
        "10,8 50,0 85,10 | 10,100 | 90,98",
        "15,30 25,0 70,2 75,40 40,80 20,98 55,99 90,95",
    ),
    3: (
        "12,14 45,0 80,15 74,38 40,48 | 80,58 88,82 50,100 10,88",
        "10,0 85,0 | 42,40 | 85,55 82,90 40,100 8,90",
        "15,10 50,0 78,18 68,40 42,50 38,44 50,43 82,60 80,90 45,100 10,92",
        "20,2 60,0 75,20 55,42 | 80,60 70,90 40,100 15,98",
    ),
    4: (
        "70,100 70,0 | 5,68 | 95,68",
        "30,0 10,55 | 92,55 / 68,10 66,100",
        "20,0 10,35 20,58 80,52 / 78,0 72,100",
        "15,0 12,38 40,54 82,42 / 85,0 82,50 62,100",
        "40,0 8,60 | 90,60 / 65,32 60,100",
        "62,0 5,62 | 95,60 / 62,30 55,100",
        "12,0 12,50 | 85,50 / 80,0 80,100",
    ),
    5: (
        "85,0 22,0 | 15,45 | 50,36 88,60 76,92 40,100 8,90",
        "25,2 20,45 | 60,40 86,68 60,97 10,96 / 25,2 92,0",
        "82,2 40,2 18,25 40,46 80,62 74,92 40,100 10,90",
        "90,2 30,4 | 20,50 | 65,45 75,75 45,100 15,98",
    ),
    6: (
        "70,0 30,25 10,65 25,96 60,100 86,76 64,52 30,58 13,76",
        "82,14 60,0 28,20 10,60 30,98 70,96 85,70 60,50 25,60",
        "50,0 18,50 15,78 40,100 72,88 70,62 42,56 18,72",
        "30,0 16,40 14,75 40,100 80,85 70,60 40,62 18,85",
    ),
    7: (
        "5,2 90,2 | 35,100",
        "8,3 90,2 | 55,42 42,100",
        "8,2 90,2 | 35,100 / 25,50 85,48",
        "8,3 88,2 | 58,45 42,100 / 28,52 90,46",
        "8,20 10,2 | 90,2 | 45,100",
        "5,12 30,0 60,8 90,0 | 60,50 50,100",
        "8,15 30,2 75,2 80,20 55,60 40,100 / 30,50 85,50",
    ),
    8: (
        "78,15 50,0 22,20 48,46 80,74 50,100 18,78 50,48 78,20 60,2",
        "50,50 73,38 73,12 50,0 27,12 27,38 50,50 / 50,48 79,61 79,87 50,100 21,87 21,61 50,48",
        "85,5 45,2 20,22 50,48 75,76 45,100 20,78 50,50 85,5",
        "50,46 76,34 76,12 50,0 24,12 24,34 50,46 / 50,46 74,60 74,86 50,100 26,86 26,60 50,46",
        "50,45 20,20 50,0 80,20 50,45 20,75 50,100 80,75 50,45",
    ),
    9: (
        "80,18 66,4 43,0 23,9 14,26 20,44 38,55 61,54 78,42 81,23 / 82,15 78,100",
        "84,20 50,0 18,25 40,52 78,38 84,20 | 86,60 66,95 30,98 15,86",
        "82,20 50,0 20,22 38,48 75,35 82,20 | 70,60 50,100",
        "80,8 40,2 18,28 40,50 80,35 / 80,8 82,60 70,100",
        "75,10 40,0 15,25 40,55 78,40 80,10 85,60 60,100 20,95",
    ),
}
"""Digit -> the habits with which it is written."""


def smooth(control: Points, steps: int = 6) -> Points:
    """Return a uniform Catmull-Rom spline through the points.

    Args:
        control: Control points, float64 (n, 2), n >= 2; the curve passes through all of them.
        steps: Points per segment.

    Returns:
        The curve, float64 ((n - 1) * steps + 1, 2).

    Formula: Catmull and Rom, "A class of local interpolating splines", 1974, with tension 1/2; the missing neighbours
    of the two ends are mirrored.
    """
    padded = np.vstack([2 * control[0] - control[1], control, 2 * control[-1] - control[-2]])
    p0, p1, p2, p3 = (padded[i : len(padded) - 3 + i, None, :] for i in range(4))
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    return np.vstack([curve.reshape(-1, 2), control[-1:]])


def trace(skeleton: str, rng: np.random.Generator, wander: float) -> list[Points]:
    """Follow a skeleton with a hand that misses its points.

    Args:
        skeleton: A text as in `SKELETONS`.
        rng: Source of the misses.
        wander: Their standard deviation, as a fraction of the square, >= 0.

    Returns:
        One polyline, float64 (n, 2), per stroke.

    Example:
        >>> [seven] = trace("5,2 90,2 | 35,100", np.random.default_rng(0), wander=0.0)
        >>> seven[0].tolist(), seven[-1].tolist()
        ([0.05, 0.02], [0.35, 1.0])
    """
    strokes: list[Points] = []
    for stroke in skeleton.split(" / "):
        pieces = [[tuple(map(int, point.split(","))) for point in piece.split()] for piece in stroke.split(" | ")]
        control = np.array([point for piece in pieces for point in piece]) / 100
        control = control + rng.normal(0, wander, control.shape)
        # A corner belongs to both of its pieces: the next one starts where the last one ended.
        ends = np.cumsum([len(piece) for piece in pieces])
        starts = [0, *(ends[:-1] - 1)]
        curves = [smooth(control[start:end]) for start, end in zip(starts, ends, strict=True)]
        strokes.append(np.vstack([curves[0], *(curve[1:] for _, curve in itertools.pairwise(curves))]))
    return strokes


def handwritten_digit(digit: int, rng: np.random.Generator) -> list[Points]:
    """Write a digit: a random habit and a hand more or less sure.

    Args:
        digit: 0..9.
        rng: Source of both.

    Returns:
        One polyline, float64 (n, 2), per stroke, in the unit square give or take the wandering.
    """
    habits = SKELETONS[digit]
    return trace(habits[int(rng.integers(len(habits)))], rng, rng.uniform(0.005, 0.05))
