"""The tables of all deals as DuckDB, pandas and pyarrow see them, by what docs/tables.md says."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

import segpipe
from segpipe.errors import VersionNotFoundError
from segpipe.flow.deal import DealTask, process_deal
from segpipe.store.store import DealStore
from segpipe.store.tables import current_tables
from segpipe_tests.deals import make_deal, make_tools, memory_root, promote, run_deal
from segpipe_tests.goods import DISC, BrightSegmenter

PAGE = Path(segpipe.__file__).parents[1] / "docs" / "tables.md"
# Names that a reader might take for a partition, a pattern or the end of a string.
DEALS = ("lot", "lot=5", "deal=7", "a[1]", "a*", "it's, so", "שלום")
DETECTIONS = ("find_all", "segmentation", "detections.parquet")


def blocks(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found


def run(root: Path, deal: str, run_id: str, items: tuple[int, ...]) -> DealStore:
    store = make_deal(root, deal, items)
    tools = make_tools(BrightSegmenter(doubles=True))
    asyncio.run(process_deal(store, DealTask(deal, run_id), tools))
    return store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few deals with their second version; beside them a run under way, and a deal without."""
    folder = tmp_path_factory.mktemp("tables")
    for deal in DEALS:
        run(folder / "data", deal, "first", (3, 3))
        run(folder / "data", deal, "second", (1, 2))
    make_deal(folder / "data", "new")
    return folder


@pytest.fixture
def at_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DealStore]:
    """In that folder, with a run under way."""
    monkeypatch.chdir(folder)
    version = folder / "data/deals/lot/runs/third.0/find_all/segmentation"
    half = version / "detections.parquet"
    version.mkdir(parents=True)
    half.write_bytes(b"PAR1 and not much more")
    yield DealStore("data")
    half.unlink()
    for made in (version, version.parent, version.parents[1]):
        made.rmdir()


def answers(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    return connection.execute(sql).fetchall()


def test_duckdb_sees_the_current_versions_of_all_deals(at_work: DealStore) -> None:
    macro, query, _ = blocks("sql")
    with duckdb.connect() as connection:
        connection.execute(macro)
        found = answers(connection, query)
        files = answers(connection, "SELECT getvariable('detections')")[0][0]
    assert found == [(deal, None, 3, 0.9) for deal in sorted(DEALS)]
    assert len(files) == len(DEALS)


def test_duckdb_reads_every_version_by_one_glob(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with duckdb.connect() as connection:
        found = answers(connection, blocks("sql")[-1])
    assert found == [(deal, 12 + 6) for deal in sorted(DEALS)]


def test_a_deal_that_looks_like_a_partition_keeps_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "data", "deal=7", "first", (1,))
    monkeypatch.chdir(tmp_path)
    macro, query, glob = blocks("sql")
    with duckdb.connect() as connection:
        connection.execute(macro)
        assert answers(connection, query) == [("deal=7", None, 1, 0.9)]
        assert answers(connection, glob) == [("deal=7", 2)]
    names: dict[str, Any] = {}
    exec(blocks("python")[0], names)
    assert set(names["detections"]["deal"]) == {"deal=7"}


def test_pandas_and_pyarrow_see_the_current_versions_of_all_deals(
    at_work: DealStore, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(block, names)
    detections = names["detections"]
    assert isinstance(detections, pd.DataFrame)
    assert detections["deal"].value_counts().to_dict() == dict.fromkeys(DEALS, 6)
    assert detections.columns[0] == "deal"
    assert names["bitmap"].shape == (16, 12)
    assert names["bitmap"].all()
    survivors = names["survivors"].to_table(columns=["deal", "image"]).to_pandas()
    assert survivors["deal"].value_counts().to_dict() == dict.fromkeys(DEALS, 3)
    assert "0.7" in capsys.readouterr().out  # the mean of 0.9 and 0.5


def test_pandas_reads_masks_beside_detections_that_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_deal(tmp_path / "data", "lot")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks("python")[:2]:
        exec(block, names)
    assert names["detections"]["mask"].isna().any()
    assert np.array_equal(names["bitmap"], DISC.tight().bits)


def test_a_rollback_is_seen(tmp_path: Path) -> None:
    store = run(tmp_path, "lot", "first", (3,))
    first = current_tables(store, *DETECTIONS)
    run(tmp_path, "lot", "second", (3,))
    assert current_tables(store, *DETECTIONS) != first
    store.rollback("lot", "find_all", 1)
    assert current_tables(store, *DETECTIONS) == first


def test_deals_without_the_asset_have_no_table_and_a_wrong_name_is_told(tmp_path: Path) -> None:
    store = run(tmp_path, "lot", "first", (3,))
    assert current_tables(store, "inside_box", "segmentation", "detections.parquet") == []
    assert current_tables(store, "find_all", "coins", "coins.parquet") == []
    with pytest.raises(VersionNotFoundError, match=r"no file 'images\.csv'"):
        current_tables(store, "find_all", "segmentation", "images.csv")


def test_an_object_store_gives_urls() -> None:
    store = DealStore(memory_root())
    for deal in ("d1", "d2"):
        store.root.storage().replace(f"deals/{deal}/images/a.png", b"photo")
        promote(store, "r1", deal=deal)
    files = current_tables(store, "find_all", "segmentation", "table.bin")
    assert files == [
        f"{store.root}/deals/{deal}/runs/r1.0/find_all/segmentation/table.bin"
        for deal in ("d1", "d2")
    ]
