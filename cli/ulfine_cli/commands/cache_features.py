"""`ulfine cache-features`."""

from pathlib import Path
from typing import Annotated

import typer

from ulfine_cli.command import command
from ulfine_cli.output import Output


@command(
    "ulfine_cache.stage_one:cache_features",
    example="ulfine cache-features photos --out cache --model ViT-B-16 --pretrained openai",
    show=Output.show_pairs,
)
def cache_features(
    *,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="Folder with one folder of images per class, and unlabelled/; or train/, val/, test/ of these.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Directory of the cache.")],
    model: Annotated[
        str, typer.Option(help="An open_clip model name, builtin:tiny, hf-hub:... or local-dir:...")
    ] = "ViT-B-16",
    pretrained: Annotated[str, typer.Option(help="An open_clip pretrained tag, or a checkpoint file.")] = "openai",
    classes: Annotated[
        Path | None, typer.Option(help="CSV with the columns folder, name and, if wanted, description.")
    ] = None,
    templates: Annotated[
        str, typer.Option(help="Prompts: simple, imagenet, or a file with one template a line.")
    ] = "simple",
    views: Annotated[str, typer.Option(help="Views of an image: center.")] = "center",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    batch_size: Annotated[
        int | None, typer.Option(help="Images that are encoded together; without it 64, on CUDA 256.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Threads that read and decode images; without it one per core, at most 16.")
    ] = None,
    shard_size: Annotated[int, typer.Option(help="Images in one shard.")] = 8192,
    index: Annotated[
        str, typer.Option(help="FAISS index: auto, none, or a factory string such as IVF1024,Flat.")
    ] = "auto",
) -> None:
    """Encode images with a frozen CLIP into a cache.

    An interrupted run goes on where it stopped when the same command is given again.
    """
