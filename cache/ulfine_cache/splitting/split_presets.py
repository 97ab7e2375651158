"""Published long-tailed semi-supervised protocols by name, such as ``cifar100-lt-50-400-10``.

A preset holds the values of a published protocol; the rows are drawn by `ulfine_cache.splitting.split_draw` as always.
So the counts of each class are the published ones, and the images are not: public code draws with other generators, and
every repository with its own. `docs/splits.md` says which convention each preset follows and where public code differs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.splitting.split_draw import Split
from ulfine_cache.wording.counts import amount

DASO = "DASO (Oh et al., CVPR 2022), public code"
DARP = "DARP (Kim et al., NeurIPS 2020), as in CoSSL's public code"
ACR = "ACR (Wei and Gan, CVPR 2023), public code"
COSSL = "CoSSL (Fan et al., CVPR 2022), public code, after CReST (Wei et al., CVPR 2021)"
BMB = "BMB (Peng et al., 2023), public scripts"


@dataclass(frozen=True)
class Preset:
    """A published protocol.

    Attributes:
        name: As on the command line.
        data_set: What the cache has to hold.
        n_classes: Its classes.
        protocol: Values of `SplitProtocol` that differ from the defaults.
        source: Who published the values.
        labelled: Labelled rows in all; None where they depend on the cache.
        unlabelled: Unlabelled rows in all; None where they depend on the cache.
        differs: What differs from the public code, in one line; "" for nothing but the images drawn.
    """

    name: str
    data_set: str
    n_classes: int
    protocol: Mapping[str, Any]
    source: str
    labelled: int | None = None
    unlabelled: int | None = None
    differs: str = ""


_INCLUDED = "the public code has the labelled images among the unlabelled ones as well; here they are disjoint"

# Name of the data set, classes; then N, M, gamma, totals of the labelled and of the consistent unlabelled rows, source.
_CIFAR: tuple[tuple[str, str, int, int, int, int, int, int, str, str], ...] = (
    ("cifar10-lt", "CIFAR-10", 10, 500, 4000, 100, 1236, 9922, DASO, ""),
    ("cifar10-lt", "CIFAR-10", 10, 500, 4000, 150, 1162, 9329, DASO, ""),
    ("cifar10-lt", "CIFAR-10", 10, 1500, 3000, 50, 4196, 8397, DARP, _INCLUDED),
    ("cifar10-lt", "CIFAR-10", 10, 1500, 3000, 100, 3720, 7443, DASO, ""),
    ("cifar10-lt", "CIFAR-10", 10, 1500, 3000, 150, 3496, 6996, DASO, ""),
    ("cifar100-lt", "CIFAR-100", 100, 50, 400, 10, 1911, 15651, DASO, ""),
    ("cifar100-lt", "CIFAR-100", 100, 50, 400, 20, 1545, 12719, DASO, ""),
    ("cifar100-lt", "CIFAR-100", 100, 150, 300, 10, 5835, 11720, DASO, ""),
    ("cifar100-lt", "CIFAR-100", 100, 150, 300, 20, 4741, 9527, DASO, ""),
)
# Those that were published with other unlabelled sets, too, and by whom.
_SHAPED = {
    "cifar10-lt-500-4000-100": DASO,
    "cifar10-lt-1500-3000-100": DASO,
    "cifar100-lt-50-400-10": ACR,
}


def _cifar() -> list[Preset]:
    found = []
    for prefix, data_set, n_classes, n_max, m_max, gamma, labelled, unlabelled, source, differs in _CIFAR:
        name = f"{prefix}-{n_max}-{m_max}-{gamma}"
        protocol = {
            "labelled_max": n_max,
            "imbalance": float(gamma),
            "unlabelled_max": m_max,
            "ranks": "class-index",
        }
        found.append(Preset(name, data_set, n_classes, protocol, source, labelled, unlabelled, differs))
        for shape in ("uniform", "reversed") if name in _SHAPED else ():
            rows = m_max * n_classes if shape == "uniform" else unlabelled
            shaped = protocol | {"unlabelled": shape}
            found.append(Preset(f"{name}-{shape}", data_set, n_classes, shaped, _SHAPED[name], labelled, rows))
    return found


def _stl10() -> list[Preset]:
    totals = {(150, 10): 609, (150, 20): 507, (450, 10): 1835, (450, 20): 1528}
    return [
        Preset(
            name=f"stl10-lt-{n_max}-{gamma}",
            data_set="STL-10",
            n_classes=10,
            protocol={
                "labelled_max": n_max,
                "imbalance": float(gamma),
                "unlabelled": "own",
                "ranks": "class-index",
            },
            source=DASO,
            labelled=labelled,
        )
        for (n_max, gamma), labelled in totals.items()
    ]


def _imagenet127() -> list[Preset]:
    return [
        Preset(
            name=f"imagenet127-{percent}",
            data_set="ImageNet-127",
            n_classes=127,
            protocol={"labelled_fraction": percent / 100},
            source=source,
            differs=f"{_INCLUDED}; a class never has fewer than one labelled image",
        )
        for percent, source in ((10, COSSL), (1, BMB))
    ]


PRESETS: dict[str, Preset] = {preset.name: preset for preset in (*_cifar(), *_stl10(), *_imagenet127())}
"""All presets by name."""


def find_preset(name: str) -> Preset:
    """Look a preset up.

    Raises:
        UsageError: There is none of that name.

    Example:
        >>> find_preset("cifar100-lt-50-400-10").protocol["labelled_max"]
        50
    """
    if name not in PRESETS:
        raise UsageError(f"no preset {name!r}: `ulfine split CACHE --preset list` shows them")
    return PRESETS[name]


def list_presets() -> list[dict[str, Any]]:
    """Describe all presets: name, data_set, classes, labelled, unlabelled, source and differs of each."""
    return [
        {
            "name": preset.name,
            "data_set": preset.data_set,
            "classes": preset.n_classes,
            "labelled": preset.labelled,
            "unlabelled": preset.unlabelled,
            "source": preset.source,
            "differs": preset.differs,
        }
        for preset in PRESETS.values()
    ]


def check_preset(preset: Preset, n_classes: int, own: Split, where: str) -> None:
    """Refuse a cache that cannot hold what the preset is drawn from, before anything is drawn.

    Args:
        preset: What is to be drawn.
        n_classes: Classes of the cache.
        own: The sets that the cache came with.
        where: The cache, for the message.

    Raises:
        UlfineError: The number of classes differs, there is no test set, or there are no unlabelled images where the
            preset takes them.
    """
    if n_classes != preset.n_classes:
        raise UlfineError(
            f"{preset.name} is a protocol of {preset.data_set}, which has {amount(preset.n_classes, 'class')}; "
            f"{where} has {n_classes}: take the cache of {preset.data_set}"
        )
    if not len(own.test):
        raise UlfineError(
            f"{preset.name} is judged on the test set of {preset.data_set}, and {where} has none: cache its test "
            "images too, in test/"
        )
    if preset.protocol.get("unlabelled") == "own" and not len(own.unlabelled):
        raise UlfineError(
            f"{preset.name} takes the unlabelled images of {preset.data_set}, and {where} has none: cache them too, in "
            "unlabelled/"
        )


def check_drawn(preset: Preset, split: Split, where: str) -> None:
    """Refuse a draw that is smaller than the published one.

    Raises:
        UlfineError: A class had too few rows.
    """
    clipped = split.protocol["drawn"]["clipped"]
    if clipped:
        more = f" and {amount(len(clipped) - 1, 'more class')} have" if len(clipped) > 1 else " has"
        raise UlfineError(
            f"class {clipped[0]!r}{more} fewer images in {where} than {preset.name} takes: cache all training images "
            f"of {preset.data_set}"
        )
