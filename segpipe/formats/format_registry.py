"""The formats there are: a line each; a module is imported when its format is asked for."""

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import TypeVar

from segpipe.errors import ConfigError
from segpipe.formats.label_format import ExportFormat, ImportFormat

EXPORTS = {
    "coco": "segpipe.formats.coco:EXPORT",
    "yolo-seg": "segpipe.formats.yolo:EXPORT_SEGMENTS",
    "labelme": "segpipe.formats.labelme:EXPORT",
    "cutouts": "segpipe.formats.cutouts:EXPORT",
    "masks": "segpipe.formats.masks:EXPORT",
}
"""Each name that ``segpipe export --format`` takes, and where its :class:`ExportFormat` is."""

IMPORTS = {
    "coco": "segpipe.formats.coco:IMPORT",
    "yolo": "segpipe.formats.yolo:IMPORT_BOXES",
    "yolo-seg": "segpipe.formats.yolo:IMPORT_SEGMENTS",
    "labelme": "segpipe.formats.labelme:IMPORT",
    "svg": "segpipe.formats.svg_outlines:IMPORT",
    "masks": "segpipe.formats.masks:IMPORT",
}
"""The same for ``segpipe import-prompts --format`` and :class:`ImportFormat`."""

_Format = TypeVar("_Format", ExportFormat, ImportFormat)


def export_format(name: str) -> ExportFormat:
    """The format of exports of that name.

    Raises:
        ConfigError: There is none.

    >>> export_format("coco").file_suffix
    '.json'
    """
    return _find(EXPORTS, name, ExportFormat)


def import_format(name: str) -> ImportFormat:
    """The format of label files of that name.

    Raises:
        ConfigError: There is none.

    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "ring.txt").write_text("0 0.5 0.5 0.2 0.4")
    ...     (labels,) = import_format("yolo").read(Path(folder), None)
    ...     labels.read().in_pixels(200, 100, file=labels.file)[0].box
    Box(x1=80.0, y1=30.0, x2=120.0, y2=70.0)
    """
    return _find(IMPORTS, name, ImportFormat)


def _find(formats: Mapping[str, str], name: str, kind: type[_Format]) -> _Format:
    if name not in formats:
        raise ConfigError(
            f"there is no format {name!r}; there are: {', '.join(formats)}", field="format"
        )
    found = resolve_name(formats[name])
    if not isinstance(found, kind):
        raise TypeError(f"{formats[name]} is no {kind.__name__}")
    return found
