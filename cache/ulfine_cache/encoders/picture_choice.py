"""How pictures are made for weights from a file, which does not say it itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from ulfine_cache.encoders.model_libraries import nearest
from ulfine_cache.errors import UsageError

FIELDS: Final = ("mean", "std", "interpolation", "resize_mode")
"""What weights of one architecture may differ in; the size is the architecture's own."""


@dataclass(frozen=True)
class PictureOptions:
    """What a call says about pictures; None everywhere says nothing.

    Attributes:
        tag: Make them as for the weights of this tag.
        mean: Of each channel.
        std: Of each channel.
        interpolation: "bicubic" or "bilinear".
    """

    tag: str | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: str | None = None

    @classmethod
    def parsed(cls, tag: str | None, mean: str | None, std: str | None, interpolation: str | None) -> Self:
        """Read what the command line says, means and deviations as one number or three with commas.

        Raises:
            UsageError: A number is none, or a deviation is not above 0.
        """
        deviations = _numbers("--std", std)
        if deviations is not None and min(deviations) <= 0:
            raise UsageError(f"--std {std} cannot be used: pictures are divided by it, so it has to be above 0")
        return cls(tag, _numbers("--mean", mean), deviations, interpolation)

    @property
    def fields(self) -> dict[str, Any]:
        """What is said by numbers and words, in keys of `Preprocess.from_open_clip`."""
        said = {"mean": self.mean, "std": self.std, "interpolation": self.interpolation}
        return {name: value for name, value in said.items() if value is not None}


def of_tag(model: str, tags: Mapping[str, Mapping[str, Any]], tag: str) -> Mapping[str, Any]:
    """Return how pictures are made for the weights of a tag.

    Raises:
        UsageError: The model has no such tag.
    """
    if tag not in tags:
        raise UsageError(f"{model} has no weights {tag!r} for --preprocess: {nearest(tag, list(tags))}")
    return tags[tag]


def shared(
    model: str,
    tags: Mapping[str, Mapping[str, Any]],
    said: Mapping[str, Any],
    hint: str = "--preprocess TAG with the one that the file is of or was trained from",
    fields: Sequence[str] = FIELDS,
) -> dict[str, Any]:
    """Return what all weights of a model share, in keys of `Preprocess.from_open_clip`.

    Args:
        model: For the error.
        tags: How pictures are made for the weights of each tag, at least one.
        said: What is known already, and so may differ.
        hint: What to give where that does not suffice.
        fields: The keys to look at.

    Raises:
        UsageError: They differ in something that is not said; the line says in what, and how to say it.

    Example:
        >>> tags = {"a": {"mean": (0, 0, 0), "std": (1, 1, 1)}, "b": {"mean": (0, 0, 0), "std": (2, 2, 2)}}
        >>> shared("NAME", tags, {"std": (1, 1, 1)}, fields=["mean", "std"])
        {'mean': (0, 0, 0)}
    """
    common: dict[str, Any] = {}
    for field in fields:
        values = [cfg.get(field) for cfg in tags.values()]
        if all(value == values[0] for value in values):
            common[field] = values[0]
    differing = [field for field in fields if field not in common and field not in said]
    if not differing:
        return common
    groups: dict[str, list[str]] = {}
    for tag, cfg in tags.items():
        groups.setdefault(in_words({field: cfg.get(field) for field in differing}), []).append(tag)
    ways = "; ".join(f"{words} for {_few(named)}" for words, named in groups.items())
    numbers = [f"--{field}" for field in differing if field in ("mean", "std", "interpolation")]
    also = f", or say {' and '.join(numbers)}" if len(numbers) == len(differing) else ""
    raise UsageError(
        f"a file does not say how pictures are made, and the weights of {model} differ in it ({ways}): "
        f"give {hint}{also}"
    )


def in_words(pictures: Mapping[str, Any]) -> str:
    """Say how pictures are made, such as "mean 0.5, std 0.5, bicubic, shortest side fits"."""
    words = {
        "shortest": "shortest side fits",
        "longest": "longest side fits",
        "squash": "squashed to fit",
    }
    said = []
    for name, value in pictures.items():
        if name in ("mean", "std", "size", "resize"):
            said.append(f"{name} {_short(value)}")
        elif isinstance(value, str):
            said.append(words.get(value, value))
    return ", ".join(said)


def _numbers(option: str, text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    values = values * 3 if len(values) == 1 else values
    # Not a number is unlike itself; nothing in pictures is beyond 255.
    if len(values) != 3 or not all(0 <= value <= 255 for value in values):
        raise UsageError(f"{option} {text} cannot be used: give one number, or red,green,blue such as 0.48,0.46,0.41")
    if max(values) > 1:
        raise UsageError(f"{option} {text} cannot be used: pictures are scaled to 0..1 first, so divide it by 255")
    return values[0], values[1], values[2]


def _short(value: Any) -> str:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    values = values[:1] if len(set(values)) == 1 else values
    return " ".join(f"{number:.4g}" for number in values)


def _few(tags: Sequence[str]) -> str:
    return ", ".join(tags[:3]) + (", ..." if len(tags) > 3 else "")
