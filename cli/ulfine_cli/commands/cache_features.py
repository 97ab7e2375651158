"""`ulfine cache-features`."""

from pathlib import Path
from typing import Annotated

import typer

from ulfine_cli.command import command
from ulfine_cli.understood import show


def auto_or_number(value: str) -> int | None:
    """Read a number, or "auto" as None."""
    if value == "auto":
        return None
    if not value.isdecimal():
        raise typer.BadParameter("use auto or a number")
    return int(value)


@command(
    "ulfine_cache.stage_one:cache_features",
    example="ulfine cache-features photos --out cache --model ViT-B-16 --pretrained openai",
    show=show,
)
def cache_features(
    *,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="Folder with one folder of images per class, and unlabelled/, or train/, val/, test/ of these; table "
            "(.csv, .tsv, .jsonl, .json, .parquet) of path,label,set; .zip or .npz; or .tar files (one, a folder of "
            "them, or a pattern in quotes).",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Directory of the cache.")],
    model: Annotated[
        str, typer.Option(help="An open_clip model name, timm:NAME, builtin:tiny, hf-hub:... or local-dir:...")
    ] = "ViT-B-16",
    pretrained: Annotated[str, typer.Option(help="A tag of pretrained weights, or a checkpoint file.")] = "openai",
    classes: Annotated[
        Path | None,
        typer.Option(
            help="CSV with the columns folder, name and, if wanted, description; or class_to_idx.json, classes.txt."
        ),
    ] = None,
    templates: Annotated[
        str, typer.Option(help="Prompts: simple, imagenet, or a file with one template a line.")
    ] = "simple",
    views: Annotated[str, typer.Option(help="Views of an image: center, five-crop or weak-strong:K.")] = "center",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    batch_size: Annotated[
        int | None,
        typer.Option(
            parser=auto_or_number, metavar="auto|N", help="Images that are encoded together.", show_default="auto"
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Threads that read and decode images; without it one per core, at most 16.")
    ] = None,
    shard_size: Annotated[int, typer.Option(help="Images in one shard.")] = 8192,
    index: Annotated[
        str, typer.Option(help="FAISS index: auto, none, or a factory string such as IVF1024,Flat.")
    ] = "auto",
    pre_projection: Annotated[
        bool, typer.Option("--pre-projection", help="Also store the features before the encoder's projection.")
    ] = False,
    jpeg_draft: Annotated[
        bool,
        typer.Option(
            "--jpeg-draft",
            help="Let the JPEG decoder shrink large photographs: faster, slightly other pixels.",
        ),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first image that cannot be read.")] = False,
    path_column: Annotated[
        str | None, typer.Option(help="Column of a table that names the images; found if called as usual.")
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(help="Column of a table with the classes, or none; found if called as usual.")
    ] = None,
    set_column: Annotated[
        str | None, typer.Option(help="Column of a table with train, val, test, or none; found if called as usual.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Folder that a table's paths are relative to, instead of the table's own.")
    ] = None,
    extension: Annotated[
        str | None, typer.Option(help="What is missing at the end of a table's paths, such as .jpg.")
    ] = None,
    missing_labels: Annotated[
        str | None,
        typer.Option(help="Words that mean unlabelled, with commas between; by default nan, NA, null, None, ..."),
    ] = None,
    captions_as_classes: Annotated[
        bool, typer.Option("--captions-as-classes", help="Take KEY.txt beside an image in a tar file for its class.")
    ] = False,
) -> None:
    """Encode images with a frozen CLIP into a cache.

    An interrupted run goes on where it stopped when the same command is given again.
    """
