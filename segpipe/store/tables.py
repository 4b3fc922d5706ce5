"""The Parquet tables of a version, written and read image by image.

Each image is a row group of its own, so a table is written and read one image at a time, whatever
the deal's size; and any Parquet reader sees a plain table with an ``image`` column. In the file a
``deal`` column stands before the others, so that the tables of many deals can be read as one.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from segpipe.errors import CorruptVersionError, InputError, StoreError
from segpipe.store.snapshot import Snapshot
from segpipe.store.staging import Staging
from segpipe.store.store import DealStore
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import pack_bits, unpack_bits

MASK_TYPE = pa.struct(
    [
        ("x", pa.int32()),
        ("y", pa.int32()),
        ("w", pa.int32()),
        ("h", pa.int32()),
        ("bits", pa.binary()),
    ]
)
"""A box-local bitmap of w x h pixels at (x, y); bits row after row, highest bit first."""

ITEM_COLUMNS = (
    pa.field("image", pa.string(), nullable=False),
    pa.field("detection", pa.int32(), nullable=False),
)
"""What a table of detections or items begins with: the photo, and the index of the detection."""

BOX_COLUMNS = tuple((name, pa.float64()) for name in ("x1", "y1", "x2", "y2"))
"""A box, pixels of the upright image."""

DEAL_FIELD = pa.field("deal", pa.dictionary(pa.int32(), pa.string()), nullable=False)
"""What a file has before the columns of its schema; files of earlier releases do not."""

_COMPRESSION = "zstd"
# The few numbers and short texts of a photo: to begin to compress a column takes longer than to
# write one of them, and texts that repeat are in a dictionary.
_UNCOMPRESSED = "NONE"
_LONG_TEXTS = frozenset({"svg_path", "prompt"})
"""Text columns whose values are long, and never repeat."""
_ROW_GROUPS_KEY = "segpipe.row_groups"


def masks_to_arrow(masks: Sequence[Mask | None]) -> pa.StructArray:
    """Masks as a column of :data:`MASK_TYPE`; None becomes null."""
    is_null = np.fromiter((mask is None for mask in masks), np.bool_, len(masks))
    numbers = np.zeros((4, len(masks)), np.int32)
    for column, mask in enumerate(masks):
        if mask is not None:
            height, width = mask.bits.shape
            numbers[:, column] = mask.x, mask.y, width, height
    bits = pa.array([b"" if mask is None else pack_bits(mask) for mask in masks], pa.binary())
    columns = [*map(pa.array, numbers), bits]
    return pa.StructArray.from_arrays(columns, fields=list(MASK_TYPE), mask=pa.array(is_null))


def masks_from_arrow(
    array: pa.StructArray | pa.ChunkedArray, image_width: int, image_height: int
) -> list[Mask | None]:
    """The masks of a column of :data:`MASK_TYPE`, all of one image.

    Raises:
        CorruptVersionError: A bitmap does not lie inside the image, or its bits do not fit it.
    """
    return [
        _mask_from_row(row, image_width, image_height) if row is not None else None
        for row in array.to_pylist()
    ]


class TableWriter:
    """Writes one table of a version; a context manager.

    Args:
        staging: Where the version is staged.
        asset: The asset.
        name: The file's name in the version.
        schema: The schema of the rows; it has a column ``image``, and none ``deal``.
    """

    def __init__(self, staging: Staging, asset: str, name: str, schema: pa.Schema) -> None:
        self._staging = staging
        self._asset = asset
        self._name = name
        self.schema = schema
        self._file_schema = schema.insert(0, DEAL_FIELD)
        self._row_groups: dict[str, int | None] = {}
        self._written = 0
        self._stack = contextlib.ExitStack()
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            file = opened.enter_context(self._staging.open(self._asset, self._name))
            self._writer = opened.enter_context(
                pq.ParquetWriter(
                    file,
                    self._file_schema,
                    compression=_compressions(self._file_schema),
                    # Packed masks never repeat: a dictionary of them would only cost.
                    use_dictionary=[
                        DEAL_FIELD.name,
                        *(
                            field.name
                            for field in self.schema
                            if field.type == pa.string() and field.name not in _LONG_TEXTS
                        ),
                    ],
                    write_page_checksum=True,
                )
            )
            self._stack = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if kind is None and self._writer:
            self._writer.add_key_value_metadata({_ROW_GROUPS_KEY: json.dumps(self._row_groups)})
        return self._stack.__exit__(kind, error, traceback)

    def write(self, image: str, rows: pa.Table) -> None:
        """Append all rows of one image; none are all right too.

        Raises:
            StoreError: The image was written before, or the rows are another image's or do not
                have the schema; or the storage failed.
        """
        if self._writer is None:
            raise StoreError("a TableWriter is a context manager: use it in a with statement")
        fault = self._fault(image, rows)
        if fault:
            raise StoreError(
                f"cannot add the rows to {self._name!r}: {fault}",
                deal=self._staging.deal,
                image=image,
            )
        self._row_groups[image] = self._written if rows.num_rows else None
        if rows.num_rows:
            self._writer.write_table(self._with_deal(rows), row_group_size=rows.num_rows)
            self._written += 1

    def _with_deal(self, rows: pa.Table) -> pa.Table:
        indices = pa.array(np.zeros(rows.num_rows, np.int32))
        deals = pa.DictionaryArray.from_arrays(indices, pa.array([self._staging.deal]))
        return pa.table([deals, *rows.columns], schema=self._file_schema)

    def _fault(self, image: str, rows: pa.Table) -> str | None:
        if image in self._row_groups:
            return "the image has its rows already"
        if not rows.schema.equals(self.schema):
            return f"their schema is {rows.schema.names}, not {self.schema.names}, or types differ"
        if any(value.as_py() != image for value in rows["image"].unique()):
            return "they name another image"
        return None


def _compressions(schema: pa.Schema) -> dict[str, str]:
    """How each column is compressed, by its path in the file: long texts and bitmaps are."""
    ways = {}
    for field in schema:
        leaves = (
            [(f"{field.name}.{leaf.name}", leaf.type) for leaf in field.type]
            if pa.types.is_struct(field.type)
            else [(field.name, field.type)]
        )
        for path, kind in leaves:
            is_short = pa.types.is_primitive(kind) or kind in (pa.string(), DEAL_FIELD.type)
            is_long = path in _LONG_TEXTS or not is_short
            ways[path] = _COMPRESSION if is_long else _UNCOMPRESSED
    return ways


class TableReader:
    """Reads the rows of one table of a snapshot as they were written; a context manager.

    Args:
        snapshot: The generation to read.
        asset: The asset.
        name: The file's name in the version.
        later: Columns that a later release added at the end; a file without them is read as if it
            had them, all null.

    Raises:
        NotPromotedError: Nothing is current for the asset.
        CorruptVersionError: The file is not what was promoted, found when it is read.
    """

    def __init__(
        self, snapshot: Snapshot, asset: str, name: str, *, later: Sequence[pa.Field] = ()
    ) -> None:
        self._snapshot = snapshot
        self._name = name
        self._later = later
        self._stack = contextlib.ExitStack()
        with self._read_errors():
            file = self._stack.enter_context(snapshot.open(asset, name))
            self._file = pq.ParquetFile(file, page_checksum_verification=True)
            metadata = self._file.metadata.metadata or {}
            self._row_groups: dict[str, int | None] = json.loads(metadata[_ROW_GROUPS_KEY.encode()])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; leaving the context does it too."""
        self._stack.close()

    def images(self) -> list[str]:
        """The ids of all images, in the order they were written, also those without rows."""
        return list(self._row_groups)

    def schema(self) -> pa.Schema:
        """The columns of the file: those that were written, and ``deal`` before them."""
        return self._file.schema_arrow.remove_metadata()

    def row_count(self) -> int:
        """How many rows there are, of all images."""
        return int(self._file.metadata.num_rows)

    def columns(self) -> list[str]:
        """The names of the table's columns."""
        return list(self._file.schema_arrow.names)

    def read(self, image: str) -> pa.Table:
        """The rows of one image; an empty table when it has none."""
        group = self._row_groups.get(image)
        if group is None:
            return self._as_written(self._file.schema_arrow.empty_table())
        with self._read_errors():
            return self._as_written(self._file.read_row_group(group))

    def _as_written(self, table: pa.Table) -> pa.Table:
        """The columns that were written, without the file's own, with those of later releases."""
        if DEAL_FIELD.name in table.column_names:
            table = table.drop_columns([DEAL_FIELD.name])
        for field in self._later:
            if field.name not in table.column_names:
                table = table.append_column(field, pa.nulls(table.num_rows, field.type))
        return table

    @contextlib.contextmanager
    def _read_errors(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            self._stack.close()
            raise CorruptVersionError(
                f"{self._name!r} is no table of segpipe, or damaged ({error}); run verify",
                deal=self._snapshot.deal,
            ) from error


def current_tables(store: DealStore, mode: str, asset: str, file: str) -> list[str]:
    """Where the current versions of one table lie, deal by deal in the order of their ids.

    Each file stays what it is for as long as its version is kept, whatever is promoted meanwhile.

    Args:
        store: The deals.
        mode: The mode.
        asset: The asset.
        file: The table's file name in the asset, such as ``detections.parquet``.

    Returns:
        A path or URL for each deal in which the asset was promoted; the other deals have none.

    Raises:
        VersionNotFoundError: The asset has no such file.
        CorruptVersionError: A commit or a manifest of a deal is damaged.
        StoreError: The data root cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     store = DealStore(root)
    ...     with store.stage("lot-7", "find_all", run_id="run-1") as staging:
    ...         with staging.open("prices", "prices.parquet") as file:
    ...             pq.write_table(pa.table({"image": ["a", "b"], "price": [3, 4]}), file)
    ...         _ = staging.seal("prices", made_from={})
    ...         _ = staging.promote()
    ...     paths = current_tables(store, "find_all", "prices", "prices.parquet")
    ...     pq.read_table(paths, columns=["price"]).num_rows
    2
    """
    snapshots = (store.current(deal, mode) for deal in store.deals())
    return [
        snapshot.path(asset, file) for snapshot in snapshots if snapshot and snapshot.has(asset)
    ]


def _mask_from_row(row: dict[str, Any], image_width: int, image_height: int) -> Mask:
    try:
        return unpack_bits(
            row["bits"],
            x=row["x"],
            y=row["y"],
            width=row["w"],
            height=row["h"],
            image_width=image_width,
            image_height=image_height,
        )
    except InputError as error:
        raise CorruptVersionError(f"a stored mask is damaged: {error.message}") from error
