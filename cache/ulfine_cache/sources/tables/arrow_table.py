"""Arrow files, as Hugging Face's `save_to_disk` leaves them."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ulfine_cache.sources.tables.parquet_table import class_labels, guarded, named_cells
from ulfine_cache.sources.tables.table import Row

if TYPE_CHECKING:
    import pyarrow


class ArrowTable:
    """An Arrow stream or file, mapped into memory instead of read.

    Args:
        path: The file.

    Raises:
        UlfineError: pyarrow is missing, or the file cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.name = path
        with guarded(path):
            self.table = _mapped(path)
        self.schema: pyarrow.Schema = self.table.schema
        self.n_rows: int = self.table.num_rows
        self.columns: Sequence[str] = self.schema.names
        self.class_names = class_labels(self.schema)

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the rows with the cells of some columns.

        Raises:
            UlfineError: The file cannot be read.
        """
        names = [self.class_names.get(column) for column in columns]
        number = 0
        with guarded(self.name):
            for batch in self.table.select(list(columns)).to_batches():
                cells = [named_cells(batch.column(at).to_pylist(), known) for at, known in enumerate(names)]
                for row in zip(*cells, strict=True):
                    number += 1
                    yield Row(f"row {number}", row)


def _mapped(path: str) -> Any:
    import pyarrow

    mapped = pyarrow.memory_map(path)
    try:
        return pyarrow.ipc.open_stream(mapped).read_all()
    except pyarrow.ArrowInvalid:
        # The other of Arrow's two formats has an index at its end.
        return pyarrow.ipc.open_file(pyarrow.memory_map(path)).read_all()
