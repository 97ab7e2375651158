"""`ulfine cache-features`: stage one, from images to a cache of CLIP features."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from ulfine_cache.config import StrictConfig
from ulfine_cache.encoders.encoder import ClipEncoder
from ulfine_cache.encoders.prompts import load_classes, load_templates
from ulfine_cache.encoding.cache_writer import CacheWriter
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.pictures.views import check_views
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.sources.open_source import open_source
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.sources.understood import announce, understood
from ulfine_cache.store.lock import writing
from ulfine_cache.store.shards import read_skipped


class CacheFeaturesConfig(StrictConfig):
    """The parameters of `cache_features`."""

    source: Path
    out: Path
    model: str = "ViT-B-16"
    pretrained: str = "openai"
    classes: Path | None = None
    templates: str = "simple"
    views: str = "center"
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = Field(default=None, ge=1)
    workers: int | None = Field(default=None, ge=1)
    shard_size: int = Field(default=8192, ge=1)
    index: str = "auto"
    pre_projection: bool = False
    jpeg_draft: bool = False
    strict: bool = False
    path_column: str | None = None
    label_column: str | None = None
    set_column: str | None = None
    root: Path | None = None
    extension: str | None = None
    missing_labels: str | None = None
    captions_as_classes: bool = False


def cache_features(
    *,
    source: Path,
    out: Path,
    model: str = "ViT-B-16",
    pretrained: str = "openai",
    classes: Path | None = None,
    templates: str = "simple",
    views: str = "center",
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    shard_size: int = 8192,
    index: str = "auto",
    pre_projection: bool = False,
    jpeg_draft: bool = False,
    strict: bool = False,
    path_column: str | None = None,
    label_column: str | None = None,
    set_column: str | None = None,
    root: Path | None = None,
    extension: str | None = None,
    missing_labels: str | None = None,
    captions_as_classes: bool = False,
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Encode a folder of images with a frozen CLIP into a cache directory.

    Killed at any moment and called again, it goes on after the last complete shard and ends with the same bytes of
    features. Called again when all is done, it does nothing. Images that changed since are encoded again, with their
    whole shard. An image that cannot be read is listed in `skipped.csv` with the reason.

    Args:
        source: Folder of `<class>/`, `unlabelled/`, or of `train/`, `val/`, `test/` with these inside; table (.csv,
            .tsv, .jsonl, .json, .parquet) of path,label,set; .zip or .npz file; or .tar files: one, a folder of them,
            or a pattern (`open_source`; docs/sources.md shows each).
        out: The cache directory.
        model: An open_clip model name, "builtin:tiny", "hf-hub:...", "local-dir:..." or, for a timm model without text,
            "timm:...".
        pretrained: A tag or a local checkpoint file.
        classes: CSV with folder, name and optionally description, or a list such as class_to_idx.json or classes.txt;
            None makes names of the folders.
        templates: "simple", "imagenet" or a file with one template per line.
        views: "center", "five-crop" or "weak-strong:K".
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: "auto", "fp32", "bf16" or "fp16".
        batch_size: Images encoded together; None finds a good number, once for each cache. Halved on a GPU whose
            memory does not suffice.
        workers: Threads that read and decode; None is one per core, at most 16.
        shard_size: Images per shard, the unit of resuming.
        index: "auto", "none" or a FAISS factory string.
        pre_projection: Also store the features before the encoder's last, linear step.
        jpeg_draft: Let libjpeg shrink large JPEG files by 2, 4 or 8 while it decodes them, but not below twice the
            encoder's size: several times faster for photographs of many megapixels, with slightly other pixels.
        strict: Stop at the first image that cannot be read.
        path_column: Column of a table that names the images, or holds them; None finds it.
        label_column: Column of a table with the classes, or "none" if it has no such; None finds it.
        set_column: Column of a table with train, val and test, or "none"; None finds it.
        root: Folder that the paths of a table are relative to; None is the table's own. Links below it are followed.
        extension: What is missing at the end of the paths of a table, such as ".jpg"; None finds it where one image
            fits.
        missing_labels: Words, with commas between them, that mean unlabelled in tables and shards; None is what other
            programs write for a value that is not there ("nan", "NA", "null", "None" and the like).
        captions_as_classes: Take the text beside an image in a tar file for its class.
        progress: Receives stages and notes.

    Returns:
        Figures: cache, images, rows, skipped, classes, labelled, unlabelled, val, test, views, features, model,
        pretrained, precision, device, batch_size, index, shards, shards_encoded, seconds, images_per_second (of this
        call), and those of `sources.understood.understood`.

    Raises:
        UsageError: A parameter is wrong.
        UlfineError: What stops it, in one line.

    Example:
        >>> cache_features(source=Path("photos"), out=Path("photos-cache"), model="builtin:tiny")  # doctest: +SKIP
    """
    config = CacheFeaturesConfig.checked(
        source=source,
        out=out,
        model=model,
        pretrained=pretrained,
        classes=classes,
        templates=templates,
        views=views,
        device=device,
        precision=precision,
        batch_size=batch_size,
        workers=workers,
        shard_size=shard_size,
        index=index,
        pre_projection=pre_projection,
        jpeg_draft=jpeg_draft,
        strict=strict,
        path_column=path_column,
        label_column=label_column,
        set_column=set_column,
        root=root,
        extension=extension,
        missing_labels=missing_labels,
        captions_as_classes=captions_as_classes,
    )
    started = time.perf_counter()
    check_views(config.views)
    lines = load_templates(config.templates)
    _check_apart(config.out, config.source)
    images = open_source(config.source, SourceOptions.from_request(config.model_dump()))
    announce(images, progress)
    texts = load_classes(config.classes, images.classes)
    with writing(config.out):
        encoder = ClipEncoder.load(config.model, config.pretrained, config.device, config.precision, progress=progress)
        writer = CacheWriter(config, images, texts, lines, encoder, progress)
        encoded = writer.run()
    cache = FeatureCache.open(config.out)
    own = cache.read_split(None)
    seconds = time.perf_counter() - started
    return {
        "cache": str(config.out),
        "images": len(images.items),
        "rows": cache.n_rows,
        "skipped": len(images.items) - cache.n_rows,
        "classes": cache.n_classes,
        **{part: len(getattr(own, part)) for part in ("labelled", "unlabelled", "val", "test")},
        "views": cache.n_views,
        "features": cache.n_features,
        "model": encoder.model_name,
        "pretrained": encoder.pretrained,
        "precision": encoder.precision,
        "device": str(encoder.device),
        "batch_size": writer.plan["batch size"],
        "index": cache.attributes["index"],
        "shards": len(cache.shard_paths),
        "shards_encoded": encoded.shards,
        "seconds": round(seconds, 3),
        "images_per_second": round(encoded.images / encoded.seconds, 1) if encoded.images else 0.0,
        **understood(cache.class_names, cache.labels, cache.set_names, images.account, _reasons(cache)),
    }


def _reasons(cache: FeatureCache) -> Iterator[str]:
    return (why for path in cache.shard_paths for _, why in read_skipped(path))


def _check_apart(out: Path, source: Path) -> None:
    # Inside the source the cache's own folders would be classes the next time.
    if out.resolve().is_relative_to(source.resolve()):
        raise UlfineError(f"--out {out} lies in the folder of images {source}: choose a directory outside it")
