"""The measured quality of deals: a table that only grows, in parts that are never changed.

::

    quality/<mode>/0000000001.parquet

Each part has the rows of one stretch of work. Two who measure at the same time write parts of their
own; what both have measured is the same, and readers take it once.
"""

import io
import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from segpipe.errors import StoreError
from segpipe.store.ids import check_id
from segpipe.store.storage import Storage, store_errors

QUALITY = "quality"
"""The folder of the measured quality under the data root."""
_PART = re.compile(r"(\d{10})\.parquet")


class QualityFiles:
    """The parts of one data root.

    Args:
        storage: The data root.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def read(self, mode: str, schema: pa.Schema) -> pa.Table:
        """The rows of a mode, in the order in which they were written.

        Columns that a part does not have, as an older release wrote it, are null.

        Raises:
            StoreError: A part cannot be read; it is named.
        """
        return pa.concat_tables([schema.empty_table(), *self._parts(mode, schema)])

    def append(self, mode: str, rows: pa.Table) -> None:
        """Write rows as the next part."""
        buffer = io.BytesIO()
        pq.write_table(rows, buffer, compression="zstd")
        with store_errors():
            number = max(self._numbers(mode), default=0) + 1
            while True:
                try:
                    self._storage.put_if_absent(_key(mode, number), [buffer.getvalue()])
                except FileExistsError:
                    number += 1
                else:
                    return

    def _parts(self, mode: str, schema: pa.Schema) -> Iterator[pa.Table]:
        with store_errors():
            numbers = self._numbers(mode)
        for number in numbers:
            key = _key(mode, number)
            with store_errors():
                data = self._storage.read(key)
            try:
                found = pq.read_table(io.BytesIO(data))
            except (pa.ArrowException, OSError) as error:
                raise StoreError(
                    f"{key} is no table of segpipe, or damaged ({error}); remove it, and what it "
                    "held is measured again"
                ) from error
            yield pa.table(
                [
                    found[field.name].cast(field.type)
                    if field.name in found.column_names
                    else pa.nulls(found.num_rows, field.type)
                    for field in schema
                ],
                schema=schema,
            )

    def _numbers(self, mode: str) -> list[int]:
        names = (_PART.fullmatch(entry.name) for entry in self._storage.list(_folder(mode)))
        return sorted(int(name[1]) for name in names if name)


def _folder(mode: str) -> str:
    return f"{QUALITY}/{check_id(mode, field='mode')}"


def _key(mode: str, number: int) -> str:
    return f"{_folder(mode)}/{number:010}.parquet"
