import json

import pytest

from segpipe.errors import CorruptVersionError
from segpipe.store.manifests import Manifest
from segpipe.store.version_info import VersionInfo

HEAD = {
    "schema": 1,
    "deal": "lot",
    "mode": "find_all",
    "asset": "segmentation",
    "run_id": "r1",
    "attempt": 0,
    "created_at": "2026-01-02T03:04:05Z",
    "files": [{"path": "detections.parquet", "size": 3, "sha256": "0" * 64}],
    "made_from": {"deal_photos": "f" * 64},
}
STAGE_INFO = {
    "identity": "0a" * 32,
    "code_version": "3",
    "producer": "recursive(classical)",
    "settings": {"kind": "classical", "thresholds": [0.5, None], "more": {"n": 1}},
    "photos_fingerprint": "1b" * 32,
    "summary": {
        "deal": "lot",
        "mode": "find_all",
        "counts": {
            "images": 1,
            "detections": 3,
            "survivors": 2,
            "refined": 2,
            "crops": 2,
            "failed_crops": 0,
        },
        "photos_version": "f" * 64,
        "segmenter": "recursive(classical)",
        "refiner": "grabcut",
        "pass_stats": [{"found": 3, "new": 3, "elapsed_ms": 12.5}],
        "usage": {"calls": 0, "cached": 0, "cost": 0.0, "remaining_credits": None},
        "seconds": {"decode": 0.25},
        "warnings": [],
        "images": [],
    },
}


def written(info: object) -> bytes:
    return json.dumps({**HEAD, "info": info}, indent=1).encode()


@pytest.mark.parametrize(
    "info", [STAGE_INFO, {"read": {"find_all/crops": "r0.0"}}, {}], ids=["stage", "own", "none"]
)
def test_a_manifest_keeps_its_bytes(info: object) -> None:
    manifest = Manifest.from_bytes(written(info), "the manifest")
    assert json.loads(manifest.to_bytes()) == json.loads(written(info))
    again = manifest.to_bytes().replace(b"\n", b"").replace(b" ", b"")
    assert again == written(info).replace(b"\n", b"").replace(b" ", b"")  # the order is the same


def test_what_a_manifest_says_is_typed() -> None:
    info = Manifest.from_bytes(written(STAGE_INFO), "the manifest").info
    assert info.summary
    assert (info.producer, info.summary.counts.crops, info.read) == (
        "recursive(classical)",
        2,
        None,
    )


def test_a_manifest_of_an_earlier_release_is_read_without_what_it_lacked() -> None:
    summary = {name: value for name, value in STAGE_INFO["summary"].items() if name != "usage"}  # type: ignore[attr-defined]
    info = Manifest.from_bytes(
        written({"producer": "classical", "summary": summary}), "the manifest"
    ).info
    assert (info.identity, info.producer) == (None, "classical")
    assert info.summary
    assert info.summary.usage.calls == 0


def test_what_people_added_to_their_own_manifests_is_ignored() -> None:
    info = Manifest.from_bytes(written({"by": [1, {"x": None}]}), "the manifest").info
    assert info == VersionInfo()


def test_a_summary_that_makes_no_sense_names_its_field() -> None:
    with pytest.raises(CorruptVersionError, match=r"info\.summary\.deal"):
        Manifest.from_bytes(written({"summary": {"counts": 3}}), "the manifest")
