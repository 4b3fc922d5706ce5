"""The one Definitions object; workspace.yaml points here."""

from segpipe.pipeline.defs import build_defs

defs = build_defs()
