"""Settings of SAM 3 in this process."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from segpipe.detection import Thresholds
from segpipe.segmenters.sam3.local import EverythingSettings, LocalConfig


def test_the_thresholds_are_those_of_the_settings() -> None:
    config = LocalConfig(threshold=0.3, mask_threshold=0.6, max_masks=7)
    assert config.thresholds == Thresholds(score=0.3, mask=0.6, max_masks=7)


def test_how_an_answer_is_computed_is_no_part_of_what_it_is() -> None:
    plain = LocalConfig()
    other = LocalConfig(
        batch_size=9,
        batch_wait_ms=1,
        kept_images=3,
        everything=EverythingSettings(points_per_batch=7),
    )
    assert plain.identity() == other.identity()
    assert plain.identity() != LocalConfig(threshold=0.4).identity()
    sparse = LocalConfig(everything=EverythingSettings(points_per_side=8))
    assert plain.identity() != sparse.identity()


@pytest.mark.parametrize("settings", [{"device": "gpu"}, {"device": "cuda:x"}, {"threshold": 2}])
def test_what_cannot_work_is_refused_by_field(settings: dict[str, object]) -> None:
    (field,) = settings
    with pytest.raises(ValidationError, match=field):
        LocalConfig.model_validate(settings)


def test_settings_are_described_for_operators() -> None:
    for model in (LocalConfig, EverythingSettings):
        for name, field in model.model_fields.items():
            assert field.description or name == "kind"


def test_importing_the_package_imports_no_torch() -> None:
    program = (
        "import sys, segpipe.segmenters.sam3.local\n"
        "heavy = {'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
