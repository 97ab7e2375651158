"""The simple shapes the tiny CLIP knows, as closed outlines in the unit square (x to the right, y downwards)."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def _ring(angles: Points, radius: Points | float) -> Points:
    return 0.5 + 0.5 * np.column_stack([radius * np.cos(angles), radius * np.sin(angles)])


def _regular(corners: int, first: float = -90) -> Points:
    return _ring(np.radians(first + 360 / corners * np.arange(corners)), 1.0)


def _circle() -> Points:
    return _ring(np.linspace(0, 2 * np.pi, 40, endpoint=False), 1.0)


def _star() -> Points:
    return _ring(np.radians(-90 + 36 * np.arange(10)), np.where(np.arange(10) % 2 == 0, 1.0, 0.42))


def _square() -> Points:
    return np.array([(0.08, 0.08), (0.92, 0.08), (0.92, 0.92), (0.08, 0.92)])


def _diamond() -> Points:
    return np.array([(0.5, 0.0), (0.85, 0.5), (0.5, 1.0), (0.15, 0.5)])


def _triangle() -> Points:
    return np.array([(0.5, 0.03), (0.98, 0.95), (0.02, 0.95)])


def _cross() -> Points:
    a, b = 0.34, 0.66
    rows = [(a, 0), (b, 0), (b, a), (1, a), (1, b), (b, b), (b, 1), (a, 1), (a, b), (0, b), (0, a), (a, a)]
    return np.array(rows, dtype=np.float64)


def _arrow() -> Points:
    rows = [(0, 0.38), (0.55, 0.38), (0.55, 0.12), (1, 0.5), (0.55, 0.88), (0.55, 0.62), (0, 0.62)]
    return np.array(rows, dtype=np.float64)


def _heart() -> Points:
    # The usual trigonometric heart, x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, scaled to the square.
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.column_stack([0.5 + x / 34, 0.45 - y / 32])


def _crescent() -> Points:
    outer = _ring(np.radians(np.linspace(60, 300, 28)), 1.0)
    inner = np.array([0.3, 0.0]) + _ring(np.radians(np.linspace(285, 75, 24)), 0.85)
    return np.vstack([outer, inner])


SHAPES: Final[dict[str, Callable[[], Points]]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "heart": _heart,
    "diamond": _diamond,
    "pentagon": lambda: _regular(5),
    "hexagon": lambda: _regular(6, 0),
    "arrow": _arrow,
    "crescent": _crescent,
}
"""Shape name -> its outline, float64 (corners, 2), not closed (the last corner joins the first)."""
