from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.errors import CorruptVersionError, NotPromotedError, StoreError
from segpipe.flow.stages.crops_table import CROPS_SCHEMA
from segpipe.flow.stages.dedup import DEDUP_SCHEMA
from segpipe.flow.stages.refinement import REFINEMENT_SCHEMA
from segpipe.flow.stages.segmentation import DETECTIONS_SCHEMA, IMAGES_SCHEMA
from segpipe.store.snapshot import Snapshot
from segpipe.store.store import DealStore
from segpipe.store.tables import (
    ITEM_COLUMNS,
    MASK_TYPE,
    TableReader,
    TableWriter,
    masks_from_arrow,
    masks_to_arrow,
)
from segpipe.vision.boxes import Box
from segpipe.vision.mask import Mask
from segpipe_tests.deals import DEAL, MODE, current

ASSET = "dedup"
NAME = "dedup.parquet"


def rows(image: str, count: int) -> pa.Table:
    return pa.table(
        {
            "image": [image] * count,
            "detection": range(count),
            "kept": [True] * count,
            "survivor": [None] * count,
            "criterion": [None] * count,
            "value": [0.5] * count,
        },
        schema=DEDUP_SCHEMA,
    )


def write(store: DealStore, counts: dict[str, int]) -> Snapshot:
    with store.stage(DEAL, MODE, run_id="r1") as staging:
        with TableWriter(staging, ASSET, NAME, DEDUP_SCHEMA) as table:
            for image, count in counts.items():
                table.write(image, rows(image, count))
        staging.seal(ASSET, made_from={})
        staging.promote()
    return current(store)


def test_one_image_is_read_at_a_time(store: DealStore) -> None:
    counts = {"b": 3, "a": 1, "שלום": 2}
    with TableReader(write(store, counts), ASSET, NAME) as table:
        assert table.images() == list(counts)
        for image, count in counts.items():
            assert table.read(image) == rows(image, count)
        assert all(table.read(image) == rows(image, count) for image, count in counts.items())


def test_an_image_without_rows_reads_back_empty(store: DealStore) -> None:
    with TableReader(write(store, {"a": 0, "b": 1, "c": 0}), ASSET, NAME) as table:
        assert table.images() == ["a", "b", "c"]
        for image in ("a", "c", "unknown"):
            assert table.read(image) == rows(image, 0)
            assert table.read(image).schema.equals(DEDUP_SCHEMA)


def test_a_table_without_any_rows_reads_back_empty(store: DealStore) -> None:
    with TableReader(write(store, {}), ASSET, NAME) as table:
        assert table.images() == []


def test_each_image_is_a_row_group_of_a_plain_parquet_file(local_store: DealStore) -> None:
    path = write(local_store, {"a": 3, "b": 0, "c": 2}).path(ASSET, NAME)
    file = pq.ParquetFile(str(path))
    assert [file.metadata.row_group(group).num_rows for group in range(2)] == [3, 2]
    assert pq.read_table(str(path)).num_rows == 5


def test_bitmaps_and_long_texts_are_compressed_and_what_is_short_is_not(
    local_store: DealStore,
) -> None:
    schema = pa.schema([*ITEM_COLUMNS, ("svg_path", pa.string()), ("mask", MASK_TYPE)])
    masks = [Mask.from_box(Box(0, 0, 400, 300), image_width=400, image_height=300)] * 3
    columns = {"image": ["a"] * 3, "detection": range(3), "svg_path": ["M0,0L1,1Z" * 200] * 3}
    with local_store.stage(DEAL, MODE, run_id="r1") as staging:
        with TableWriter(staging, ASSET, NAME, schema) as table:
            table.write("a", pa.table({**columns, "mask": masks_to_arrow(masks)}, schema=schema))
        staging.seal(ASSET, made_from={})
        staging.promote()
    group = pq.ParquetFile(str(current(local_store).path(ASSET, NAME))).metadata.row_group(0)
    kept = [group.column(at) for at in range(group.num_columns)]
    compressed = {one.path_in_schema for one in kept if one.compression == "ZSTD"}
    assert compressed == {"svg_path", "mask.bits"}
    assert {one.compression for one in kept} == {"ZSTD", "UNCOMPRESSED"}
    assert sum(one.total_compressed_size for one in kept) < 5_000, "of 50,000"


def test_the_file_names_its_deal_in_every_row(local_store: DealStore) -> None:
    path = write(local_store, {"a": 3, "b": 2}).path(ASSET, NAME)
    table = pq.read_table(str(path))
    assert table.column_names == ["deal", *DEDUP_SCHEMA.names]
    assert table.schema.field("deal").type == pa.dictionary(pa.int32(), pa.string())
    assert table["deal"].to_pylist() == [DEAL] * 5


def test_a_table_of_an_earlier_release_names_no_deal_and_reads_the_same(store: DealStore) -> None:
    counts = {"a": 2, "b": 0}
    with store.stage(DEAL, MODE, run_id="r1") as staging:
        with (
            staging.open(ASSET, NAME) as file,
            pq.ParquetWriter(file, DEDUP_SCHEMA) as writer,
        ):
            writer.write_table(rows("a", 2))
            writer.add_key_value_metadata({"segpipe.row_groups": '{"a": 0, "b": null}'})
        staging.seal(ASSET, made_from={})
        staging.promote()
    with TableReader(current(store), ASSET, NAME) as table:
        for image, count in counts.items():
            assert table.read(image) == rows(image, count)
        assert table.read("a") == rows("a", 2)


@pytest.mark.parametrize(
    ("image", "table", "fault"),
    [
        ("a", rows("a", 1), "already"),
        ("b", rows("c", 1), "another image"),
        ("b", rows("b", 1).drop_columns(["value"]), "schema"),
        (
            "b",
            rows("b", 1).cast(pa.schema([*[*DEDUP_SCHEMA][:-1], ("value", pa.float32())])),
            "sch",
        ),
    ],
)
def test_rows_that_do_not_belong_are_refused(
    store: DealStore, image: str, table: pa.Table, fault: str
) -> None:
    with (
        store.stage(DEAL, MODE, run_id="r1") as staging,
        TableWriter(staging, ASSET, NAME, DEDUP_SCHEMA) as writer,
    ):
        writer.write("a", rows("a", 1))
        with pytest.raises(StoreError, match=fault) as caught:
            writer.write(image, table)
    assert (caught.value.deal, caught.value.image) == (DEAL, image)


def test_a_writer_is_used_in_a_with_statement(store: DealStore) -> None:
    with store.stage(DEAL, MODE, run_id="r1") as staging:
        writer = TableWriter(staging, ASSET, NAME, DEDUP_SCHEMA)
        with pytest.raises(StoreError, match="with statement"):
            writer.write("a", rows("a", 1))


def fill_until_it_fails(store: DealStore) -> None:
    values = np.random.default_rng(0).random(10_000)
    with (
        store.stage(DEAL, MODE, run_id="big") as staging,
        TableWriter(staging, ASSET, NAME, DEDUP_SCHEMA) as table,
    ):
        for number in range(20):
            filled = rows(str(number), values.size).set_column(5, "value", pa.array(values))
            table.write(str(number), filled)


def test_a_table_that_does_not_fit_is_a_store_error(small_disk: Path) -> None:
    with pytest.raises(StoreError, match="no space left") as caught:
        fill_until_it_fails(DealStore(small_disk))
    assert caught.value.deal == DEAL


def test_a_table_that_was_never_promoted_cannot_be_read(store: DealStore) -> None:
    with pytest.raises(NotPromotedError):
        TableReader(write(store, {}), "crops", NAME)


@pytest.mark.parametrize("place", ["page", "footer"])
def test_a_flipped_bit_is_found_when_it_is_read(local_store: DealStore, place: str) -> None:
    snapshot = write(local_store, {"a": 100})
    path = Path(snapshot.path(ASSET, NAME))
    data = bytearray(path.read_bytes())
    column = pq.ParquetFile(str(path)).metadata.row_group(0).column(1)
    page_end = column.dictionary_page_offset + column.total_compressed_size
    data[page_end - 1 if place == "page" else -6] ^= 0x10
    path.write_bytes(data)
    with (
        pytest.raises(CorruptVersionError, match="verify"),
        TableReader(snapshot, ASSET, NAME) as table,
    ):
        table.read("a")


def test_a_parquet_file_of_somebody_else_is_refused(store: DealStore) -> None:
    with store.stage(DEAL, MODE, run_id="r1") as staging:
        with staging.open(ASSET, NAME) as file:
            pq.write_table(rows("a", 1), file)
        staging.seal(ASSET, made_from={})
        staging.promote()
    with pytest.raises(CorruptVersionError, match="no table of segpipe"):
        TableReader(current(store), ASSET, NAME)


def test_every_schema_is_keyed_by_image() -> None:
    for schema in (
        IMAGES_SCHEMA,
        DETECTIONS_SCHEMA,
        DEDUP_SCHEMA,
        REFINEMENT_SCHEMA,
        CROPS_SCHEMA,
    ):
        assert schema.field("image").type == pa.string()


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    height, width = draw(st.integers(0, 9)), draw(st.integers(0, 9))
    x, y = draw(st.integers(0, 40 - width)), draw(st.integers(0, 30 - height))
    flat = draw(st.lists(st.integers(0, 1), min_size=height * width, max_size=height * width))
    bits = np.array(flat, np.uint8).reshape(height, width)
    return Mask(x, y, bits, 40, 30)


@given(st.lists(st.none() | masks(), max_size=6))
def test_masks_come_back_as_they_were(given_masks: list[Mask | None]) -> None:
    column = masks_to_arrow(given_masks)
    assert column.type == MASK_TYPE
    assert column.null_count == given_masks.count(None)
    for stored in (column, pa.chunked_array([column])):
        found = masks_from_arrow(stored, 40, 30)
        for mask, expected in zip(found, given_masks, strict=True):
            if expected is None or mask is None:
                assert mask is expected
                continue
            assert (mask.x, mask.y) == (expected.x, expected.y)
            assert (mask.image_width, mask.image_height) == (40, 30)
            assert np.array_equal(mask.bits, expected.bits)


@pytest.mark.parametrize(
    "row",
    [
        {"x": 0, "y": 0, "w": 3, "h": 3, "bits": b"\xff"},
        {"x": 9, "y": 0, "w": 8, "h": 1, "bits": b"\xff"},
        {"x": -1, "y": 0, "w": 8, "h": 1, "bits": b"\xff"},
        {"x": 0, "y": 0, "w": -8, "h": -1, "bits": b"\xff"},
    ],
)
def test_a_stored_mask_that_does_not_fit_is_damage(row: dict[str, object]) -> None:
    column = pa.array([row], MASK_TYPE)
    with pytest.raises(CorruptVersionError):
        masks_from_arrow(column, 10, 10)
