"""Our batched way through SAM 3's tracker beside transformers' own, one object at a time."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.models.sam3_video.configuration_sam3_video import Sam3VideoConfig
from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoModel

from segpipe.errors import CheckpointError
from segpipe.models.sam3 import SAM3_TRACKER, load_tracker
from segpipe.refiners.loop.loop_item import LoopItem
from segpipe.refiners.loop.loop_settings import LoopSettings, Sam3TrackerConfig
from segpipe.refiners.loop.sam3_tracker import TrackerModel
from segpipe.refiners.loop.square_view import Fit, Square, SquarePrompt
from segpipe.vision.image import RgbImage
from segpipe_tests.refiners.loop.pictures import disc, picture, two_masks
from segpipe_tests.segmenters.sam3.local.tiny import SIDE

MAX_DIFFERENCE = 1e-3
CELL_PX = 14
MASKS = [*two_masks(), disc(100, 40, 20)]


def load(folder: Path, **settings: Any) -> TrackerModel:
    return TrackerModel.load(Sam3TrackerConfig(checkpoint=str(folder), device="cpu", **settings))


@pytest.fixture(scope="module")
def model(tiny_sam3: Path) -> TrackerModel:
    return load(tiny_sam3)


@pytest.fixture(scope="module")
def tracker(tiny_sam3: Path) -> Any:
    """A ``Sam3TrackerModel`` of its own."""
    return load_tracker(tiny_sam3, torch.float32, SAM3_TRACKER).eval()


@pytest.fixture(scope="module")
def video(tiny_sam3: Path) -> Any:
    """The whole checkpoint in transformers' class for videos, loaded by torch alone."""
    whole = Sam3VideoModel(Sam3VideoConfig.from_pretrained(tiny_sam3))
    whole.load_state_dict(load_file(tiny_sam3 / "model.safetensors"))
    return whole.eval()


def questions(model: TrackerModel, embed: Any = "image") -> list[SquarePrompt]:
    items = [LoopItem.start(mask, LoopSettings(embed=embed), model.square) for mask in MASKS]
    return [item.next_prompt() for item in items if isinstance(item, LoopItem)]


@torch.inference_mode()
def features_of_video(video: Any, model: TrackerModel, view: RgbImage) -> list[Tensor]:
    """As Sam3VideoModel prepares them for its tracker."""
    vision = video.detector_model.get_vision_features(model._square_pixels(view)[None])
    maps, _ = video.get_vision_features_for_tracker(vision)
    maps[-1] = maps[-1] + video.tracker_model.no_memory_embedding
    sizes = video.tracker_model.backbone_feature_sizes
    return [one.permute(1, 2, 0).view(1, -1, *size) for one, size in zip(maps, sizes, strict=True)]


@torch.inference_mode()
def asked_alone(tracker: Any, features: list[Tensor], prompt: SquarePrompt) -> Any:
    """What a user of transformers writes for one object."""
    points = [prompt.inside, *([prompt.outside] if prompt.outside else [])]
    return tracker(
        image_embeddings=features,
        input_points=torch.tensor([[points]], dtype=torch.float32) - 0.5,
        input_labels=torch.tensor([[[1, 0][: len(points)]]]),
        input_boxes=torch.tensor([[prompt.box]], dtype=torch.float32) - 0.5,
        input_masks=torch.from_numpy(prompt.logits)[None, None],
        multimask_output=True,
    )


@pytest.mark.parametrize("embed", ["image", "crop"])
def test_objects_asked_together_get_what_transformers_gives_each_alone(
    model: TrackerModel, tracker: Any, video: Any, embed: str
) -> None:
    prompts = questions(model, embed)
    assert {prompt.outside is None for prompt in prompts} == {True, False}
    views = [picture()] * 3 if embed == "image" else [picture(), picture()[::-1], picture()[:90]]
    embeddings = list(model.embed(views[:1] if embed == "image" else views))
    embeddings = embeddings * (len(views) // len(embeddings))
    together = model.decode(embeddings, prompts)
    for view, prompt, ours in zip(views, prompts, together, strict=True):
        theirs = asked_alone(tracker, features_of_video(video, model, view), prompt)
        masks, ious = theirs.pred_masks[0, 0].numpy(), theirs.iou_scores[0, 0].numpy()
        assert masks.std() > 0.1
        assert np.abs(ours.logits - masks).max() < MAX_DIFFERENCE
        assert np.abs(ours.predicted_ious - ious).max() < MAX_DIFFERENCE


def test_the_square_is_that_of_the_checkpoint(model: TrackerModel) -> None:
    assert model.square == Square(SIDE, 4 * SIDE // CELL_PX, Fit.STRETCH)


def test_a_loaded_tracker_has_the_weights_of_its_folder_and_no_others(
    model: TrackerModel, tiny_sam3: Path
) -> None:
    weights = load_file(tiny_sam3 / "model.safetensors")
    backbone, neck, own = "detector_model.vision_encoder.backbone.", "tracker_neck.", "vision"
    for name, loaded in model._model.state_dict().items():
        if name.startswith("vision_encoder.backbone."):
            stored = backbone + name.removeprefix("vision_encoder.backbone.")
        elif name.startswith("vision_encoder.neck."):
            stored = neck + name.removeprefix("vision_encoder.neck.")
        else:
            assert not name.startswith(own)
            stored = f"tracker_model.{name}"
        assert torch.equal(loaded, weights[stored]), name


def test_no_memory_is_said_where_the_decoder_hears_it(
    model: TrackerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = questions(model)[:1]
    (before,) = model.decode(model.embed([picture()]), prompts)
    changed = torch.nn.Parameter(model._model.no_memory_embedding + 1, requires_grad=False)
    monkeypatch.setattr(model._model, "no_memory_embedding", changed)
    (after,) = model.decode(model.embed([picture()]), prompts)
    assert np.abs(before.logits - after.logits).max() > 10 * MAX_DIFFERENCE


@pytest.fixture
def folder(tiny_sam3: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_sam3, tmp_path / "copy"))


def test_a_checkpoint_without_its_tracker_is_refused_rather_than_made_up(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    detector = {name: value for name, value in weights.items() if name.startswith("detector")}
    save_file(detector, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks .* weights of Sam3TrackerModel"):
        load(folder)


def test_nothing_reads_a_text_so_no_tokenizer_is_needed(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()
    assert load(folder).square.side == SIDE


def test_another_model_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "sam2"}))
    with pytest.raises(CheckpointError, match="it is a sam2; needed is a sam3_video"):
        load(folder)
