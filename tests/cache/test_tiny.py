"""The embedded CLIP: that it is a real open_clip model, small, useful on handwriting it never saw, and explained."""

import zlib

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from sklearn.metrics import balanced_accuracy_score

from ulfine_cache import tiny
from ulfine_cache.tiny import captions, render, strokes
from ulfine_cache.tiny.train import TrainConfig, contrastive_loss, normalise, train
from ulfine_cache.tiny.vocabulary import Vocabulary

PROMPTS = ("the digit {}", "a photo of the digit {}", "a photo of a {}.")


@pytest.fixture(scope="module")
def loaded():
    model, _, preprocess = open_clip.create_model_and_transforms(tiny.register(), pretrained=str(tiny.WEIGHTS_FILE))
    return model.eval(), preprocess, open_clip.get_tokenizer(tiny.MODEL_NAME)


@pytest.fixture(scope="module")
def digit_features(loaded):
    model, preprocess, _ = loaded
    digits = load_digits()
    big = [Image.fromarray(np.uint8(i / 16 * 255)).resize((64, 64), Image.Resampling.NEAREST) for i in digits.images]
    with torch.no_grad():
        features = model.encode_image(torch.stack([preprocess(image) for image in big]), normalize=True)
    return features, digits.target


def test_register__known_once_and_loads(loaded):
    tiny.register()
    model, _, tokenizer = loaded
    assert type(model) is open_clip.CLIP
    assert open_clip.list_models().count(tiny.MODEL_NAME) == 1
    assert tokenizer(["the digit seven"]).shape == (1, model.context_length)
    assert model.visual.preprocess_cfg["size"] in (render.SIZE, (render.SIZE, render.SIZE))


def test_weights__small_finite_and_exact_where_it_matters():
    raw = tiny.WEIGHTS_FILE.read_bytes()
    assert len(zlib.compress(raw, 6)) < 8_000_000
    for name, value in load_file(tiny.WEIGHTS_FILE).items():
        assert torch.isfinite(value).all(), name
        if name.endswith("running_var"):
            assert value.dtype == torch.float32
            assert (value > 0).all(), name


def test_weights__token_rows_that_training_never_used_are_zero(loaded):
    model, _, tokenizer = loaded
    used = model.token_embedding.weight.detach().abs().sum(1) > 0
    assert used.sum() < 1000
    for word in (*captions.LABELS, *"0123456789", *captions.COLOURS):
        ids = tokenizer([f"a photo of the {word}."])[0]
        assert used[ids[ids != 0]].all(), word
    assert not used[tokenizer(["xylophone"])[0][1]]
    assert not used[0]


@pytest.mark.parametrize("template", PROMPTS)
def test_zero_shot__clearly_useful_on_handwriting_it_never_saw(loaded, digit_features, template):
    model, _, tokenizer = loaded
    features, labels = digit_features
    with torch.no_grad():
        text = model.encode_text(tokenizer([template.format(name) for name in captions.DIGIT_NAMES]), normalize=True)
    predicted = (features @ text.T).argmax(1).numpy()
    assert balanced_accuracy_score(labels, predicted) >= 0.60


def test_normalise__equals_open_clips_preprocess(loaded):
    _, preprocess, _ = loaded
    pixels, _ = render.render_pool(3, 0, 2)
    expected = torch.stack([preprocess(Image.fromarray(image)) for image in pixels])
    torch.testing.assert_close(normalise(pixels), expected, atol=1e-6, rtol=0)


def test_render_pool__an_image_depends_on_seed_and_number_alone():
    pixels, attributes = render.render_pool(7, 0, 12)
    again, same = render.render_pool(7, 5, 9)
    np.testing.assert_array_equal(pixels[5:9], again)
    np.testing.assert_array_equal(attributes[5:9], same)
    assert not np.array_equal(pixels, render.render_pool(8, 0, 12)[0])


def test_render_pool__every_label_appears_and_attributes_are_in_range():
    _, attributes = render.render_pool(0, 0, 600)
    assert set(attributes[:, 0]) == set(range(len(captions.LABELS)))
    np.testing.assert_array_equal(attributes[:, 1], attributes[:, 0] >= 10)
    sizes = (len(captions.LABELS), 2, len(captions.COLOURS), len(captions.COLOURS), 4, 3)
    assert (attributes >= 0).all()
    assert (attributes < sizes).all()
    assert (attributes[:, 2] != attributes[:, 3]).all()


def test_describe__says_only_what_is_true():
    rng = np.random.default_rng(0)
    _, attributes = render.render_pool(1, 0, 60)
    for row in attributes:
        for _ in range(10):
            caption, asserted = captions.describe(row, rng)
            said = asserted != captions.UNSAID
            np.testing.assert_array_equal(asserted[said], row[said])
            words = set(caption.replace(".", " ").replace(":", " ").split())
            colours = [name for name in captions.COLOURS if name in words]
            # "a black and white photo of a ..." is a frame, not a claim about ink.
            if "black and white" not in caption:
                claimed = {list(captions.COLOURS)[v] for v in asserted[2:4] if v != captions.UNSAID}
                assert set(colours) == claimed, caption
            if said[0]:
                label = int(row[0])
                assert captions.LABELS[label] in words or str(label) in words, caption


def test_matches__by_hand():
    images = np.array([[7, 0, 1, 0, 0, 0], [7, 0, 3, 0, 1, 2], [12, 1, 3, 0, 2, 0]])
    said = np.array([[7, 0, -1, -1, -1, -1], [-1, -1, 3, -1, -1, -1], [12, 1, 1, -1, -1, -1]])
    np.testing.assert_array_equal(
        captions.matches(images, said), [[True, False, False], [True, True, False], [False, True, False]]
    )


def test_trace__passes_through_the_points_and_lifts_the_pen():
    bar, stem = strokes.trace("10,10 90,10 / 50,10 60,50 | 50,100", np.random.default_rng(0), 0.0)
    np.testing.assert_allclose(bar[[0, -1]], [[0.1, 0.1], [0.9, 0.1]])
    np.testing.assert_allclose(stem[[0, 6, -1]], [[0.5, 0.1], [0.6, 0.5], [0.5, 1.0]])


def test_contrastive_loss__every_positive_in_equal_shares():
    generator = torch.Generator().manual_seed(0)
    image, text = torch.nn.functional.normalize(torch.randn(2, 3, 4, generator=generator), dim=-1)
    positive = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    p = (5 * image @ text.T).softmax(1).numpy()
    q = (5 * text @ image.T).softmax(1).numpy()
    expected = 0.0
    for share in (p, q):
        rows = [-(np.log(share[i, 0]) + np.log(share[i, 1])) / 2 for i in (0, 1)] + [-np.log(share[2, 2])]
        expected += np.mean(rows) / 2
    assert contrastive_loss(image, text, torch.tensor(5.0), positive).item() == pytest.approx(expected, rel=1e-5)


def test_train__same_seed_same_weights(tmp_path):
    config = TrainConfig(images=48, held_out=24, steps=3, batch_size=16, workers=1)
    figures = [train(out=tmp_path / name, config=config) for name in "ab"]
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in "ab")
    assert first == second
    assert figures[0]["held_out_digits"] == figures[1]["held_out_digits"]
    open_clip.create_model(tiny.register(), pretrained=str(tmp_path / "a" / "model.safetensors"))


def test_model_card__says_what_it_must():
    card = (tiny.WEIGHTS_FILE.parent / "MODEL_CARD.md").read_text(encoding="utf-8")
    for word in ("Apache-2.0", "seed", "zero-shot", "not for", "never"):
        assert word in card


def test_unpack__trained_rows_in_their_places_zeros_elsewhere():
    vocabulary = Vocabulary(24)
    packed = torch.arange(1.0, len(vocabulary.ids) + 1)[:, None].repeat(1, 2)
    table = vocabulary.unpack(packed, 49408)
    tokens = vocabulary.tokenizer(["the digit seven"])[0]
    packed_tokens = vocabulary.packed(["the digit seven"])[0]
    kept = tokens != 0
    torch.testing.assert_close(table[tokens[kept]], packed[packed_tokens[kept]])
    assert (table.abs().sum(1) > 0).sum() == len(vocabulary.ids) - 1
    assert packed_tokens.argmax() == tokens.argmax()
