"""The embedded CLIP `builtin:tiny`: an open_clip config, its weights, and the scripts that trained them.

Import this package to learn where the files are; importing it costs nothing (no torch, no open_clip).
`MODEL_CARD.md` says what the model is and is not for. The scripts, all other modules here, are not in the wheel.
"""

from pathlib import Path
from typing import Final

MODEL_NAME: Final = "ulfine-tiny"
"""The name under which `register` makes open_clip know the architecture."""

CONFIG_FILE: Final = Path(__file__).parent / f"{MODEL_NAME}.json"
"""open_clip's model configuration."""

WEIGHTS_FILE: Final = Path(__file__).parent / "model.safetensors"
"""The trained weights: give this path to open_clip as `pretrained`."""


def register() -> str:
    """Make open_clip know the architecture, once per process, and return its name.

    open_clip gives a model made from a name and a local checkpoint its default preprocessing (OpenAI's mean and
    standard deviation, bicubic, shortest side, centre crop); the model was trained with exactly that, so nothing needs
    to be said about preprocessing.

    Returns:
        The model name to hand to open_clip, `MODEL_NAME`.

    Example:
        >>> import open_clip
        >>> from ulfine_cache import tiny
        >>> model, _, preprocess = open_clip.create_model_and_transforms(
        ...     tiny.register(), pretrained=str(tiny.WEIGHTS_FILE)
        ... )
        >>> tokenizer = open_clip.get_tokenizer(tiny.MODEL_NAME)
    """
    import open_clip

    if MODEL_NAME not in open_clip.list_models():
        open_clip.add_model_config(CONFIG_FILE)
    return MODEL_NAME
