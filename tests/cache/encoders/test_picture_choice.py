"""How pictures are made for weights from a file: what is asked for, lies beside, or is shared by all tags."""

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from ulfine_cache.encoders.encoder import ClipEncoder, load_encoder
from ulfine_cache.encoders.picture_choice import PictureOptions, shared
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.preprocess import Preprocess
from ulfine_cache.store.versions import call_of
from ulfine_cache.verify import verify

OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


def tags_of(name):
    return {tag: open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)}


@pytest.fixture
def file(state, tmp_path):
    (tmp_path / "weights").mkdir()
    torch.save(state, tmp_path / "weights" / "w.pt")
    return tmp_path / "weights" / "w.pt"


@pytest.fixture
def tagged(monkeypatch, small):
    """Let open_clip know tags of the small model, or of another."""

    def know(model=small, **tags):
        known = {tag: open_clip.pretrained._pcfg(hf_hub="nobody/nothing/", **changes) for tag, changes in tags.items()}
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, model, known)
        return model

    return know


def pictures_of(name, file, progress=None, **asked):
    extra = {} if progress is None else {"progress": progress}
    options = PictureOptions.parsed(*(asked.get(key) for key in ("preprocess", "mean", "std", "interpolation")))
    return ClipEncoder.load(name, str(file), "cpu", "fp32", pictures=options, **extra).preprocess


@pytest.mark.parametrize("name", open_clip.list_models())
def test_shared__what_a_tag_says_or_a_refusal(name):
    tags = tags_of(name)
    if not tags:
        return
    fields = ("mean", "std", "interpolation", "resize_mode")
    said = {tag: tuple(cfg[field] for field in fields) for tag, cfg in tags.items()}
    if len(set(said.values())) == 1:
        assert tuple(shared(name, tags, {}).values()) == next(iter(said.values()))
    else:
        with pytest.raises(UsageError, match="differ in it"):
            shared(name, tags, {})


def test_shared__of_models_that_are_met():
    assert shared("MobileCLIP-S1", tags_of("MobileCLIP-S1"), {}) == {
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "interpolation": "bilinear",
        "resize_mode": "shortest",
    }
    assert shared("ViT-B-16-SigLIP", tags_of("ViT-B-16-SigLIP"), {})["resize_mode"] == "squash"
    with pytest.raises(UsageError) as caught:
        shared("ViT-L-14", tags_of("ViT-L-14"), {})
    assert str(caught.value) == (
        "a file does not say how pictures are made, and the weights of ViT-L-14 differ in it (mean 0.4815 0.4578 "
        "0.4082, std 0.2686 0.2613 0.2758 for openai, laion400m_e31, laion400m_e32, ...; mean 0.5, std 0.5 for "
        "laion2b_s32b_b82k): give --preprocess TAG with the one that the file is of or was trained from, or say --mean "
        "and --std"
    )
    with pytest.raises(UsageError, match=r"\(shortest side fits for metaclip_fullcc; squashed to fit for dfn5b\)"):
        shared("ViT-H-14-quickgelu", tags_of("ViT-H-14-quickgelu"), {})


def test_load__a_file_gets_what_all_tags_share(tagged, file, recorder):
    apple = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "interpolation": "bilinear"}
    name = tagged(one=apple, two=apple)
    assert pictures_of(name, file, recorder) == Preprocess((32, 32), (0, 0, 0), (1, 1, 1), "bilinear")
    note = f"pictures: mean 0, std 1, bilinear, shortest side fits (all weights of {name} share it)"
    assert note in recorder.notes


def test_load__a_file_of_a_model_without_tags(small, file, recorder):
    assert pictures_of(small, file, recorder) == Preprocess((32, 32), *OPENAI, "bicubic")
    assert any(f"(open_clip's default: it knows no weights of {small})" in note for note in recorder.notes)


def test_load__where_tags_differ_it_has_to_be_said(tagged, file, recorder):
    name = tagged(first={}, half={"mean": (0.5,) * 3, "std": (0.5,) * 3}, squashed={"resize_mode": "squash"})
    with pytest.raises(UsageError, match="differ in it"):
        pictures_of(name, file)
    with pytest.raises(UsageError, match=r"\(shortest side fits for first, half; squashed to fit for squashed\)"):
        pictures_of(name, file, mean="0.5", std="0.5")
    half = Preprocess((32, 32), (0.5,) * 3, (0.5,) * 3, "bicubic")
    assert pictures_of(name, file, recorder, preprocess="half") == half
    assert "pictures: mean 0.5, std 0.5, bicubic, shortest side fits (--preprocess half)" in recorder.notes
    mixed = pictures_of(name, file, recorder, preprocess="squashed", std="0.25,0.5,1", interpolation="bilinear")
    assert mixed == Preprocess((32, 32), OPENAI[0], (0.25, 0.5, 1), "bilinear", "squash")
    assert any(note.endswith("(--std, --interpolation; else --preprocess squashed)") for note in recorder.notes)
    with pytest.raises(UsageError, match=r"has no weights 'hlf' for --preprocess: did you mean half\?"):
        pictures_of(name, file, preprocess="hlf")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"mean": "0.5,0.5"}, "--mean 0.5,0.5 cannot be used: give one number, or red,green,blue"),
        ({"mean": "a"}, "--mean a cannot be used"),
        ({"mean": "nan"}, "--mean nan cannot be used"),
        ({"mean": "123.7,116.3,103.5"}, "pictures are scaled to 0..1 first, so divide it by 255"),
        ({"std": "0"}, "--std 0 cannot be used: pictures are divided by it"),
        ({"std": "1,1,-1"}, "--std 1,1,-1 cannot be used"),
    ],
)
def test_parsed__refusals(asked, words):
    options = [asked.get(key) for key in ("preprocess", "mean", "std", "interpolation")]
    with pytest.raises(UsageError, match=words):
        PictureOptions.parsed(*options)


def test_load__other_pictures_than_a_model_of_its_own_weights_has(recorder):
    options = PictureOptions.parsed(None, "0.5", None, None)
    encoder = ClipEncoder.load("builtin:tiny", "", "cpu", "fp32", pictures=options, progress=recorder)
    own = ClipEncoder.load("builtin:tiny", "", "cpu", "fp32").preprocess
    assert encoder.preprocess.mean == (0.5, 0.5, 0.5) != own.mean
    assert encoder.preprocess.std == own.std
    assert "pictures: mean 0.5 (asked for)" in recorder.notes
    with pytest.raises(UsageError, match="builtin:tiny has no weights 'openai' for --preprocess"):
        ClipEncoder.load("builtin:tiny", "", "cpu", pictures=PictureOptions("openai"))


def test_load__advice_without_network_leads_to_the_same_pictures(monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("open_clip.factory.download_pretrained", unreachable)
    for model, tag, advice in (
        ("ViT-L-14", "laion2b_s32b_b82k", "--model ViT-L-14 --pretrained FILE --preprocess laion2b_s32b_b82k"),
        ("ViT-L-14", "openai", "--model ViT-L-14-quickgelu --pretrained FILE"),
        ("ViT-H-14", "dfn5b", "--model ViT-H-14-quickgelu --pretrained FILE --preprocess dfn5b"),
        ("MobileCLIP-S1", "datacompdr", "--model MobileCLIP-S1 --pretrained FILE"),
    ):
        with pytest.raises(UlfineError) as caught:
            ClipEncoder.load(model, tag, "cpu")
        assert str(caught.value).endswith(f"elsewhere and give {advice}")
        found = advice.split()
        asked = found[5] if len(found) > 4 else None
        tags = tags_of(found[1])
        cfg = tags[asked] if asked else shared(found[1], tags, {})
        wanted = open_clip.get_pretrained_cfg(model, tag)
        assert all(cfg[key] == wanted[key] for key in ("mean", "std", "interpolation", "resize_mode"))


def test_cache__is_made_read_again_and_repaired_with_the_same_pictures(run, random_model, tmp_path, tagged):
    tagged(random_model[0], first={}, half={"mean": (0.5,) * 3, "std": (0.5,) * 3})
    assert run(preprocess="half", out=tmp_path / "half")["rows"] == 23
    cache = FeatureCache.open(tmp_path / "half")
    wanted = Preprocess((32, 32), (0.5,) * 3, (0.5,) * 3, "bicubic")
    assert Preprocess.from_json(cache.attributes["preprocess"]) == wanted
    assert call_of(cache.attributes)["preprocess"] == "half"
    # The same pictures in other words are the same cache.
    assert run(mean="0.5", std="0.5,0.5,0.5", out=tmp_path / "half")["shards_encoded"] == 0
    with pytest.raises(UlfineError, match=r"made in another way \(preprocess "):
        run(preprocess="first", out=tmp_path / "half")
    # Whoever reads the cache needs no option.
    encoder = load_encoder(cache.attributes, "cpu")
    assert encoder.preprocess == wanted
    picture = Image.open(tmp_path / "photos" / cache.paths[0]).convert("RGB")
    features = encoder.encode_images(encoder.preprocess.to_pixels(picture)[None])
    np.testing.assert_allclose(features[0], cache.features()[0], atol=2e-3)
    shard = cache.shard_paths[1]
    before = shard.read_bytes()
    shard.unlink()
    assert verify(cache=tmp_path / "half", repair=True)["damaged"] == []
    assert shard.read_bytes() == before


def test_cache__made_before_pictures_had_to_be_said_is_repaired(run, random_model, tmp_path, tagged):
    """Such a request names none of the options, and today nothing else would say them."""
    tagged(random_model[0], first={})
    run()
    cache = FeatureCache.open(tmp_path / "cache")
    assert not {"preprocess", "mean", "std", "interpolation"} & set(call_of(cache.attributes))
    tagged(random_model[0], first={}, half={"mean": (0.5,) * 3, "std": (0.5,) * 3})
    with pytest.raises(UsageError, match="differ in it"):
        run(out=tmp_path / "another")
    shard = cache.shard_paths[0]
    before = shard.read_bytes()
    shard.unlink()
    assert verify(cache=tmp_path / "cache", repair=True)["damaged"] == []
    assert shard.read_bytes() == before
