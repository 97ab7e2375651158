"""What is true of a rendered image, and sentences that say some of it.

An image has one value for each of the `ATTRIBUTES`; a caption asserts some of them and leaves the others open
(`UNSAID`). A caption fits an image when everything it asserts is true of it, so the positives of a batch are known
exactly and no pair is a false negative of another.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.tiny.outlines import SHAPES

Attributes = NDArray[np.int64]

DIGIT_NAMES: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LABELS: Final = (*DIGIT_NAMES, *SHAPES)
"""Class names; the first ten are the digits in order."""

COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "black": (12, 12, 12),
    "white": (245, 245, 245),
    "grey": (128, 128, 128),
    "red": (210, 30, 35),
    "green": (35, 150, 55),
    "blue": (35, 65, 205),
    "yellow": (240, 215, 45),
    "orange": (240, 130, 25),
    "purple": (125, 45, 160),
    "pink": (245, 145, 185),
    "brown": (120, 75, 35),
    "cyan": (60, 205, 215),
}
"""Colour name -> its centre in sRGB; the renderer scatters around it."""

MEDIA: Final = ("handwritten", "printed", "filled", "outlined")
FINISHES: Final = ("sharp", "blurry", "pixelated")
CATEGORIES: Final = ("digit", "shape")

ATTRIBUTES: Final = ("label", "category", "colour", "background", "medium", "finish")
UNSAID: Final = -1

# Sentences around a noun phrase {}; they assert nothing themselves. Both open_clip's default and the neutral ones of
# its 80 ImageNet templates are here, so that the usual prompts are made of words whose rows were trained.
FRAMES: Final = (
    "{}",
    "a {}",
    "the {}",
    "{}.",
    "a photo of {}",
    "a photo of a {}.",
    "a photo of a {}",
    "a photo of the {}.",
    "a photo of the {}",
    "an image of {}",
    "an image of a {}.",
    "a picture of a {}.",
    "a picture of {}",
    "a drawing of a {}.",
    "a drawing of the {}.",
    "a sketch of a {}.",
    "a rendering of a {}.",
    "a rendition of a {}.",
    "a rendition of the {}.",
    "a painting of the {}.",
    "a doodle of a {}.",
    "a good photo of a {}.",
    "a good photo of the {}.",
    "a bad photo of a {}.",
    "a bad photo of the {}.",
    "a photo of one {}.",
    "a photo of a small {}.",
    "a photo of a large {}.",
    "a photo of the small {}.",
    "a photo of the large {}.",
    "a photo of my {}.",
    "itap of a {}.",
    "itap of my {}.",
    "itap of the {}.",
    "a close-up photo of a {}.",
    "a close-up photo of the {}.",
    "a cropped photo of a {}.",
    "a cropped photo of the {}.",
    "a photo of a nice {}.",
    "a photo of a clean {}.",
    "a photo of the dirty {}.",
    "a photo of a weird {}.",
    "a photo of the cool {}.",
    "a photo of a hard to see {}.",
    "a photo of many {}.",
    "a low resolution photo of a {}.",
    "a low resolution photo of the {}.",
    "a jpeg corrupted photo of a {}.",
    "a bright photo of a {}.",
    "a dark photo of the {}.",
    "a black and white photo of a {}.",
    "graffiti of a {}.",
    "a tattoo of a {}.",
    "art of the {}.",
    "a cartoon {}.",
    "a {} in a video game.",
    "this is a {}",
    "this is the {}",
    "it shows the {}",
)

_DIGIT_NOUNS: Final = (
    "{word}",
    "{figure}",
    "digit {word}",
    "digit {figure}",
    "the digit {word}",
    "the digit {figure}",
    "number {word}",
    "number {figure}",
    "the number {word}",
    "the number {figure}",
    "numeral {word}",
    "figure {figure}",
    "digit: {figure}",
    "digit: {word}",
    "{figure} {word}",
)
_SHAPE_NOUNS: Final = ("{word}", "{word}", "{word} shape", "the {word}", "a {word}")
_CATEGORY_NOUNS: Final = {
    "digit": ("digit", "number", "a digit", "a number", "numeral"),
    "shape": ("shape", "a shape", "symbol"),
}
_MEDIUM_WORDS: Final = {
    "handwritten": ("handwritten", "hand-written", "handwriting"),
    "printed": ("printed", "typed"),
    "filled": ("filled", "solid"),
    "outlined": ("outlined", "outline of a"),
}
_FINISH_WORDS: Final = {
    "sharp": ("sharp", "crisp"),
    "blurry": ("blurry", "blurred"),
    "pixelated": ("pixelated", "low-resolution"),
}


def _pick(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def describe(attributes: Attributes, rng: np.random.Generator) -> tuple[str, Attributes]:
    """Say something true about an image.

    Args:
        attributes: The truth, int64 (len(ATTRIBUTES),).
        rng: Chooses how much is said and in which words.

    Returns:
        The caption and what it asserts: int64 (len(ATTRIBUTES),) with `UNSAID` where it keeps silent.
    """
    label, category, colour, background, medium, finish = (int(value) for value in attributes)
    asserted = np.full(len(ATTRIBUTES), UNSAID, dtype=np.int64)
    names = tuple(COLOURS)

    if rng.random() < 0.93:
        asserted[0], asserted[1] = label, category
        nouns = _DIGIT_NOUNS if category == 0 else _SHAPE_NOUNS
        noun = _pick(rng, nouns).format(word=LABELS[label], figure=label)
    else:
        asserted[1] = category
        noun = _pick(rng, _CATEGORY_NOUNS[CATEGORIES[category]])

    adjectives: list[str] = []
    if rng.random() < 0.12:
        asserted[5] = finish
        adjectives.append(_pick(rng, _FINISH_WORDS[FINISHES[finish]]))
    if rng.random() < 0.25:
        asserted[4] = medium
        adjectives.append(_pick(rng, _MEDIUM_WORDS[MEDIA[medium]]))
    if rng.random() < 0.22:
        asserted[2] = colour
        adjectives.append(names[colour])
    if adjectives:
        noun = " ".join([*adjectives, noun.removeprefix("the ").removeprefix("a ")])
    if rng.random() < 0.12:
        asserted[3] = background
        noun = f"{noun} on {names[background]}" + (" background" if rng.random() < 0.4 else "")
    return _pick(rng, FRAMES).format(noun), asserted


def every_word() -> list[str]:
    """Return sentences in which every word occurs that `describe` can ever say."""
    shown = [f"{label} {number % 10}" for number, label in enumerate(LABELS)]
    nouns = [noun.format(word="one", figure=1) for noun in (*_DIGIT_NOUNS, *_SHAPE_NOUNS)]
    words = [
        word for table in (_CATEGORY_NOUNS, _MEDIUM_WORDS, _FINISH_WORDS) for group in table.values() for word in group
    ]
    return [*(frame.format("one") for frame in FRAMES), *shown, *nouns, *words, *COLOURS, "on background"]


def matches(images: Attributes, captions: Attributes) -> NDArray[np.bool_]:
    """Say which caption is true of which image.

    Args:
        images: The truth, int64 (n, len(ATTRIBUTES)).
        captions: What the captions assert, int64 (m, len(ATTRIBUTES)).

    Returns:
        bool (n, m).
    """
    said = captions[None, :, :] != UNSAID
    return np.all(~said | (captions[None, :, :] == images[:, None, :]), axis=2)
