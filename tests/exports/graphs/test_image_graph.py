"""Preprocessing inside a graph gives what Pillow gives, for every kind of preprocessing and every size of picture."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from ulfine_cache.pictures.views import first_view, make_views
from ulfine_cache.preprocess import Preprocess
from ulfine_exports.graphs.image_graph import prepend, preprocess_graph

SIZES = ((300, 400), (401, 300), (64, 48), (1, 1), (3, 200), (900, 30), (32, 32), (225, 224))
PLAIN = Preprocess((32, 32), (0.48, 0.45, 0.40), (0.26, 0.26, 0.27))
KINDS = {
    "shortest": PLAIN,
    "bilinear": replace(PLAIN, interpolation="bilinear"),
    "not square": replace(PLAIN, size=(48, 31)),
    "not square, cut from larger": replace(PLAIN, size=(48, 31), resize=(53, 40), interpolation="bilinear"),
    "cut from larger": replace(PLAIN, resize=(37, 37)),
    "cut from smaller": replace(PLAIN, resize=(21, 21)),
    "longest": replace(PLAIN, resize_mode="longest", fill_color=77),
    "longest, cut from larger": replace(PLAIN, resize_mode="longest", fill_color=77, resize=(40, 50)),
    "squash": replace(PLAIN, resize_mode="squash"),
    "squash, not square, cut from larger": replace(PLAIN, resize_mode="squash", size=(48, 31), resize=(50, 36)),
}


def picture(height, width):
    """Blotches with some noise on them."""
    random = np.random.default_rng(height * 1000 + width)
    coarse = random.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    return (smooth + random.integers(-20, 20, (height, width, 3))).clip(0, 255).astype(np.uint8)


def run(model, images):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": images})[0]


def levels(difference, preprocess):
    """Differences of normalised pixels in grey levels."""
    return np.abs(difference) * np.array(preprocess.std).reshape(3, 1, 1) * 255


@pytest.mark.parametrize("preprocess", KINDS.values(), ids=KINDS)
def test_preprocess_graph__equals_pillow_but_for_a_grey_level(preprocess):
    model = preprocess_graph(preprocess, 20)
    onnx.checker.check_model(model, full_check=True)
    for size in SIZES:
        image = picture(*size)
        expected = preprocess.normalise(preprocess.to_pixels(Image.fromarray(image))[None])
        found = run(model, image[None])
        assert found.shape == expected.shape
        difference = levels(found - expected, preprocess)
        # Pillow 13 may take the axes in another order than onnxruntime, and so round differently in between.
        other_order = preprocess.resize_mode == "squash" or size == (900, 30)
        largest, mean = (6, 0.4) if other_order else (2.1, 0.05)
        assert difference.max() < largest, size
        assert difference.mean() < mean, size


@pytest.mark.parametrize("size", [(32, 32), (48, 31)])
@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
def test_preprocess_graph__five_crops_in_the_order_of_the_cache(mode, size):
    preprocess = replace(PLAIN, resize_mode=mode, size=size)
    model = preprocess_graph(first_view("five-crop", preprocess), 20, five_crops=True)
    onnx.checker.check_model(model, full_check=True)
    for height, width in SIZES:
        image = picture(height, width)
        expected = preprocess.normalise(make_views(Image.fromarray(image), preprocess, "five-crop"))
        found = run(model, np.stack([image, image]))
        assert found.shape == (2, 5, 3, *size)
        assert np.array_equal(found[0], found[1])
        order = [1, 2, 3, 4, 0]
        assert levels(found[0] - expected, preprocess).mean() < 0.4
        if height > 60:
            assert levels(found[0] - expected[order], preprocess).mean() > 1


@pytest.mark.parametrize("size", [(20, 700), (700, 20), (20, 320), (40, 30)])
def test_preprocess_graph__enlarges_at_most_sixteen_times_as_long_as_wide(size):
    """What lies beyond is outside of the centre crop; enlarging it would take memory without bound."""
    model = preprocess_graph(PLAIN, 20)
    model.graph.output.append(onnx.helper.make_tensor_value_info("resized", onnx.TensorProto.UINT8, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    prepared, resized = session.run(["prepared", "resized"], {"image": picture(*size)[None]})
    height, width = (min(side, 16 * min(size)) * 32 // min(size) for side in size)
    assert resized.shape[2:] == (height, width)
    assert prepared.shape == (1, 3, 32, 32)


def test_preprocess_graph__several_of_one_size_like_one_by_one():
    model = preprocess_graph(PLAIN, 20)
    images = np.stack([picture(70, 90), picture(70, 90)[::-1], picture(70, 90)[:, ::-1]])
    assert np.array_equal(run(model, images), np.concatenate([run(model, image[None]) for image in images]))


@pytest.mark.parametrize("opset", [18, 23])
def test_preprocess_graph__other_opsets_alike(opset):
    image = picture(50, 90)[None]
    found = preprocess_graph(PLAIN, opset)
    onnx.checker.check_model(found, full_check=True)
    assert np.array_equal(run(found, image), run(preprocess_graph(PLAIN, 20), image))


def test_preprocess_graph__standard_operators_and_sizes_that_are_known():
    model = preprocess_graph(PLAIN, 20)
    assert {node.domain for node in model.graph.node} == {""}
    shape = model.graph.output[0].type.tensor_type.shape
    assert [dim.dim_param or dim.dim_value for dim in shape.dim] == ["batch", 3, 32, 32]


def test_prepend__runs_both():
    helper = onnx.helper
    mean = helper.make_node("ReduceMean", ["prepared", "axes"], ["mean"], keepdims=0)
    graph = helper.make_graph(
        [mean],
        "main",
        [helper.make_tensor_value_info("prepared", onnx.TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("mean", onnx.TensorProto.FLOAT, ["batch", 3])],
        [onnx.numpy_helper.from_array(np.array([2, 3]), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    preparing = preprocess_graph(PLAIN, 20)
    before = preparing.SerializeToString(), model.SerializeToString()
    joined = prepend(preparing, model)
    onnx.checker.check_model(joined, full_check=True)
    images = picture(70, 90)[None]
    assert np.allclose(run(joined, images), run(preparing, images).mean(axis=(2, 3)), atol=1e-6)
    assert [item.name for item in joined.graph.input] == ["image"]
    assert before == (preparing.SerializeToString(), model.SerializeToString())
