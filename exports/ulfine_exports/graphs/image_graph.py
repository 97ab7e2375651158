"""The preprocessing of pictures as the first part of an ONNX graph: uint8 (batch, height, width, 3) of any size.

It repeats `ulfine_cache.preprocess.Preprocess` step by step, roundings included. The one step that cannot be repeated
to the last digit is the resize. onnxruntime's antialiased Resize of uint8 is Pillow's algorithm, in integers as there,
but its filter is computed in 32 bits instead of 64: about one value in 2000 comes out one grey level off (one in 40 for
bilinear enlargements, whose exact halves are rounded). Very tall pictures, and in "squash" those whose height shrinks
more than their width, Pillow 13 resizes vertically first and onnxruntime never does: one value in four is then off, by
up to 5 levels.
Resizing floats and rounding afterwards was tried: one value in five is then off everywhere, by up to 20 levels, since
Pillow rounds and clips between its two passes.
"""

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ulfine_exports.graphs.affine_graph import IR_VERSION
from ulfine_exports.graphs.tidy import import_once

if TYPE_CHECKING:
    from onnx import ModelProto

    from ulfine_cache.preprocess import Preprocess

MAX_ASPECT = 16
"""As in `ulfine_cache.preprocess`: what is more elongated than this loses its ends."""

_FILTERS = {"bicubic": "cubic", "bilinear": "linear"}
_FLOAT, _INT64, _DOUBLE = 1, 7, 11


def preprocess_graph(preprocess: "Preprocess", opset: int, *, five_crops: bool = False) -> "ModelProto":
    """Write preprocessing as a graph of its own.

    Args:
        preprocess: What to repeat.
        opset: Version of the ONNX operator set, at least 18.
        five_crops: Cut out the centre, top left, top right, bottom left and bottom right instead of the centre.

    Returns:
        A model with input ``image``, uint8 (batch, height, width, 3), and output ``prepared``, float32
        (batch, 3, H, W), or (batch, 5, 3, H, W) with five crops; (batch, L) or (batch, 5, L) for several encoders that
        want pictures differently (`JoinedPreprocess`).

    Example:
        >>> from ulfine_cache.preprocess import Preprocess
        >>> model = preprocess_graph(Preprocess((224, 224), (0.5,) * 3, (0.5,) * 3), 20)
        >>> [item.name for item in model.graph.input]
        ['image']
    """
    from onnx import numpy_helper, parser

    from ulfine_cache.pictures.joined_preprocess import JoinedPreprocess

    if isinstance(preprocess, JoinedPreprocess):
        from ulfine_exports.graphs.several_preprocesses import several_preprocesses

        return several_preprocesses(
            [preprocess_graph(part, opset, five_crops=five_crops) for part in preprocess.parts], five_crops=five_crops
        )
    height, width = preprocess.size
    views = "5, " if five_crops else ""
    lines = [*_RECEIVE, *_resize(preprocess), *_crops(five_crops=five_crops), *_SCALE]
    model = parser.parse_model(
        f'<ir_version: {IR_VERSION}, opset_import: ["" : {opset}]>\n'
        f"preprocess (uint8[batch, height, width, 3] image) => (float[batch, {views}3, {height}, {width}] prepared)\n"
        "{" + "\n".join(lines) + "}"
    )
    used = {name for node in model.graph.node for name in node.input}
    for name, values in _constants(preprocess, five_crops=five_crops).items():
        if name in used:
            model.graph.initializer.append(numpy_helper.from_array(values, name))
    return model


def prepend(preparation: "ModelProto", model: "ModelProto") -> "ModelProto":
    """Put a preprocessing graph before a graph that takes its output.

    Args:
        preparation: As `preprocess_graph` gives it.
        model: A graph with one input, of the same opset.

    Returns:
        A new model with the input of `preparation` and the outputs of `model`.
    """
    from onnx import ModelProto, compose

    first, second = ModelProto(), ModelProto()
    first.CopyFrom(compose.add_prefix(preparation, "prepare/", rename_inputs=False, rename_outputs=False))
    second.CopyFrom(model)
    first.ir_version = second.ir_version = max(first.ir_version, second.ir_version)
    joined = compose.merge_models(first, second, io_map=[("prepared", model.graph.input[0].name)])
    joined.graph.name = model.graph.name
    import_once(joined)
    joined.producer_name, joined.producer_version = model.producer_name, model.producer_version
    return joined


# The detour by doubles and Round changes nothing. It hides the sides from shape inference that calculates with symbols:
# onnxruntime's follows them to the slices and ends there with an AssertionError, over halves it can prove nothing of.
_OPAQUE_SIDES = tuple(
    line
    for side, axis in (("rows", 1), ("columns", 2))
    for line in (
        f"given_{side} = Shape <start = {axis}, end = {axis + 1}> (image)",
        f"double_given_{side} = Cast <to = {_DOUBLE}> (given_{side})",
        f"round_given_{side} = Round (double_given_{side})",
        f"{side} = Cast <to = {_INT64}> (round_given_{side})",
    )
)

_RECEIVE = (
    "batch = Shape <start = 0, end = 1> (image)",
    *_OPAQUE_SIDES,
    "planes = Transpose <perm = [0, 3, 1, 2]> (image)",
)

_SCALE = (
    "floats = Cast <to = 1> (cut)",
    "scaled = Div (floats, white)",
    "centred = Sub (scaled, mean)",
    "divided = Div (centred, std)",
    # Tells those who read the graph the sizes that the crop has: it changes nothing.
    "prepared = Reshape (divided, shape)",
)


def _constants(preprocess: "Preprocess", *, five_crops: bool) -> "dict[str, NDArray[Any]]":
    height, width = preprocess.size
    fit_height, fit_width = preprocess.resize or preprocess.size
    integers = {"zero": 0, "one": 1, "two": 2, "three": 3, "aspect": MAX_ASPECT, "height": height, "width": width}
    integers |= {"fit_height": fit_height, "fit_width": fit_width}
    return {name: np.array([value], np.int64) for name, value in integers.items()} | {
        "half": np.array([0.5], np.float32),
        "axes": np.array([2, 3], np.int64),
        "no_pads": np.zeros(2, np.int64),
        "black": np.array(0, np.uint8),
        "fill": np.array(preprocess.fill_color, np.uint8),
        "white": np.array(255, np.float32),
        "mean": np.array(preprocess.mean, np.float32).reshape(3, 1, 1),
        "std": np.array(preprocess.std, np.float32).reshape(3, 1, 1),
        "view": np.array([0, 1, 3, height, width], np.int64),
        "shape": np.array([0, *([5] if five_crops else []), 3, height, width], np.int64),
    }


def _resize(preprocess: "Preprocess") -> list[str]:
    """From ``planes`` to ``fitted`` with ``have_rows`` and ``have_columns``: `Preprocess.resized`, padded to `size`."""
    fit, size = preprocess.resize or preprocess.size, preprocess.size
    interpolation = preprocess.interpolation
    lines = []
    if preprocess.resize_mode == "squash":
        source = "planes"
        lines += ["new_rows = Identity (fit_height)", "new_columns = Identity (fit_width)"]
    elif preprocess.resize_mode == "longest":
        source = "planes"
        lines += _by_ratio("Max", "rows", "columns")
        lines += ["new_rows = Max (rounded_rows, one)", "new_columns = Max (rounded_columns, one)"]
    else:
        source = "near"
        lines += _without_far_ends()
        if fit[0] == fit[1]:
            # Integer division rounds down, as int() does in Python.
            lines += [f"long_{side} = Mul (near_{side}, fit_height)" for side in ("rows", "columns")]
            lines += [f"new_{side} = Div (long_{side}, shorter)" for side in ("rows", "columns")]
        else:
            interpolation = "bicubic" if preprocess.resize is None else interpolation
            lines += _by_ratio("Min", "near_rows", "near_columns")
            lines += ["new_rows = Identity (rounded_rows)", "new_columns = Identity (rounded_columns)"]
    attributes = f'mode = "{_FILTERS[interpolation]}", antialias = 1, cubic_coeff_a = -0.5, exclude_outside = 1'
    lines += [
        "sizes = Concat <axis = 0> (batch, three, new_rows, new_columns)",
        f'resized = Resize <{attributes}, coordinate_transformation_mode = "half_pixel"> ({source}, , , sizes)',
    ]
    names = ("resized", "new_rows", "new_columns")
    if preprocess.resize_mode == "longest":
        lines += _pad(names, "fit_height", "fit_width", "fill", "framed")
        names = ("framed", "framed_rows", "framed_columns")
    if fit[0] < size[0] or fit[1] < size[1]:
        lines += _pad(names, "height", "width", "black", "grown")
        names = ("grown", "grown_rows", "grown_columns")
    new = ("fitted", "have_rows", "have_columns")
    return [*lines, *(f"{to} = Identity ({name})" for to, name in zip(new, names, strict=True))]


def _without_far_ends() -> list[str]:
    """From ``planes`` to ``near``, at most `MAX_ASPECT` times as long as wide."""
    lines = ["shorter = Min (rows, columns)", "most = Mul (shorter, aspect)"]
    for side, start in (("rows", "near_top"), ("columns", "near_left")):
        lines += [
            f"near_{side} = Min ({side}, most)",
            f"far_{side} = Sub ({side}, near_{side})",
            f"{start} = Div (far_{side}, two)",
        ]
    return [*lines, *_cut("planes", "near_top", "near_left", "near_rows", "near_columns", "near")]


def _by_ratio(choose: str, rows: str, columns: str) -> list[str]:
    """Sizes of the picture divided by one ratio, in 64 bits as in Python; Round is to even there, too."""
    lines = []
    for side, source, fit in (("rows", rows, "fit_height"), ("columns", columns, "fit_width")):
        lines += [
            f"double_{side} = Cast <to = {_DOUBLE}> ({source})",
            f"fit_{side} = Cast <to = {_DOUBLE}> ({fit})",
            f"ratio_{side} = Div (double_{side}, fit_{side})",
        ]
    lines += [f"ratio = {choose} (ratio_rows, ratio_columns)"]
    for side in ("rows", "columns"):
        lines += [
            f"divided_{side} = Div (double_{side}, ratio)",
            f"whole_{side} = Round (divided_{side})",
            f"rounded_{side} = Cast <to = {_INT64}> (whole_{side})",
        ]
    return lines


def _pad(source: tuple[str, str, str], height: str, width: str, fill: str, out: str) -> list[str]:
    """Grow a picture, with its rows and columns, to at least height x width; the odd pixel goes right and below."""
    picture, rows, columns = source
    lines = []
    for side, have, want in (("rows", rows, height), ("columns", columns, width)):
        lines += [
            f"{out}_wanted_{side} = Sub ({want}, {have})",
            f"{out}_missing_{side} = Max ({out}_wanted_{side}, zero)",
            f"{out}_before_{side} = Div ({out}_missing_{side}, two)",
            f"{out}_after_{side} = Sub ({out}_missing_{side}, {out}_before_{side})",
            f"{out}_{side} = Add ({have}, {out}_missing_{side})",
        ]
    border = ", ".join(f"{out}_{place}_{side}" for place in ("before", "after") for side in ("rows", "columns"))
    before, after = border.split(", ")[:2], border.split(", ")[2:]
    return [
        *lines,
        f"{out}_pads = Concat <axis = 0> (no_pads, {', '.join(before)}, no_pads, {', '.join(after)})",
        f"{out} = Pad ({picture}, {out}_pads, {fill})",
    ]


def _crops(*, five_crops: bool) -> list[str]:
    """From ``fitted`` to ``cut``: the centre, by torchvision's rounding, or five crops along a new axis."""
    lines = []
    axes = (("rows", "height", "middle_top", "bottom"), ("columns", "width", "middle_left", "right"))
    for side, size, middle, end in axes:
        lines += [
            f"{end} = Sub (have_{side}, {size})",
            f"float_{side} = Cast <to = {_FLOAT}> ({end})",
            f"halved_{side} = Mul (float_{side}, half)",
            f"even_{side} = Round (halved_{side})",
            f"{middle} = Cast <to = {_INT64}> (even_{side})",
        ]
    if not five_crops:
        return [*lines, *_cut("fitted", "middle_top", "middle_left", "height", "width", "cut")]
    centre, corners = ("middle_top", "middle_left"), product(("zero", "bottom"), ("zero", "right"))
    for number, (top, left) in enumerate((centre, *corners)):
        lines += _cut("fitted", top, left, "height", "width", f"crop_{number}")
        # Says the sizes of the crop as well, without which shape inference joins no two of them.
        lines += [f"view_{number} = Reshape (crop_{number}, view)"]
    views = ", ".join(f"view_{number}" for number in range(5))
    return [*lines, f"cut = Concat <axis = 1> ({views})"]


def _cut(source: str, top: str, left: str, height: str, width: str, out: str) -> list[str]:
    return [
        f"{out}_starts = Concat <axis = 0> ({top}, {left})",
        f"{out}_sizes = Concat <axis = 0> ({height}, {width})",
        f"{out}_ends = Add ({out}_starts, {out}_sizes)",
        f"{out} = Slice ({source}, {out}_starts, {out}_ends, axes)",
    ]
