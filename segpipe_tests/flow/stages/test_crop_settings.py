"""What the settings of crops make of a deal, from its photos to its promoted files."""

import asyncio
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from segpipe.errors import ConfigError
from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.deal_state import State
from segpipe.flow.run_settings import FlowSettings
from segpipe.flow.stages.crop_settings import CropSettings
from segpipe.store.store import DealStore, Snapshot
from segpipe.vision.mask import Mask
from segpipe_tests.deals import current, make_tools, put_photos, todo
from segpipe_tests.goods import BOX, DISC, HEIGHT, PAIR, RING, WIDTH, FixedSegmenter, photo_of

DEAL = "lot"
MASKS = (DISC, RING, PAIR)
SOFT: dict[str, Any] = {"edge": "soft", "decontaminate": True}
CANVAS = {"width": 90, "height": 60, "margin_percent": 10}
NUMBERS = range(4)


@pytest.fixture
def store(tmp_path: Path) -> DealStore:
    put_photos(tmp_path, DEAL, {"a.png": photo_of(True), "b.png": photo_of(True, 9)})
    return DealStore(tmp_path)


def run(store: DealStore, run_id: str = "r1", **crops: Any) -> Snapshot:
    settings = FlowSettings(crops=CropSettings(**crops))
    tools = make_tools(FixedSegmenter(), settings)
    asyncio.run(process_deal(store, DealTask(DEAL, run_id), tools))
    return current(store, DEAL)


def files(snapshot: Snapshot) -> list[str]:
    return sorted(entry.path for entry in snapshot.files("crops") if "/" in entry.path)


def pixels(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture)


def picture(snapshot: Snapshot, name: str) -> NDArray[np.uint8]:
    return pixels(snapshot.read("crops", name))


def test_edges_canvases_and_formats_go_together(store: DealStore) -> None:
    hard = run(store)
    for number, (file_format, mode) in enumerate(
        [("png", "RGBA"), ("jpg", "RGB"), ("webp", "RGBA"), ("avif", "RGBA")]
    ):
        made = run(store, f"s{number}", format=file_format, canvas=CANVAS, **SOFT)
        assert files(made) == [f"crops/{p}/{n:04}.{file_format}" for p in "ab" for n in NUMBERS]
        for name in files(made):
            with Image.open(io.BytesIO(made.read("crops", name))) as shown:
                assert (shown.size, shown.mode) == ((90, 60), mode)
    assert set(np.unique(picture(hard, "crops/a/0001.png")[..., 3])) == {0, 255}


def test_a_ring_keeps_its_hole_on_every_way(store: DealStore) -> None:
    made = run(store, canvas={**CANVAS, "background": "#20c040"}, format="webp", **SOFT)
    ring = picture(made, "crops/a/0001.webp")
    assert ring.shape == (60, 90, 3)
    assert np.abs(ring[30, 45].astype(int) - (0x20, 0xC0, 0x40)).max() < 12
    clear = run(store, "r2", max_side_px=20, **SOFT)
    shown = picture(clear, "crops/a/0001.png")
    assert max(shown.shape) == 20
    assert shown[shown.shape[0] // 2, shown.shape[1] // 2, 3] == 0


def test_files_are_called_as_the_template_says(store: DealStore) -> None:
    made = run(store, file_name="{label}/{deal}_{image}_{n}", masks="png")
    names = [
        f"{label}/lot_{photo}_{n}"
        for photo in "ab"
        for n, label in enumerate(["coin", "ring", "earring", "item"], start=1)
    ]
    assert files(made) == sorted(
        [*(f"crops/{name}.png" for name in names), *(f"masks/{name}.png" for name in names)]
    )


@pytest.mark.parametrize("area", ["box", "photo"])
def test_masks_lie_beside_the_table(store: DealStore, area: str) -> None:
    made = run(store, masks="png", mask_area=area, padding_px=3)
    assert [name for name in files(made) if name.startswith("masks/")] == [
        f"masks/{photo}/{n:04}.png" for photo in "ab" for n in NUMBERS
    ]
    for number, mask in enumerate(MASKS):
        found = picture(made, f"masks/a/{number:04}.png")
        crop = picture(made, f"crops/a/{number:04}.png")
        if area == "photo":
            assert np.array_equal(found, 255 * mask.to_full())
        else:
            assert np.array_equal(found, crop[..., 3])
    boxed = picture(made, "masks/a/0003.png")
    without_mask = Mask.from_box(BOX, image_width=WIDTH, image_height=HEIGHT)
    assert np.count_nonzero(boxed) == without_mask.area
    assert boxed.shape == ((HEIGHT, WIDTH) if area == "photo" else boxed.shape)


def test_in_a_tar_names_are_fixed_and_masks_lie_beside_their_crops(store: DealStore) -> None:
    template = "{deal}_{image}_{n}"
    made = run(store, layout="tar", file_name=template, masks="png", format="webp")
    with made.open("crops", "crops.tar") as file, tarfile.open(fileobj=file) as archive:
        names = archive.getnames()
        member = archive.extractfile("a/0001.mask.png")
        assert member
        assert np.count_nonzero(pixels(member.read())) == RING.area
    assert [name for name in names if not name.endswith(".json")] == [
        f"{photo}/{n:04}.{ending}"
        for photo in "ab"
        for n in NUMBERS
        for ending in ("webp", "mask.png")
    ]


def test_a_mask_that_is_not_wanted_makes_no_file_and_defaults_are_as_before(
    store: DealStore,
) -> None:
    made = run(store)
    assert files(made) == [f"crops/{photo}/{n:04}.png" for photo in "ab" for n in NUMBERS]
    # What release 0.1 wrote there, so that what it made stays current.
    assert made.manifest("crops").info.settings == {
        "use_mask_crops": True,
        "format": "png",
        "padding_px": 0,
        "jpeg_quality": 92,
    }
    assert todo(store).state is State.UP_TO_DATE


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"edge": "soft"}, "crops.edge hard → soft"),
        ({"decontaminate": True}, "crops.decontaminate false → true"),
        ({"max_side_px": 400}, "crops.max_side_px nothing → 400"),
        ({"canvas": CANVAS}, "crops.canvas.width nothing → 90"),
        ({"file_name": "{image}_{n}"}, "crops.file_name {image}/{detection:04} → {image}_{n}"),
        ({"masks": "png"}, "crops.masks none → png"),
    ],
)
def test_a_new_setting_is_named_when_it_differs_there_and_back(
    store: DealStore, change: dict[str, Any], said: str
) -> None:
    run(store)
    wanted = FlowSettings(crops=CropSettings(**change))
    other = todo(store, settings=wanted)
    assert other.state is State.OTHER_SETTINGS
    assert said in other.reason
    run(store, "r2", **change)
    assert todo(store, settings=wanted).state is State.UP_TO_DATE
    back = todo(store, replace_other_settings=True)
    assert (back.state, back.stages) == (
        State.SETTINGS_CHANGED,
        frozenset({"crops", "deal_report"}),
    )
    old, _, new = said.partition(" → ")
    setting, _, before = old.rpartition(" ")
    assert f"{setting} {new} → {before}" in back.reason


@pytest.mark.parametrize(
    ("settings", "field", "fault"),
    [
        ({"file_name": "{deal}_{photo}"}, "file_name", "no field 'photo'"),
        ({"file_name": "../{image}_{n}"}, "file_name", "starts with a dot"),
        ({"file_name": "{deal}_{image}"}, "file_name", "two items could have one name"),
        ({"canvas": {**CANVAS, "background": "whitish"}}, "background", "'whitish' is no colour"),
        ({"canvas": CANVAS, "max_side_px": 80}, "max_side_px", "90 x 60 is larger"),
    ],
)
def test_what_cannot_be_is_refused_when_settings_are_read(
    settings: dict[str, Any], field: str, fault: str
) -> None:
    with pytest.raises(ConfigError, match=fault) as caught:
        CropSettings.model_validate(settings)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "settings",
    [
        {"edge": "softer"},
        {"edge_px": 0},
        {"edge_px": 21},
        {"canvas": {"width": 90}},
        {"canvas": {**CANVAS, "margin_percent": 50}},
        {"format": "gif"},
        {"max_side_px": 0},
        {"avif_quality": 101},
    ],
)
def test_values_have_limits(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CropSettings.model_validate(settings)
