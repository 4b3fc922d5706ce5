"""Refiners: coarse masks in, sharper masks out."""
