"""A format is one file and one line."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from segpipe.cli.app import app
from segpipe.errors import ConfigError
from segpipe.formats.destination import ExportFolder
from segpipe.formats.format_registry import EXPORTS, IMPORTS, export_format, import_format
from segpipe.formats.label_format import (
    ExportFormat,
    ImportFormat,
    LabelWriter,
    PhotoFile,
    WriteOptions,
)
from segpipe.formats.labels import LabelledPhoto
from segpipe_tests.deals import run_deal


def test_every_line_leads_to_a_format() -> None:
    for name in EXPORTS:
        assert isinstance(export_format(name), ExportFormat)
    for name in IMPORTS:
        assert isinstance(import_format(name), ImportFormat)
    for find in (export_format, import_format):
        with pytest.raises(ConfigError, match="there is no format 'voc'; there are: coco, "):
            find("voc")


class Names:
    """Writes a file a photo, with the labels of its items."""

    def __init__(self, folder: ExportFolder) -> None:
        self._folder = folder

    def all_or_nothing(self) -> AbstractContextManager[None]:
        return self._folder.all_or_nothing()

    def add(self, photo: LabelledPhoto, file: PhotoFile) -> None:
        labels = " ".join(item.label for item in photo.items)
        self._folder.write(f"{photo.deal}/{file.name}.names", labels.encode())


@contextmanager
def write_names(folder: ExportFolder, _: WriteOptions) -> Iterator[LabelWriter]:
    yield Names(folder)


def test_a_new_format_needs_no_more_than_its_file_and_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ModuleType("names_format")
    vars(file)["EXPORT"] = ExportFormat(write_folder=write_names)
    monkeypatch.setitem(sys.modules, "names_format", file)
    monkeypatch.setitem(EXPORTS, "names", "names_format:EXPORT")
    run_deal(tmp_path / "data", "lot", ("a.png",))
    place = ("--root", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--images", "none")
    result = CliRunner().invoke(app, ["export", "--format", "names", *place])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out/lot/a.png.names").read_text() == "coin ring earring item"
