"""Draw digits and shapes: hand-drawn or printed, in colours, on backgrounds, distorted, blurred, coarsely sampled.

Everything is drawn here from the skeletons of `strokes`, the outlines of `outlines` and the fonts of `font_files`; no
image is read from anywhere. Image `i` of a pool depends on the seed and `i` alone.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ulfine_cache.tiny.captions import ATTRIBUTES, COLOURS, FINISHES, LABELS, MEDIA, Attributes
from ulfine_cache.tiny.outlines import SHAPES
from ulfine_cache.tiny.strokes import Points, handwritten_digit

SIZE: Final = 32
"""Side of a rendered image in pixels, the model's own input size."""

_FINE: Final = 4 * SIZE  # drawn at four times the size: Pillow's lines are not antialiased
_GREYS: Final = ("black", "white", "grey")
# Found by Pillow in the system's font folders where installed; the built-in one is always there.
_FONT_NAMES: Final = tuple(
    f"DejaVu{name}.ttf"
    for name in (
        "Sans",
        "Sans-Bold",
        "Sans-Oblique",
        "SansCondensed",
        "Serif",
        "Serif-Italic",
        "Serif-Bold",
        "SansMono",
    )
)


@dataclass(frozen=True)
class Sample:
    """One rendered image and what is true of it.

    Attributes:
        pixels: uint8 (SIZE, SIZE, 3), sRGB.
        attributes: int64 (len(ATTRIBUTES),), see `captions`.
    """

    pixels: NDArray[np.uint8]
    attributes: Attributes


@cache
def font_files() -> tuple[str, ...]:
    """Name the fonts the renderer uses on this machine: "" is Pillow's built-in one, others are DejaVu where found."""
    found = [""]
    for name in _FONT_NAMES:
        try:
            ImageFont.truetype(name, 10)
        except OSError:
            continue
        found.append(name)
    return tuple(found)


@lru_cache(maxsize=64)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.truetype(name, size) if name else ImageFont.load_default(size)


def _distort(strokes: list[Points], rng: np.random.Generator, tight: bool) -> list[Points]:
    """Slant, turn, bend and place the strokes in the drawing square."""
    cloud = np.vstack(strokes) - 0.5
    lengths = np.cumsum([len(stroke) for stroke in strokes])[:-1]
    turn, slant = rng.normal(0, 0.12), rng.normal(0.1, 0.2)
    aspect = rng.uniform(0.55, 1.05)
    cloud = cloud * [aspect, 1.0]
    cloud[:, 0] -= slant * cloud[:, 1]
    cosine, sine = np.cos(turn), np.sin(turn)
    cloud = cloud @ np.array([[cosine, sine], [-sine, cosine]])
    for axis in (0, 1):
        amplitude, frequency, phase = rng.uniform(0, 0.035), rng.uniform(0.5, 1.5), rng.uniform(0, 2 * np.pi)
        cloud[:, axis] += amplitude * np.sin(2 * np.pi * frequency * cloud[:, 1 - axis] + phase)
    low, high = cloud.min(0), cloud.max(0)
    extent = np.maximum(high - low, 1e-6)
    cloud = (cloud - (low + high) / 2) / extent.max()
    # A tight frame is what segmenters of handwriting leave: the ink nearly touches top and bottom.
    scale = rng.uniform(0.78, 0.97) if tight else rng.uniform(0.42, 0.9)
    slack = max(0.0, 1 - scale) / 2
    centre = 0.5 + rng.uniform(-slack, slack, 2) * (1.0 if not tight else 0.8)
    return np.split((cloud * scale + centre) * _FINE, lengths)


def _draw_pen(strokes: list[Points], rng: np.random.Generator, width: float) -> Image.Image:
    mask = Image.new("L", (_FINE, _FINE))
    draw = ImageDraw.Draw(mask)
    half = width / 2
    for stroke in strokes:
        points = [(float(x), float(y)) for x, y in stroke]
        draw.line(points, fill=255, width=max(2, round(width)), joint="curve")
        for x, y in (points[0], points[-1]):
            draw.ellipse((x - half, y - half, x + half, y + half), fill=255)
    return mask


def _handwritten(digit: int, rng: np.random.Generator, tight: bool) -> Image.Image:
    width = rng.uniform(6, 22)
    strokes = _distort(handwritten_digit(digit, rng), rng, tight)
    # Ink has width: pull the pen's path inwards so that the outside of the ink stays in the frame.
    inset = 1 - width / _FINE
    return _draw_pen([(stroke - _FINE / 2) * inset + _FINE / 2 for stroke in strokes], rng, width)


def _printed(digit: int, rng: np.random.Generator, tight: bool) -> Image.Image:
    names = font_files()
    font = _font(names[int(rng.integers(len(names)))], int(rng.choice([80, 100, 120])))
    glyph = Image.new("L", (_FINE * 2, _FINE * 2))
    ImageDraw.Draw(glyph).text((_FINE, _FINE), str(digit), fill=255, font=font, anchor="mm")
    if rng.random() < 0.3:
        glyph = glyph.filter(ImageFilter.MaxFilter(5))
    box = glyph.getbbox() or (0, 0, 1, 1)
    glyph = glyph.crop(box)
    scale = _FINE * (rng.uniform(0.8, 0.97) if tight else rng.uniform(0.42, 0.9)) / glyph.height
    stretch = rng.uniform(0.8, 1.35)
    shape = (max(4, min(_FINE - 2, round(glyph.width * scale * stretch))), max(4, round(glyph.height * scale)))
    glyph = glyph.resize(shape, Image.Resampling.BILINEAR)
    mask = Image.new("L", (_FINE, _FINE))
    slack = (_FINE - shape[0], _FINE - shape[1])
    mask.paste(glyph, (round(slack[0] * rng.uniform(0.3, 0.7)), round(slack[1] * rng.uniform(0.2, 0.8))))
    shear = rng.normal(0, 0.12)
    turned = mask.rotate(rng.normal(0, 6), Image.Resampling.BILINEAR)
    return turned.transform(
        turned.size, Image.Transform.AFFINE, (1, shear, -shear * _FINE / 2, 0, 1, 0), Image.Resampling.BILINEAR
    )


def _shape(name: str, filled: bool, rng: np.random.Generator, tight: bool) -> Image.Image:
    corners = SHAPES[name]()
    corners = corners + rng.normal(0, 0.012, corners.shape)
    closed = np.vstack([corners, corners[:1]]) - 0.5
    turn = rng.normal(0, 0.2) if name != "arrow" else rng.uniform(0, 2 * np.pi)
    cosine, sine = np.cos(turn), np.sin(turn)
    closed = (closed * [rng.uniform(0.85, 1.15), 1.0]) @ np.array([[cosine, sine], [-sine, cosine]])
    extent = np.ptp(closed, axis=0).max()
    scale = rng.uniform(0.78, 0.95) if tight else rng.uniform(0.4, 0.85)
    slack = (1 - scale) / 2
    placed = (closed - (closed.min(0) + closed.max(0)) / 2) / extent * scale + 0.5 + rng.uniform(-slack, slack, 2)
    if not filled:
        return _draw_pen([placed * _FINE], rng, rng.uniform(5, 13))
    mask = Image.new("L", (_FINE, _FINE))
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in placed * _FINE], fill=255)
    return mask


def _choose_colours(rng: np.random.Generator) -> tuple[str, str]:
    draw = rng.random()
    if draw < 0.3:
        return "white", "black"
    if draw < 0.42:
        return "black", "white"
    names = _GREYS if draw < 0.5 else tuple(COLOURS)
    first, second = rng.choice(len(names), 2, replace=False)
    return names[int(first)], names[int(second)]


def _tint(name: str, rng: np.random.Generator) -> NDArray[np.float32]:
    centre = np.array(COLOURS[name], dtype=np.float32)
    spread = rng.normal(0, 12, 1 if name in _GREYS else 3)
    return np.clip(centre + spread, 0, 255).astype(np.float32)


def _paint(mask: Image.Image, colour: str, background: str, rng: np.random.Generator) -> Image.Image:
    alpha = np.asarray(mask.resize((SIZE, SIZE), Image.Resampling.BOX), dtype=np.float32)[:, :, None] / 255
    ground = np.broadcast_to(_tint(background, rng), (SIZE, SIZE, 3)).copy()
    style = rng.random()
    if style < 0.2:  # light falls from one side
        ramp = np.linspace(-1, 1, SIZE, dtype=np.float32) * rng.uniform(-28, 28)
        ground += ramp[:, None, None] if rng.random() < 0.5 else ramp[None, :, None]
    elif style < 0.35:  # stains
        coarse = rng.normal(0, 22, (5, 5)).astype(np.float32)
        ground += np.asarray(Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BICUBIC))[:, :, None]
    canvas = ground * (1 - alpha) + _tint(colour, rng) * alpha
    if rng.random() < 0.25:
        canvas += rng.normal(0, rng.uniform(2, 14), (*canvas.shape[:2], 1))
    return Image.fromarray(np.clip(canvas + 0.5, 0, 255).astype(np.uint8))


def _pixelate(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    side = int(rng.choice([8, 8, 8, 10, 12, 16]))
    coarse = image.resize((side, side), Image.Resampling.BOX)
    if rng.random() < 0.4:  # few grey levels, as old scanners and counting of ink dots give
        levels = int(rng.choice([4, 8, 16]))
        coarse = coarse.point([round(round(value * levels / 255) * 255 / levels) for value in range(256)] * 3)
    ways = (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    return coarse.resize((SIZE, SIZE), ways[int(rng.integers(len(ways)))])


def render(rng: np.random.Generator) -> Sample:
    """Draw one random image.

    Args:
        rng: The only source of chance.

    Returns:
        The image and its attributes. Two in three are digits; of these, three in four are handwritten.
    """
    tight = bool(rng.random() < 0.55)
    is_digit = rng.random() < 0.68
    if is_digit:
        label = int(rng.integers(10))
        medium = "handwritten" if rng.random() < 0.75 else "printed"
        mask = (_handwritten if medium == "handwritten" else _printed)(label, rng, tight)
    else:
        label = int(rng.integers(10, len(LABELS)))
        medium = "filled" if rng.random() < 0.6 else "outlined"
        mask = _shape(LABELS[label], medium == "filled", rng, tight)
    colour, background = _choose_colours(rng)
    image = _paint(mask, colour, background, rng)
    finish = str(rng.choice(FINISHES, p=[0.35, 0.2, 0.45]))
    if finish == "blurry":
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.7, 1.6)))
    elif finish == "pixelated":
        image = _pixelate(image, rng)
    names = tuple(COLOURS)
    values = dict(
        zip(
            ATTRIBUTES,
            (
                label,
                0 if is_digit else 1,
                names.index(colour),
                names.index(background),
                MEDIA.index(medium),
                FINISHES.index(finish),
            ),
            strict=True,
        )
    )
    return Sample(np.asarray(image, dtype=np.uint8), np.array([values[name] for name in ATTRIBUTES], dtype=np.int64))


def render_pool(seed: int, start: int, stop: int) -> tuple[NDArray[np.uint8], Attributes]:
    """Draw images `start` to `stop` of the endless pool that belongs to a seed.

    Args:
        seed: Any non-negative integer.
        start: First image.
        stop: One past the last image.

    Returns:
        pixels uint8 (n, SIZE, SIZE, 3) and attributes int64 (n, len(ATTRIBUTES)).
    """
    pixels = np.empty((stop - start, SIZE, SIZE, 3), dtype=np.uint8)
    attributes = np.empty((stop - start, len(ATTRIBUTES)), dtype=np.int64)
    for row, index in enumerate(range(start, stop)):
        sample = render(np.random.default_rng((seed, index)))
        pixels[row], attributes[row] = sample.pixels, sample.attributes
    return pixels, attributes
