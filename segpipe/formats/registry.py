"""The formats there are: a line each; a module is imported when its format is asked for."""

from pkgutil import resolve_name

from segpipe.errors import ConfigError
from segpipe.formats.export_format import ExportFormat

EXPORTS = {
    "coco": "segpipe.formats.coco:EXPORT",
    "yolo-seg": "segpipe.formats.yolo:EXPORT_SEGMENTS",
    "labelme": "segpipe.formats.labelme:EXPORT",
}
"""Each name that ``segpipe export --format`` takes, and where its :class:`ExportFormat` is."""


def export_format(name: str) -> ExportFormat:
    """The format of that name.

    Raises:
        ConfigError: There is none.
    """
    if name not in EXPORTS:
        raise ConfigError(
            f"there is no format {name!r}; there are: {', '.join(EXPORTS)}", field="format"
        )
    found = resolve_name(EXPORTS[name])
    if not isinstance(found, ExportFormat):
        raise TypeError(f"{EXPORTS[name]} is no ExportFormat")
    return found
