"""A cache as `clip-retrieval inference` would have written it, for its index and back end and for autofaiss."""

from collections.abc import Iterator
from pathlib import Path

from ulfine_cache.conversion.row_blocks import RowBlock, row_blocks
from ulfine_cache.conversion.to_npy import write_npy_header
from ulfine_cache.conversion.to_parquet import require_pyarrow
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.names.written import readable, readable_names
from ulfine_cache.progress import Progress

PARTITION_ROWS = 1_000_000
"""Rows of one pair of files, as in clip-retrieval."""


def write_clip_retrieval(
    cache: FeatureCache,
    view: int,
    folder: Path,
    progress: Progress,
    *,
    pre_projection: bool = False,
    partition_rows: int = PARTITION_ROWS,
) -> None:
    """Write `img_emb/img_emb_N.npy` and `metadata/metadata_N.parquet` for each partition N.

    The embeddings are float16 of unit norm. The metadata have the columns image_path (absolute where the images lay in
    a folder), class_name (empty for unlabelled rows) and split.

    Args:
        cache: An open cache.
        view: Which view.
        folder: An empty directory.
        progress: Receives the stage "converting" in rows.
        pre_projection: Take the features from before the encoder's projection.
        partition_rows: Rows of a partition, >= 1.

    Raises:
        UlfineError: pyarrow is missing, or a shard is damaged.
        OSError: The folder cannot be written.
    """
    pyarrow, parquet = require_pyarrow("--to clip-retrieval")
    schema = pyarrow.schema([(name, pyarrow.string()) for name in ("image_path", "class_name", "set")])
    for name in ("img_emb", "metadata"):
        (folder / name).mkdir()
    counts = [min(partition_rows, cache.n_rows - start) for start in range(0, cache.n_rows, partition_rows)]
    # Equally long numbers, because readers sort the files by name.
    digits = len(str(len(counts) - 1))
    blocks = _cut(row_blocks(cache, view, pre_projection=pre_projection), partition_rows)
    block = next(blocks)
    done = 0
    for partition, count in enumerate(counts):
        number = str(partition).zfill(digits)
        with (
            (folder / "img_emb" / f"img_emb_{number}.npy").open("wb") as embeddings,
            parquet.ParquetWriter(folder / "metadata" / f"metadata_{number}.parquet", schema) as metadata,
        ):
            write_npy_header(embeddings, "<f2", (count, cache.width(pre_projection=pre_projection)))
            end = done + count
            while done < end:
                embeddings.write(block.features.astype("<f2").tobytes())
                metadata.write_table(pyarrow.table(_metadata(cache, block), schema=schema))
                done += len(block.labels)
                progress.update("converting", done, cache.n_rows)
                block = next(blocks, block)


def _cut(blocks: Iterator[RowBlock], partition_rows: int) -> Iterator[RowBlock]:
    """Cut blocks where a partition ends."""
    done = 0
    for block in blocks:
        start = 0
        while start < len(block.labels):
            stop = min(len(block.labels), start + partition_rows - done % partition_rows)
            part = slice(start, stop)
            yield RowBlock(block.features[part], block.labels[part], block.paths[part], block.set_names[part])
            done += stop - start
            start = stop


def _metadata(cache: FeatureCache, block: RowBlock) -> dict[str, list[str]]:
    source = Path(str(cache.attributes.get("source", "")))
    paths, class_names = list(map(readable, block.paths)), readable_names(cache.class_names)
    return {
        "image_path": [readable(str(source / path)) for path in paths] if source.is_dir() else paths,
        "class_name": [class_names[label] if label >= 0 else "" for label in block.labels],
        "set": list(block.set_names),
    }
