"""A cache as one Parquet table, for pandas, Polars, DuckDB, Spark and the like."""

from pathlib import Path
from typing import Any

import numpy as np

from ulfine_cache.conversion.row_blocks import row_blocks
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.names.written import readable, readable_names
from ulfine_cache.progress import Progress

TABLE = "features.parquet"


def write_parquet(
    cache: FeatureCache, view: int, folder: Path, progress: Progress, *, pre_projection: bool = False
) -> None:
    """Write `features.parquet` with the columns path, label, class_name, split and feature.

    `label` and `class_name` are null for unlabelled rows. `feature` is a list of D float32 values: half floats
    would hold the same values, but older readers refuse them, and compressed they are not much smaller.

    Args:
        cache: An open cache.
        view: Which view.
        folder: An empty directory.
        progress: Receives the stage "converting" in rows.
        pre_projection: Take the features from before the encoder's projection, which the table then holds.

    Raises:
        UlfineError: pyarrow is missing, or a shard is damaged.
        OSError: The folder cannot be written.
    """
    pyarrow, parquet = require_pyarrow("--to parquet")
    width = cache.width(pre_projection=pre_projection)
    schema = pyarrow.schema(
        [
            ("path", pyarrow.string()),
            ("label", pyarrow.int64()),
            ("class_name", pyarrow.string()),
            ("set", pyarrow.string()),
            ("feature", pyarrow.list_(pyarrow.float32(), width)),
        ]
    )
    class_names = readable_names(cache.class_names)
    done = 0
    with parquet.ParquetWriter(folder / TABLE, schema, compression="zstd") as writer:
        for block in row_blocks(cache, view, pre_projection=pre_projection):
            values = pyarrow.array(block.features.astype(np.float32).ravel())
            names = [class_names[label] if label >= 0 else None for label in block.labels]
            columns = [
                pyarrow.array(list(map(readable, block.paths)), pyarrow.string()),
                pyarrow.array(block.labels, mask=block.labels < 0),
                pyarrow.array(names, pyarrow.string()),
                pyarrow.array(block.set_names, pyarrow.string()),
                pyarrow.FixedSizeListArray.from_arrays(values, width),
            ]
            writer.write_table(pyarrow.table(columns, schema=schema))
            done += len(block.labels)
            progress.update("converting", done, cache.n_rows)


def require_pyarrow(what: str) -> tuple[Any, Any]:
    """Return the modules `pyarrow` and `pyarrow.parquet`.

    Raises:
        UlfineError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UlfineError(f"{what} needs pyarrow: pip install 'ulfine-fast[parquet]'") from error
    return pyarrow, parquet
