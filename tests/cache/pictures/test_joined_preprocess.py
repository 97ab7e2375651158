"""Pictures for several encoders: each one's own pixels, and what is recorded of them."""

import numpy as np
import pytest
from PIL import Image

from ulfine_cache.errors import UlfineError
from ulfine_cache.pictures.joined_preprocess import JoinedPreprocess, joined_preprocess, read_preprocess
from ulfine_cache.pictures.views import first_view, make_views
from ulfine_cache.preprocess import Preprocess

SMALL = Preprocess((8, 8), (0.5, 0.4, 0.3), (0.2, 0.25, 0.5))
LARGE = Preprocess((12, 10), (0.0,) * 3, (1.0,) * 3, resize=(16, 14), interpolation="bilinear")


@pytest.fixture
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 31, 3), np.uint8))


@pytest.mark.parametrize("recipe", ["center", "five-crop", "weak-strong:2"])
def test_views__are_those_of_each_encoder(picture, recipe):
    both = joined_preprocess([SMALL, LARGE])
    views = make_views(picture, both, recipe, "seed")
    own = [make_views(picture, one, recipe, "seed") for one in (SMALL, LARGE)]
    assert views.shape == (len(own[0]), 3 * 8 * 8 + 3 * 12 * 10) == (len(own[0]), *both.pixel_shape)
    for part, wanted in zip(both.split(views), own, strict=True):
        np.testing.assert_array_equal(part, wanted)
    normalised = [one.normalise(part).reshape(len(views), -1) for one, part in zip((SMALL, LARGE), own, strict=True)]
    np.testing.assert_array_equal(both.normalise(views), np.concatenate(normalised, axis=1))


def test_json__reads_back_and_same_ones_are_one():
    both = joined_preprocess([SMALL, LARGE])
    assert isinstance(both, JoinedPreprocess)
    assert read_preprocess(both.to_json()) == both
    assert both.size == (12, 10)
    assert joined_preprocess([SMALL, SMALL]) is SMALL
    assert read_preprocess(SMALL.to_json()) == SMALL
    enlarged = first_view("five-crop", both)
    assert read_preprocess(enlarged.to_json()) == enlarged != both
    for damaged in ("", "[]", '{"encoders": []}', '{"encoders": 3}', '{"encoders": [{}]}'):
        with pytest.raises(UlfineError, match="preprocessing cannot be read"):
            read_preprocess(damaged)


def test_grey_levels__undo_the_deviation_of_each():
    both = joined_preprocess([SMALL, LARGE])
    levels = both.grey_levels()
    dark, bright = (both.normalise(np.full((1, *both.pixel_shape), value, np.uint8)) for value in (7, 9))
    np.testing.assert_allclose((bright - dark)[0] * levels, 2.0, rtol=1e-5)
