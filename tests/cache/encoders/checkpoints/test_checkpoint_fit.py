"""One set of weights in every layout that is met, and what is said of files that hold something else."""

import argparse

import open_clip
import pytest
import torch

from ulfine_cache.encoders.checkpoints.model_sizes import likely_names
from ulfine_cache.encoders.encoder import hash_weights
from ulfine_cache.encoders.weights import load_model
from ulfine_cache.errors import UlfineError


def behind(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


def worse(state):
    return {name: tensor + 1 for name, tensor in state.items()}


def load(name, content, path, recorder=None):
    torch.save(content, path)
    return load_model(name, str(path), progress=recorder)[0]


LAYOUTS = {
    "plain": lambda state: state,
    "DataParallel": lambda state: behind("module.", state),
    "compiled": lambda state: behind("_orig_mod.", state),
    "compiled in DataParallel": lambda state: {"state_dict": behind("module._orig_mod.", state)},
    "compiled image tower": lambda state: {
        name.replace("visual.", "visual._orig_mod."): tensor for name, tensor in state.items()
    },
    "model.": lambda state: behind("model.", state),
    "model": lambda state: {"model": state, "epoch": 3},
    "model_state_dict with optimizer": lambda state: {
        "model_state_dict": state,
        "optimizer_state_dict": {"state": {0: {"exp_avg": torch.ones(2)}}},
    },
    "teacher": lambda state: {
        "student": behind("module.backbone.", worse(state)),
        "teacher": behind("backbone.", state),
    },
    "nested EMA": lambda state: {"state_dict": worse(state), "model_ema": {"module": state, "decay": 0.99}},
    "Lightning": lambda state: {
        "state_dict": behind("net.clip.", state) | {"loss.scale": torch.ones(1)},
        "hyper_parameters": argparse.Namespace(rate=0.1),
        "optimizer_states": [{"state": {}}],
        "pytorch-lightning_version": "2.5",
    },
    "with a classifier": lambda state: state | {"classifier.weight": torch.ones(3, 24)},
    "scale as a list": lambda state: state | {"logit_scale": state["logit_scale"].reshape(1)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_load_into__the_same_weights_in_every_layout(small, state, tmp_path, recorder, layout):
    model = load(small, LAYOUTS[layout](state), tmp_path / "w.pt", recorder)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, state[name], atol=0, rtol=0)


def test_load_into__says_which_of_two_it_took(small, state, tmp_path, recorder):
    load(small, LAYOUTS["nested EMA"](state), tmp_path / "w.pt", recorder)
    assert "w.pt: the weights are those of model_ema.module; it also holds state_dict" in recorder.notes
    load(small, LAYOUTS["with a classifier"](state), tmp_path / "w.pt", recorder)
    assert "w.pt: not read: classifier" in recorder.notes


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_load_into__half_precision_becomes_float32(small, state, tmp_path, recorder, dtype):
    model = load(small, {name: tensor.to(dtype) for name, tensor in state.items()}, tmp_path / "w.pt", recorder)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, state[name].to(dtype).float(), atol=0, rtol=0)


def test_load_into__text_tower_of_its_own_or_not(register, small, state, tmp_path, recorder):
    custom = register("ulfine-small-custom-test", custom_text=True)
    whole = load(custom, state, tmp_path / "w.pt", recorder)
    back = load(small, {"state_dict": whole.state_dict()}, tmp_path / "c.pt", recorder)
    plain = load(small, state, tmp_path / "p.pt", recorder)
    assert hash_weights(back) == hash_weights(plain)
    torch.testing.assert_close(whole.state_dict()["text.ln_final.weight"], state["ln_final.weight"])


def test_load_into__a_bias_of_siglip_changes_no_feature(register, small, state, new_weights, tmp_path, recorder):
    biased = register("ulfine-small-biased-test", init_logit_bias=-10)
    model = load(biased, state, tmp_path / "w.pt", recorder)
    assert model.state_dict()["logit_bias"] == -10
    load(small, state | {"logit_bias": torch.tensor(-9.0)}, tmp_path / "b.pt", recorder)


def test_load_into__other_picture_size_as_open_clip_does_it(register, state, tmp_path, recorder):
    large = register("ulfine-small-64-test", vision_cfg={"image_size": 64})
    torch.save(state, tmp_path / "w.pt")
    model, _ = load_model(large, str(tmp_path / "w.pt"), progress=recorder)
    theirs = open_clip.create_model(large, pretrained=str(tmp_path / "w.pt"))
    assert hash_weights(model) == hash_weights(theirs)
    line = "w.pt: visual.positional_embedding is resized from (5, 32) to (17, 32), as open_clip does it"
    assert line in recorder.notes


def without(state, start):
    return {name: tensor for name, tensor in state.items() if not name.startswith(start)}


ADAPTER = "visual.transformer.resblocks.0.mlp.c_fc.lora_A.default.weight"
MISFITS = {
    "adapter": (lambda s: {f"base_model.model.{ADAPTER}": torch.ones(2, 2)}, r"only adapters \(LoRA\).*merge them"),
    "adapter inside": (lambda s: behind("base_model.model.", s | {ADAPTER: torch.ones(2, 2)}), r"\(LoRA\).*merge them"),
    "optimizer": (lambda s: {"optimizer": {"state": {0: {"exp_avg": torch.ones(1)}}}}, "of an optimizer, no weights"),
    "optimizer alone": (lambda s: {"state": {0: {"exp_avg": torch.ones(1)}}, "param_groups": []}, "of an optimizer"),
    "nothing": (lambda s: {"epoch": 3, "best": 0.5}, r"holds no tensors \(epoch, best\)"),
    "image tower": (lambda s: {k: v for k, v in s.items() if k.startswith("visual.")}, "holds only the image tower"),
    "bare image tower": (
        lambda s: {k.removeprefix("visual."): v for k, v in s.items() if k.startswith("visual.")},
        "holds only the image tower",
    ),
    "text tower": (lambda s: without(s, "visual."), "it holds no image tower of CLIP, but positional_embedding"),
    "another kind": (lambda s: {"encoder.layer.0.x": torch.ones(1)}, "no image tower of CLIP, but encoder.layer.0.x"),
    "image classifier": (
        lambda s: {"layer1.0.conv1.weight": torch.ones(1), "fc.weight": torch.ones(1)},
        "holds an image encoder without text .*--model timm:NAME",
    ),
    "a missing one": (
        lambda s: without(s, "visual.proj"),
        "it has no tensor visual.proj; its sizes are those of the model: give weights as they were trained",
    ),
    "one too many": (lambda s: s | {"visual.extra": torch.ones(1)}, "the model has no tensor visual.extra"),
    "quantised": (lambda s: s | {"visual.proj": torch.ones(32, 24, dtype=torch.int8)}, r"visual.proj is int8 \(quant"),
    "SigLIP": (
        lambda s: {"vision_model.head.probe": torch.ones(1), "vision_model.encoder.layers.0.x": torch.ones(1)},
        "is a SigLIP of transformers.*fetch open_clip's file",
    ),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_load_into__says_what_a_file_holds(small, state, tmp_path, recorder, kind):
    make, words = MISFITS[kind]
    with pytest.raises(UlfineError, match=words) as caught:
        load(small, make(state), tmp_path / "w.pt", recorder)
    assert str(caught.value).startswith(str(tmp_path / "w.pt"))
    assert "\n" not in str(caught.value)


def test_load_into__names_the_model_of_the_same_sizes(register, small, new_weights, tmp_path, recorder):
    wide = register("ulfine-wide-test", vision_cfg={"width": 48, "layers": 3})
    register("ulfine-wide-test-quickgelu", vision_cfg={"width": 48, "layers": 3}, quick_gelu=True)
    with pytest.raises(UlfineError) as caught:
        load(small, new_weights(wide), tmp_path / "w.pt", recorder)
    assert "visual.class_embedding is (48,) instead of (32,), " in str(caught.value)
    assert str(caught.value).endswith("and 41 more; it looks like ulfine-wide-test: give --model ulfine-wide-test")


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-L-14", "ViT-L-14-336", "RN50", "RN50x4", "coca_ViT-B-32"])
def test_likely_names__of_models_that_are_met(name):
    # Shapes alone: nothing is allocated.
    with torch.device("meta"):
        state = open_clip.create_model(name, device="meta").state_dict()
    assert likely_names(dict(state)) == [name]
