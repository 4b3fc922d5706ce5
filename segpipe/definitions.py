"""The one Definitions object; workspace.yaml points here."""

from segpipe.pipeline.defs import build_defs
from segpipe.pipeline.storage_driver import check_configured_storage_driver

check_configured_storage_driver()

defs = build_defs()
