"""`ulfine info`: what a cache, a run or an exported file holds. No torch for caches and exported files."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ulfine_cache.command import Place, command
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.remote.places import url_of


@command
def info(*, target: Place, progress: Progress = Silent()) -> dict[str, Any]:  # noqa: B008
    """Say what a cache, a run or an exported file holds.

    Args:
        target: A cache, a run or an exported ``.onnx`` file.
        progress: Not used: this takes no time.

    Returns:
        Figures: ``kind`` (``"cache"``, ``"run"`` or ``"export"``) and the figures of that kind.

    Raises:
        UlfineError: It is none of the three, or is damaged.

    Example:
        >>> info(target=Path("model.onnx"))["kind"]
        'export'
    """
    if url_of(target) is not None:
        return _cache(target)
    if target.is_dir():
        if (target / "model.safetensors").is_file():
            return _run(target)
        if (target / "cache.h5").is_file() or (target / "shards").is_dir():
            return _cache(target)
        raise UlfineError(f"{target} is neither a cache nor a run: give what cache-features, fit or export wrote")
    if target.name == "cache.h5":
        return _cache(target.parent)
    if target.is_file():
        return _export(target)
    raise UlfineError(f"nothing at {target}: give a cache, a run or an exported .onnx file")


def _cache(path: Path) -> dict[str, Any]:
    from ulfine_cache.info import cache_info

    return cache_info(path)


def _run(path: Path) -> dict[str, Any]:
    from ulfine_fast.run import load_run

    run = load_run(path)
    cache = run.cache or {}
    scalars = {key: value for key, value in run.metrics.items() if isinstance(value, int | float)}
    return {
        "kind": "run",
        "path": str(path),
        "method": run.method,
        "settings": run.config.get("settings", {}),
        "seed": run.config.get("seed"),
        "split": run.config.get("split"),
        "classes": len(run.class_names),
        "features": run.n_features,
        "parameters": sum(tensor.numel() for tensor in run.model.state_dict().values()),
        **scalars,
        "cache": cache.get("path"),
        "cache_fingerprint": cache.get("fingerprint"),
        "model": cache.get("model"),
        "pretrained": cache.get("pretrained"),
        "precision": cache.get("precision"),
        **{name: cache[name] for name in ("cosine_to_fp32",) if name in cache},
        "created": run.provenance.get("created"),
        "versions": run.provenance.get("versions"),
        "labelled_counts": list(run.labelled_counts),
        "class_names": list(run.class_names),
    }


def _export(path: Path) -> dict[str, Any]:
    from ulfine_exports.inference.content_digest import KEY
    from ulfine_exports.inference.untrusted_model import read_model
    from ulfine_exports.metadata import ExportMetadata

    model = read_model(path)
    props = {item.key: item.value for item in model.metadata_props}
    metadata = ExportMetadata.from_props(props, str(path))
    figures = {name: value for name, value in asdict(metadata).items() if value is not None}
    class_names = figures.pop("class_names")
    # Half a million characters that nobody reads.
    figures["reference"] = "reference" in figures
    return {
        "kind": "export",
        "path": str(path),
        "bytes": path.stat().st_size,
        "classes": len(class_names),
        **figures,
        KEY: props.get(KEY),
        "logit_parts": list(metadata.logit_parts),
        "labelled_counts": list(metadata.labelled_counts),
        "class_prior": list(metadata.class_prior),
        "preprocess": _parsed(metadata.preprocess),
        "inputs": [_shape(value) for value in model.graph.input],
        "outputs": [_shape(value) for value in model.graph.output],
        "class_names": list(class_names),
    }


def _shape(value: Any) -> str:
    """``"features (batch, 512)"``."""
    sizes = [dimension.dim_param or str(dimension.dim_value) for dimension in value.type.tensor_type.shape.dim]
    return f"{value.name} ({', '.join(sizes)})"


def _parsed(text: str) -> Any:
    """JSON that is kept as text inside another file; the text itself where it is not JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text
