"""What can be a data root, and that nothing is ever written beside it."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.errors import ConfigError
from segpipe.store.data_root import DataRoot
from segpipe.store.store import DealStore
from segpipe_tests.deals import ASSETS, current_versions, promote

ODD_NAMES = ["100%", "a?b", "a#b", "a%20b", "a b", "file:x", "memory:", "~", "s3:/b", "a&b=c", "é"]


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).parts[0] for path in folder.rglob("*")}


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_folder_of_any_name_is_a_data_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for root in (name, tmp_path / name):
        store = DealStore(root)
        promote(store, f"r-{type(root).__name__}")
    assert current_versions(store) == dict.fromkeys(ASSETS, f"r-{type(root).__name__}.0")
    assert everything(tmp_path) == {Path(name).parts[0]}


@given(name=st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1))
def test_a_path_is_taken_as_it_is(name: str) -> None:
    root = DataRoot.parse(f"/data/{name}")
    assert root.is_local
    assert root.place == str(Path("/data", name).absolute())


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3://bucket", "s3://bucket"),
        ("S3://bucket/a/b/", "s3://bucket/a/b"),
        ("gs://bucket/ü ö", "gs://bucket/ü ö"),
        ("az://container/x", "az://container/x"),
        ("memory://name", "memory://name"),
        ("file:///tmp/a%20b", "/tmp/a b"),
    ],
)
def test_urls_are_read(url: str, place: str) -> None:
    root = DataRoot.parse(url)
    assert str(root) == root.place == place
    assert root.at("deals/x") == f"{place}/deals/x"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "no path"),
        ("a\0b", "no path"),
        ("ftp://host/x", "s3://"),
        ("http://host/x", "s3://"),
        ("s3://", "no bucket"),
        ("s3:///x", "no bucket"),
        ("s3://bucket//x", "empty"),
        ("s3://bucket/../x", r"'\.\.'"),
        ("s3://bucket/100%", "'%'"),
        ("s3://bucket/a?b", r"'\?'"),
        ("gs://bucket/a#b", "'#'"),
        ("az://con\ttainer/x", "invisible"),
        ("file://host/x", "three slashes"),
        ("file:///x?y", "by its path"),
    ],
)
def test_what_cannot_be_a_data_root_is_told_before_anything_is_written(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        DealStore(url)
    assert caught.value.field == "root"


@settings(max_examples=200)
@given(url=st.from_regex(r"(s3|gs|az|memory|ftp|file)://[a-z?#%/. ]{0,12}", fullmatch=True))
def test_a_url_is_a_root_or_a_config_error(url: str) -> None:
    try:
        root = DataRoot.parse(url)
    except ConfigError:
        return
    assert DataRoot.parse(root.place) == root
    assert ".." not in root.place.partition("://")[2].split("/") or root.is_local


def test_an_account_that_is_not_set_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(ConfigError, match=r"az://container cannot be opened: .*Account"):
        DealStore("az://container/x")


def test_memory_is_shared_by_its_name() -> None:
    DealStore("memory://shared-1").root.storage().replace("x", b"one")
    assert DealStore("memory://shared-1/").root.storage().read("x") == b"one"
    assert DealStore("memory://shared-2").root.storage().entry("x") is None


def test_an_extra_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"install segpipe\[azure\]"):
        DealStore("az://container/x")
