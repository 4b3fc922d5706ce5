"""Scenes that are difficult or crowded, and how well what was found matches their truth."""

from segpipe_tests.scenes.matching import MATCH_IOU, Matching, iou, match

__all__ = ["MATCH_IOU", "Matching", "iou", "match"]
