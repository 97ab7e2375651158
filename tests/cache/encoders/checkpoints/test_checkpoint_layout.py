"""The layout of transformers against its own arithmetic, and the places in which weights are found."""

import pytest
import torch
from torch.nn import functional

from ulfine_cache.encoders.checkpoints.checkpoint_layout import find_weights, from_transformers
from ulfine_cache.encoders.weights import load_model
from ulfine_cache.progress import Silent


def normed(state, name, x):
    return functional.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])


def linear(state, name, x):
    return functional.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))


def encoder_layers(state, tower, x, heads, mask):
    """CLIPEncoder of transformers, from its own names, with QuickGELU."""
    n, length, width = x.shape
    for layer in range(2):
        start = f"{tower}.encoder.layers.{layer}"
        h = normed(state, f"{start}.layer_norm1", x)
        q, k, v = (
            linear(state, f"{start}.self_attn.{part}_proj", h).view(n, length, heads, width // heads).transpose(1, 2)
            for part in "qkv"
        )
        weights = torch.softmax(q @ k.transpose(-1, -2) * (width // heads) ** -0.5 + mask, dim=-1)
        attended = (weights @ v).transpose(1, 2).reshape(n, length, width)
        x = x + linear(state, f"{start}.self_attn.out_proj", attended)
        h = linear(state, f"{start}.mlp.fc1", normed(state, f"{start}.layer_norm2", x))
        x = x + linear(state, f"{start}.mlp.fc2", h * torch.sigmoid(1.702 * h))
    return x


def image_embeds(state, pixels):
    patches = functional.conv2d(pixels, state["vision_model.embeddings.patch_embedding.weight"], stride=16)
    patches = patches.flatten(2).transpose(1, 2)
    first = state["vision_model.embeddings.class_embedding"].expand(len(pixels), 1, -1)
    x = torch.cat([first, patches], dim=1) + state["vision_model.embeddings.position_embedding.weight"]
    x = encoder_layers(state, "vision_model", normed(state, "vision_model.pre_layrnorm", x), 2, torch.zeros(5, 5))
    pooled = normed(state, "vision_model.post_layernorm", x[:, 0])
    return functional.normalize(linear(state, "visual_projection", pooled), dim=-1)


def text_embeds(state, tokens):
    x = state["text_model.embeddings.token_embedding.weight"][tokens]
    x = x + state["text_model.embeddings.position_embedding.weight"]
    mask = torch.full((16, 16), -torch.inf).triu(1)
    x = normed(state, "text_model.final_layer_norm", encoder_layers(state, "text_model", x, 2, mask))
    pooled = x[torch.arange(len(x)), tokens.argmax(dim=-1)]
    return functional.normalize(linear(state, "text_projection", pooled), dim=-1)


@pytest.mark.parametrize("wrapped", ["{}", "state_dict", "model.clip."])
def test_from_transformers__gives_the_features_of_its_own_arithmetic(register, transformers_state, tmp_path, wrapped):
    name = register("ulfine-small-quick-test", quick_gelu=True)
    state = transformers_state | {"text_model.embeddings.position_ids": torch.arange(16)[None]}
    if wrapped == "model.clip.":
        state = {f"model.clip.{key}": tensor for key, tensor in state.items()}
    torch.save({"state_dict": state} if wrapped == "state_dict" else state, tmp_path / "pytorch_model.bin")
    model, _ = load_model(name, str(tmp_path / "pytorch_model.bin"), progress=Silent())
    model.eval()
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(3, 3, 32, 32, generator=generator)
    tokens = torch.randint(1, 500, (3, 16), generator=generator)
    tokens[torch.arange(3), torch.tensor([4, 9, 15])] = 599
    with torch.no_grad():
        images, texts = model.encode_image(pixels, normalize=True), model.encode_text(tokens, normalize=True)  # pyright: ignore
    torch.testing.assert_close(images, image_embeds(transformers_state, pixels), atol=1e-6, rtol=0)
    torch.testing.assert_close(texts, text_embeds(transformers_state, tokens), atol=1e-6, rtol=0)


def test_from_transformers__leaves_other_layouts_alone(state):
    assert from_transformers(state) is state


def places(checkpoint, tops=("visual",)):
    return [found.place for found in find_weights(checkpoint, tops)]


def test_find_weights__averaged_ones_first():
    one = {"visual.proj": torch.ones(1)}
    assert places({"model": one, "model_ema": {"module": one}}) == ["model_ema.module", "model"]
    assert places({"student": one, "teacher": one, "epoch": 3}) == ["teacher", "student"]
    both = {"net.visual.proj": torch.ones(1), "ema_net.visual.proj": torch.ones(1)}
    assert places({"state_dict": both}) == ["state_dict: ema_net.", "state_dict: net."]


def test_find_weights__only_what_is_behind_the_same_prefix():
    checkpoint = {"clip.visual.a": torch.ones(1), "clip.b": torch.ones(1), "loss.c": torch.ones(1)}
    (found,) = find_weights(checkpoint, ("visual",))
    assert list(found.tensors) == ["visual.a", "b"]


def test_find_weights__nothing_in_the_state_of_an_optimizer():
    assert places({"optimizer": {"state": {0: {"exp_avg": torch.ones(1)}}}}) == []
