"""What names the settings of each segmenter and refiner in manifests: with others all is stale."""

from pathlib import Path
from typing import Any

import pytest

from segpipe_tests.compatibility.doors import check_pin, config_file, succeed
from segpipe_tests.compatibility.files import manifest
from segpipe_tests.refiners.loop.tiny_hq_sam import make_tiny_checkpoint as make_tiny_hq_sam
from segpipe_tests.segmenters.sam3.local.tiny import make_tiny_checkpoint

ANYTHING = {"min_iou": 0.0, "min_predicted_iou": 0.0, "embed": "image"}


def made_by(root: Path, folder: Path, segmenter: Any, refiner: Any) -> dict[str, Any]:
    """What the manifests of a run with these backends say of them."""
    backends = {"segmenter": segmenter, "refiner": refiner}
    resources = {name: {"config": {"backend": one}} for name, one in backends.items()}
    succeed(root, "run", "new", "--config", config_file(folder, resources=resources))
    told = {}
    for stage in ("segmentation", "refinement"):
        info = manifest(root, "new", "find_all", stage)["info"]
        told[stage] = {
            name: info[name] for name in ("identity", "code_version", "producer", "settings")
        }
    return told


def test_identities_of_every_backend(
    tmp_path: Path, untouched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # so that weights have the same names everywhere
    make_tiny_checkpoint(Path("sam3"))
    make_tiny_hq_sam(Path("hq"))
    root = tmp_path / "data"
    succeed(root, "add", "new", str(untouched / "deals/lot/images/a.png"))
    local = {"local": {"checkpoint": "sam3", "threshold": 0.0, "max_masks": 3}}
    tracker = {"sam3_tracker": {"checkpoint": "sam3", **ANYTHING}}
    hq_sam = {"hq_sam": {"checkpoint": "hq", **ANYTHING}}
    told = {
        "recursive": made_by(root, tmp_path, {"recursive": {}}, {"none": {}}),
        "classical, hq_sam": made_by(root, tmp_path, {"classical": {}}, hq_sam),
        "local, sam3_tracker": made_by(
            root, tmp_path, {"sam3": {"backend": local, "texts": ["ring"]}}, tracker
        ),
    }
    check_pin("identities-of-backends", told)
