"""A small CLIP with random weights, in open_clip's layout and in that of transformers' CLIPModel."""

import json

import pytest
import torch

SMALL_CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 600, "width": 16, "heads": 2, "layers": 2},
}
SMALL = "ulfine-small-test"


@pytest.fixture(scope="session")
def register(tmp_path_factory):
    """Register a variant of the small model with open_clip and return its name."""
    import open_clip

    folder = tmp_path_factory.mktemp("configs")

    def register_config(name, **changes):
        config = json.loads(json.dumps(SMALL_CONFIG))
        for key, value in changes.items():
            config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
        (folder / f"{name}.json").write_text(json.dumps(config))
        open_clip.add_model_config(folder / f"{name}.json")
        return name

    return register_config


@pytest.fixture(scope="session")
def new_weights(register):
    """Return the state dict of a model with random weights, not the ones it is made with."""
    import open_clip

    def make(name):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = open_clip.create_model(name)
            return {
                key: tensor + 0.05 * torch.randn_like(tensor) if tensor.is_floating_point() else tensor
                for key, tensor in model.state_dict().items()
            }

    return make


@pytest.fixture(scope="session")
def small(register):
    return register(SMALL)


@pytest.fixture(scope="session")
def state(small, new_weights):
    return new_weights(small)


@pytest.fixture(scope="session")
def transformers_state():
    """Random weights by the names and shapes that transformers 5.24 gives the same sizes."""
    shapes = {
        "logit_scale": (),
        "text_model.embeddings.token_embedding.weight": (600, 16),
        "text_model.embeddings.position_embedding.weight": (16, 16),
        "text_model.final_layer_norm.weight": (16,),
        "text_model.final_layer_norm.bias": (16,),
        "vision_model.embeddings.class_embedding": (32,),
        "vision_model.embeddings.patch_embedding.weight": (32, 3, 16, 16),
        "vision_model.embeddings.position_embedding.weight": (5, 32),
        "vision_model.pre_layrnorm.weight": (32,),
        "vision_model.pre_layrnorm.bias": (32,),
        "vision_model.post_layernorm.weight": (32,),
        "vision_model.post_layernorm.bias": (32,),
        "visual_projection.weight": (24, 32),
        "text_projection.weight": (24, 16),
    }
    for tower, width in (("text", 16), ("vision", 32)):
        for layer in range(2):
            start = f"{tower}_model.encoder.layers.{layer}"
            for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                layer_name = f"{start}.self_attn.{part}"
                shapes |= {f"{layer_name}.weight": (width, width), f"{layer_name}.bias": (width,)}
            for norm in ("layer_norm1", "layer_norm2"):
                shapes |= {f"{start}.{norm}.weight": (width,), f"{start}.{norm}.bias": (width,)}
            shapes |= {f"{start}.mlp.fc1.weight": (4 * width, width), f"{start}.mlp.fc1.bias": (4 * width,)}
            shapes |= {f"{start}.mlp.fc2.weight": (width, 4 * width), f"{start}.mlp.fc2.bias": (width,)}
    generator = torch.Generator().manual_seed(3)
    return {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
