"""Weights that the hub's client downloaded before, and weights in a folder: which file is damaged, if any."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ulfine_cache.encoders.checkpoints.checkpoint_file import damage

WEIGHTS: Final = (".safetensors", ".bin", ".pt", ".pth")
"""Endings of files of weights."""


def damaged_download(repository: str) -> str:
    """Say which of the hub's downloaded files of weights is damaged and what to do, "" where none is.

    Args:
        repository: What the hub calls it, such as "timm/vit_base_patch16_clip_224.openai"; "" is none.
    """
    if not repository.strip("/"):
        return ""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repository.strip("/"), repo_type="model"))
    # Where links are possible, the file itself lies elsewhere, and deleting the link alone would bring it back.
    files = {path.resolve() for path in weights_in(folder.glob("snapshots/*/*"))}
    return next((f"{line}: delete it, and the same command downloads it again" for line in _damaged(files)), "")


def damaged_in(folder: Path) -> str:
    """Say which file of weights in a folder is damaged, "" where none is."""
    return next((f"{line}: fetch or copy it again" for line in _damaged(weights_in(folder.glob("*")))), "")


def weights_in(paths: Iterable[Path]) -> list[Path]:
    """Return those of some paths that are files of weights by their names, sorted."""
    return sorted(path for path in paths if path.suffix in WEIGHTS and path.is_file())


def _damaged(files: Iterable[Path]) -> Iterable[str]:
    for path in sorted(files):
        try:
            what = damage(path)
        except OSError:
            continue
        if what:
            yield f"{path} is {what}"
