"""Every family of encoders exports: small ones of each kind, with random weights, through torch's current exporter."""

import json

import onnx
import open_clip
import pytest
import torch
from timm.models import register_model
from timm.models.eva import Eva
from timm.models.fastvit import FastVit
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ulfine_cache.encoders.image_tower import ImageTower, lean_tower
from ulfine_cache.encoders.lean_tower import LeanTransformer
from ulfine_exports.gate.parity import check_parity
from ulfine_exports.graphs.graph import PixelGraph, build_graph
from ulfine_exports.inference.untrusted_model import read_model
from ulfine_fast.models.affine_model import AffineModel

WIDTH = 24
VIT = {"width": 48, "layers": 2, "head_width": 16}


@register_model
def ulfine_tiny_siglip(pretrained=False, *, num_classes, global_pool, **_):
    """A transformer without class token, pooled by attention, as SigLIP's."""
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}
    return VisionTransformer(**sizes, class_token=False, global_pool=global_pool, num_classes=num_classes)


@register_model
def ulfine_tiny_eva(pretrained=False, *, num_classes, global_pool, **_):
    """Rotary positions, gated layers, norms inside the attention, as EVA02's."""
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3, "mlp_ratio": 8 / 3}
    kind = {"qkv_fused": False, "swiglu_mlp": True, "scale_mlp": True, "scale_attn_inner": True}
    position = {"use_rot_pos_emb": True, "ref_feat_shape": (16, 16)}
    return Eva(**sizes, **kind, **position, global_pool=global_pool, num_classes=num_classes)


@register_model
def ulfine_tiny_fastvit(pretrained=False, *, num_classes, global_pool, **_):
    """Branches that are one convolution later, then attention, as MobileCLIP's."""
    return FastVit(
        layers=(1, 1, 1, 1),
        embed_dims=(16, 16, 32, 32),
        mlp_ratios=(2, 2, 2, 2),
        se_downsamples=(False, False, True, True),
        token_mixers=("repmixer", "repmixer", "repmixer", "attention"),
        lkc_use_act=True,
        global_pool=global_pool,
        num_classes=num_classes,
    )


def timm_tower(name, pool, proj):
    return {"timm_model_name": name, "timm_model_pretrained": False, "timm_pool": pool, "timm_proj": proj}


# Name: vision_cfg, size, other settings of the model.
FAMILIES = {
    "vit": ({**VIT, "patch_size": 16}, 32, {}),
    "vit-quickgelu": ({**VIT, "patch_size": 16}, 32, {"quick_gelu": True}),
    "vit-scaled": ({**VIT, "patch_size": 8, "ls_init_value": 0.3, "pool_type": "avg"}, 24, {}),
    "resnet": ({"layers": [1, 1, 1, 1], "width": 16, "patch_size": None}, 64, {}),
    "siglip": (timm_tower("ulfine_tiny_siglip", "map", "none"), 32, {"embed_dim": 48}),
    "eva": (timm_tower("ulfine_tiny_eva", "token", None), 32, {}),
    "convnext": (timm_tower("test_convnext", "", "linear"), 64, {}),
    "mobileclip": (timm_tower("ulfine_tiny_fastvit", "avg", None), 64, {}),
}
TRANSFORMERS = ("vit", "vit-quickgelu", "vit-scaled")


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    """Name, image tower, pixels (10, 3, H, W), and the two modules: as open_clip wrote it, and as it is exported."""
    vision, size, others = FAMILIES[request.param]
    text = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": WIDTH, "vision_cfg": {"image_size": size, **vision}, "text_cfg": text, **others}
    folder = tmp_path_factory.mktemp(request.param)
    (folder / f"ulfine-tiny-{request.param}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    generator = torch.Generator().manual_seed(0)
    tower = ImageTower(open_clip.create_model(f"ulfine-tiny-{request.param}")).eval().requires_grad_(False)
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.3 if parameter.ndim > 1 else 0.5, generator=generator)
    pixels = torch.randn(10, 3, size, size, generator=generator)
    for layer in tower.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.train().momentum = 1.0
    with torch.no_grad():
        tower(pixels)  # gives batch norms the means and variances that keep numbers small, as training would
        tower.eval()
        features = tower(pixels)
    directions = torch.randn(5, features.shape[1], generator=generator)
    logits = (features - features.mean(dim=0)) @ directions.T
    weight = directions * 3 / logits.std()
    classifier = AffineModel.of(weight, -weight @ features.mean(dim=0))
    return request.param, tower, pixels, PixelGraph(tower, classifier), PixelGraph(lean_tower(tower), classifier)


@pytest.fixture(scope="module")
def exported(family):
    _, _, pixels, _, traced = family
    return build_graph(traced, "pixels", tuple(pixels.shape[1:]), 20)


def test_export__current_exporter_and_the_same_probabilities_in_any_batch(family, exported):
    _, _, pixels, original, _ = family
    model, exporter = exported
    assert exporter == "dynamo"

    def reference(batch):
        with torch.no_grad():
            return tuple(output.numpy() for output in original(torch.from_numpy(batch)))

    probabilities = reference(pixels.numpy())[0]
    assert probabilities.std(axis=0).max() > 0.1  # if all looked alike, agreement would mean nothing
    parity = check_parity(model.SerializeToString(), reference, pixels.numpy(), tolerance=1e-4, source="random rows")
    assert parity.batches == (1, 2, 7)


def test_export__standard_operators_full_check_and_no_external_data(exported, tmp_path):
    model, _ = exported
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} == {""}
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    read_model(tmp_path / "m.onnx")


# Tracing takes seconds: one family for each kind of rewriting.
@pytest.mark.parametrize("family", ["vit", "siglip", "mobileclip"], indirect=True)
def test_export__same_bytes_again(family, exported):
    _, _, pixels, _, traced = family
    again, _ = build_graph(traced, "pixels", tuple(pixels.shape[1:]), 20)
    assert again.SerializeToString(deterministic=True) == exported[0].SerializeToString(deterministic=True)


def test_lean_tower__same_features_where_it_rewrites_and_the_tower_itself_elsewhere(family):
    name, tower, pixels, _, _ = family
    rewritten = lean_tower(tower)
    assert isinstance(rewritten.visual, LeanTransformer) == (name in TRANSFORMERS)
    assert (rewritten is tower) == (name not in (*TRANSFORMERS, "mobileclip"))
    before = {key: value.clone() for key, value in tower.state_dict().items()}
    with torch.no_grad():
        assert torch.allclose(rewritten(pixels), tower(pixels), atol=1e-5)
    assert tower.state_dict().keys() == before.keys()
    # A weight in two places would take twice the memory, and look too large for one file.
    size, rewritten_size = (sum(value.numel() for value in item.state_dict().values()) for item in (tower, rewritten))
    assert rewritten_size <= size
