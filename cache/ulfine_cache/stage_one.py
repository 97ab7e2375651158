"""`ulfine cache-features`: stage one, from images to a cache of CLIP features."""

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from ulfine_cache.command import Place, Written, command
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress, Silent


@command
def cache_features(
    *,
    source: Place,
    out: Place,
    model: str = "ViT-B-16",
    pretrained: str = "openai",
    preprocess: Annotated[str, Written("TAG")] | None = None,
    mean: Annotated[str, Written("R,G,B")] | None = None,
    std: Annotated[str, Written("R,G,B")] | None = None,
    interpolation: Literal["bicubic", "bilinear"] | None = None,
    classes: Path | None = None,
    templates: Annotated[str, Written("simple|imagenet|FILE")] = "simple",
    views: Annotated[str, Written("center|five-crop|weak-strong:K")] = "center",
    device: Annotated[str, Written("auto|cpu|cuda|cuda:N|mps")] = "auto",
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = "auto",
    batch_size: Annotated[int, Ge(1)] | Literal["auto"] = "auto",
    workers: Annotated[int, Ge(1)] | None = None,
    shard_size: Annotated[int, Ge(1)] = 8192,
    index: Annotated[str, Written("auto|none|FACTORY")] = "auto",
    pre_projection: bool = False,
    jpeg_draft: bool = False,
    pixel_range: Annotated[str, Written("auto|BLACK..WHITE")] = "auto",
    strict: bool = False,
    path_column: str | None = None,
    label_column: str | None = None,
    set_column: str | None = None,
    group_column: str | None = None,
    root: Place | None = None,
    extension: str | None = None,
    missing_labels: str | None = None,
    captions_as_classes: bool = False,
    engine: Literal["local", "ray"] = "local",
    address: Annotated[str, Written("auto|HOST:PORT")] | None = None,
    gpus_per_worker: Annotated[float, Ge(0), Le(1)] | None = None,
    cpus_per_worker: Annotated[int, Ge(1)] | None = None,
    shard_range: Annotated[str, Written("A:B|I/N")] | None = None,
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Encode images with a frozen CLIP into a cache.

    An interrupted run goes on where it stopped when the same command is given again, and ends with the same bytes of
    features; when all is done, it does nothing. Where images were added, changed, moved, relabelled or removed since,
    only those whose bytes are new are encoded. An image that cannot be read is listed in ``skipped.csv`` with the
    reason.

    Args:
        source: Folder with one folder of images per class, and ``unlabelled/``, or ``train/``, ``val/``, ``test/`` of
            these; table (``.csv``, ``.tsv``, ``.jsonl``, ``.json``, ``.parquet``) of path,label,set; ``.zip`` or
            ``.npz`` file; or ``.tar`` files (one, a folder of them, or a pattern, in quotes). See docs/sources.md. Or a
            source of your own: ``FILE.py:NAME:ARGUMENT``, which runs the file, or ``NAME:ARGUMENT`` of an installed
            package, see docs/own_parts.md.
        out: Directory of the cache.
        model: An open_clip model name, ``timm:NAME`` (without text), ``builtin:tiny``, ``builtin:lite0`` (for
            photographs, without text), ``hf-hub:NAME`` or ``local-dir:FOLDER``. Several with ``+`` between them, such
            as ``ViT-B-32+RN50``, are put side by side as `join` does it.
        pretrained: A tag of pretrained weights, or a checkpoint file; for several encoders one for all, or one each
            with ``+`` between them. Pictures are made as the weights of the tag want
            it; for a file as a description beside it says (``open_clip_config.json``, ``preprocessor_config.json``), or
            as all weights of this model want it. Where they differ, one of the next options has to say it.
        preprocess: Tag whose pictures the checkpoint file was trained on.
        mean: Mean of each channel, which is subtracted from pictures scaled to 0..1: one number or three with commas.
        std: Standard deviation of each channel, which pictures are then divided by: one number or three with commas.
        interpolation: Filter by which pictures are resized.
        classes: CSV with the columns folder, name and, if wanted, description; or a list such as
            ``class_to_idx.json`` or ``classes.txt``; without it the folders' names.
        templates: Prompts: ``simple``, ``imagenet``, or a file with one template a line.
        views: What is encoded of an image: its centre, five crops, or one weak and K strong distortions.
        device: Where the encoder runs.
        precision: Number format of the encoder; ``auto`` takes the fastest of the first three. ``int8`` is faster still
            on CPUs with VNNI, and says what it costs (docs/precision.md).
        batch_size: Images that are encoded together; ``auto`` finds a good number, once for each cache. Halved on a GPU
            whose memory does not suffice.
        workers: Threads that read and decode images; without it one per core, at most 16.
        shard_size: Images in one shard, the unit of resuming.
        index: FAISS index: ``auto``, ``none``, or a factory string such as ``IVF1024,Flat``.
        pre_projection: Also store the features before the encoder's projection, its last, linear step.
        jpeg_draft: Let the JPEG decoder shrink large photographs, but not below twice the encoder's size: several times
            faster, slightly other pixels.
        pixel_range: Values that are black and white in images of more than 8 bits (16-bit and float TIFF, 16-bit PNG),
            such as ``0..4095``; ``auto`` finds them image by image, see docs/sources.md.
        strict: Stop at the first image that would have no row.
        path_column: Column of a table that names the images, or holds them; found where it is called as usual.
        label_column: Column of a table with the classes, or ``none``; found where it is called as usual.
        set_column: Column of a table with train, val and test, or ``none``; found where it is called as usual.
        group_column: Column of a table that says what images have in common, such as a camera, a site or a batch, or
            ``none``; found where it is called group. See `make_split`.
        root: Folder that the paths of a table are relative to, instead of the table's own. Links below it are followed.
        extension: What is missing at the end of the paths of a table, such as ``.jpg``; found where one image fits.
        missing_labels: Words, with commas between them, that mean unlabelled in tables and shards; by default what
            other programs write for a value that is not there, such as ``nan``, ``NA`` and ``null``.
        captions_as_classes: Take the text beside an image in a tar file for its class.
        engine: Where shards are made: in this process, or by workers of a Ray cluster
            (``pip install 'ulfine-fast[ray]'``). The features are the same, byte for byte. See docs/scale.md.
        address: With ``ray``: the cluster to join, ``auto`` for one that runs on this machine; without it Ray is
            started on this machine, for this call.
        gpus_per_worker: With ``ray``: GPUs that each worker holds, less than 1 to share one; without it 1 where the
            cluster has GPUs, and none with ``--device cpu``.
        cpus_per_worker: With ``ray``: cores that each worker holds; without it as many as there are for each GPU, or
            all of the smallest machine, at most 8.
        shard_range: Make only these shards, from A up to but without B, or the part I of N, all counted from 0: as one
            of several processes that fill the same cache. The same command without it joins them.
        progress: Receives stages and notes.

    Returns:
        Figures: cache, images, rows, skipped, classes, labelled, unlabelled, val, test, views, features, model,
        pretrained, precision, for int8 cosine_to_fp32 (the mean of a sample), device, batch_size, index, shards,
        shards_encoded, images_encoded, images_kept (found among those encoded before), seconds, images_per_second (of
        this call), notes (what had to be decided about the images of this call, with how many), sets, class_counts,
        skipped_reasons, ignored and warnings (`ulfine_cache.sources.understood.understood`). With `shard_range` there
        is no cache yet, and instead of what is said of one: shard_range, shards (of it), shards_of_all and
        shards_missing (of all).

    Raises:
        UsageError: A parameter is wrong.
        UlfineError: What stops it, in one line.

    Example:
        >>> cache_features(source=Path("photos"), out=Path("other-cache"), model="builtin:tiny")["images"]
        80
    """
    arguments = {**locals()}  # as the signature names them
    from ulfine_cache.encoders.picture_choice import PictureOptions
    from ulfine_cache.encoders.prompts import load_classes, load_templates
    from ulfine_cache.encoding.contradictions import contradiction
    from ulfine_cache.encoding.engines.engine_options import check_engine_options
    from ulfine_cache.encoding.shard_range import check_shard_range, shards_of_range
    from ulfine_cache.feature_cache import FeatureCache, own_counts
    from ulfine_cache.pictures.pixel_range import parse_pixel_range
    from ulfine_cache.pictures.views import check_views
    from ulfine_cache.sources.open_source import open_source
    from ulfine_cache.sources.source import blocks_of
    from ulfine_cache.sources.source_options import SourceOptions
    from ulfine_cache.sources.understood import announce, understood
    from ulfine_cache.store.lock import writing, writing_a_range
    from ulfine_cache.store.objects.writing import begin
    from ulfine_cache.store.plan_file import missing_shards
    from ulfine_cache.store.shards import read_skipped

    started = time.perf_counter()
    check_views(views)
    parse_pixel_range(pixel_range)
    check_engine_options(arguments)
    if shard_range is not None:
        check_shard_range(shard_range)
    pictures = PictureOptions.parsed(preprocess, mean, std, interpolation)
    lines = load_templates(templates)
    _check_apart(out, source)
    images = open_source(source, SourceOptions.from_request(arguments), files=True)
    texts = load_classes(classes, images.classes)
    announce(images, [text.name for text in texts], progress)
    n_shards = len(blocks_of(images.items, shard_size))
    part = None if shard_range is None else shards_of_range(shard_range, n_shards)
    # With torch, which takes seconds.
    from ulfine_cache.encoding.cache_writer import CacheWriter
    from ulfine_cache.encoding.engines.open_engine import open_engine
    from ulfine_cache.encoding.engines.shard_job import shard_jobs
    from ulfine_cache.encoding.request import Request
    from ulfine_cache.joining.load import load_named

    with (
        (writing if part is None else writing_a_range)(out),
        closing(open_engine(arguments, out, shard_jobs(arguments))) as makes_shards,
    ):
        begin(out, alone=part is None)
        settled = makes_shards.settle(device, precision, progress)
        encoder = load_named(
            model,
            pretrained,
            settled.device,
            settled.precision,
            pictures=pictures,
            pre_projection=pre_projection,
            progress=progress,
        )
        request = Request(arguments, encoder, lines, texts)
        writer = CacheWriter(request, images, texts, lines, encoder, progress, makes_shards, settled)
        encoded = writer.run() if part is None else writer.run_range(part)
    made = {
        "model": encoder.model_name,
        "pretrained": encoder.pretrained,
        "precision": encoder.precision,
        "device": str(encoder.device),
        "batch_size": request.record["batch_size"],
    }
    work = {
        "shards_encoded": encoded.shards,
        "images_encoded": encoded.images,
        "images_kept": encoded.kept,
        "seconds": round(time.perf_counter() - started, 3),
        "images_per_second": round(encoded.images / encoded.seconds, 1) if encoded.images else 0.0,
        "notes": encoded.notes,
    }
    if part is not None:
        return {
            "cache": str(out),
            "images": len(images.items),
            **made,
            "shard_range": f"{part.start}:{part.stop}",
            "shards": len(part),
            "shards_of_all": len(writer.paths),
            "shards_missing": len(missing_shards(out, writer.plan)),
            **work,
            # What is said of a cache, which is none yet.
            **{name: {} for name in ("sets", "class_counts", "skipped_reasons", "ignored")},
            "warnings": [],
        }
    cache = FeatureCache.open(out)
    reasons = (why for path in cache.shard_paths for _, why in read_skipped(path))
    if line := contradiction(cache):
        images.account.warn(line)
    work["seconds"] = round(time.perf_counter() - started, 3)
    return {
        "cache": str(out),
        "images": len(images.items),
        "rows": cache.n_rows,
        "skipped": len(images.items) - cache.n_rows,
        "classes": cache.n_classes,
        **own_counts(cache),
        "views": cache.n_views,
        "features": cache.n_features,
        **made,
        **{name: float(cache.attributes[name]) for name in ("cosine_to_fp32",) if name in cache.attributes},
        "index": cache.attributes["index"],
        "shards": len(cache.shard_paths),
        **work,
        **understood(cache.class_names, cache.labels, cache.set_names, images.account, reasons),
    }


def _check_apart(out: Path, source: Path) -> None:
    # Inside the source the cache's own folders would be classes the next time.
    if out.resolve().is_relative_to(source.resolve()):
        raise UlfineError(f"--out {out} lies in the folder of images {source}: choose a directory outside it")
