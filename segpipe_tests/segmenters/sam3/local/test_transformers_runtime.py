"""Our way through SAM 3 beside transformers' own, on the same weights."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file
from transformers.models.sam3.processing_sam3 import box_xyxy_to_cxcywh
from transformers.models.sam3_tracker.processing_sam3_tracker import Sam3TrackerProcessor
from transformers.models.sam3_video.configuration_sam3_video import Sam3VideoConfig
from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoModel

from segpipe.detection import Thresholds
from segpipe.errors import PromptError
from segpipe.prompt import Exemplar, Point
from segpipe.segmenters.sam3.local.local_settings import LocalConfig
from segpipe.segmenters.sam3.local.mask_planes import to_mask
from segpipe.segmenters.sam3.local.sam3_runtime import RawMasks
from segpipe.segmenters.sam3.local.transformers_runtime import TransformersRuntime
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask, iou
from segpipe_tests.segmenters.sam3.local.tiny import SIDE, picture

WIDTH, HEIGHT = 200, 150
ALL = Thresholds(score=0.0, mask=0.5, max_masks=100)
EXEMPLARS = (
    Exemplar(Box(20, 30, 90.5, 100)),
    Exemplar(Box(120, 10, 180, 60), positive=False),
)
BOXES = (Box(20, 30, 90, 100), Box(100, 20, 190, 140), Box(5, 5, 15, 15))
POINTS = (Point(40, 50), Point(100, 100.5, positive=False))


def load(folder: Path, **settings: Any) -> TransformersRuntime:
    config = LocalConfig(checkpoint=str(folder), device="cpu", **settings)
    return TransformersRuntime.load(config)


@pytest.fixture(scope="module")
def runtime(tiny_checkpoint: Path) -> Iterator[TransformersRuntime]:
    loaded = load(tiny_checkpoint)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def reference(tiny_checkpoint: Path) -> Any:
    """The whole of the checkpoint in transformers' class for videos, loaded by torch alone."""
    model = Sam3VideoModel(Sam3VideoConfig.from_pretrained(tiny_checkpoint))
    model.load_state_dict(load_file(tiny_checkpoint / "model.safetensors"))
    return model.eval()


def pixel_values(image: RgbImage) -> torch.Tensor:
    """As Sam3ImageProcessor makes them, by Pillow."""
    small = np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return torch.from_numpy((small / np.float32(255) - 0.5) / 0.5).permute(2, 0, 1)[None].float()


def own_pixel_values(runtime: TransformersRuntime, image: RgbImage) -> torch.Tensor:
    return (runtime.prepare(image).tensor[None].float() / 255 - 0.5) / 0.5


def instance_segmentation(outputs: Any, threshold: float) -> dict[str, torch.Tensor]:
    """Run transformers' post_process_instance_segmentation, whose module needs torchvision."""
    source = Path(transformers.__file__).parent / "models/sam3/image_processing_sam3.py"
    wanted = {"_scale_boxes", "post_process_instance_segmentation"}
    functions = [
        node
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name in wanted
    ]
    assert len(functions) == len(wanted)
    names: dict[str, Any] = {"torch": torch}
    exec(compile(ast.Module(list[ast.stmt](functions), []), str(source), "exec"), names)
    (result,) = names["post_process_instance_segmentation"](
        None, outputs, threshold=threshold, target_sizes=[(HEIGHT, WIDTH)]
    )
    return dict(result)


@torch.inference_mode()
def detect(
    reference: Any,
    tokenizer: Any,
    pixels: torch.Tensor,
    text: str,
    exemplars: tuple[Exemplar, ...] = (),
    threshold: float = 0.0,
) -> dict[str, torch.Tensor]:
    """What a user of transformers writes, with what Sam3Processor would have prepared."""
    inputs: dict[str, Any] = dict(
        tokenizer(text, padding="max_length", max_length=32, return_tensors="pt")
    )
    if exemplars:
        boxes = torch.tensor([[one.box for one in exemplars]])
        scale = torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
        inputs["input_boxes"] = box_xyxy_to_cxcywh(boxes / scale)
        inputs["input_boxes_labels"] = torch.tensor([[int(one.positive) for one in exemplars]])
    outputs = reference.detector_model(pixel_values=pixels, **inputs)
    return instance_segmentation(outputs, threshold)


@torch.inference_mode()
def track(
    runtime: TransformersRuntime, reference: Any, pixels: torch.Tensor, **prompts: Any
) -> Any:
    """The tracker on features as transformers' Sam3VideoModel prepares them."""
    vision = reference.detector_model.get_vision_features(pixels)
    maps, _ = reference.get_vision_features_for_tracker(vision)
    maps[-1] = maps[-1] + reference.tracker_model.no_memory_embedding
    sizes = reference.tracker_model.backbone_feature_sizes
    embeddings = [
        one.permute(1, 2, 0).view(1, -1, *size) for one, size in zip(maps, sizes, strict=True)
    ]
    return runtime._tracker(image_embeddings=embeddings, **prompts)


def to_tracker(coordinates: torch.Tensor, *, boxes: bool = False) -> torch.Tensor:
    """As Sam3TrackerProcessor scales them."""
    scaled = Sam3TrackerProcessor._normalize_coordinates(
        None, SIDE, coordinates, (HEIGHT, WIDTH), is_bounding_box=boxes
    )
    return torch.as_tensor(scaled)


def masks_of(raw: RawMasks) -> list[Mask]:
    return [to_mask(plane, raw.level, width=WIDTH, height=HEIGHT) for plane in raw.planes]


def assert_same_masks(ours: list[Mask], theirs: torch.Tensor) -> None:
    assert len(ours) == len(theirs)
    for mask, full in zip(ours, theirs.numpy(), strict=True):
        expected = Mask.from_full(full)
        assert mask.is_empty == expected.is_empty
        assert expected.is_empty or iou(mask, expected) > 0.99


@pytest.mark.parametrize(
    ("text", "exemplars"),
    [("red chip", ()), (None, EXEMPLARS), ("red chip", EXEMPLARS), ("Größe 大 ✂", ())],
)
def test_text_and_exemplars_find_what_transformers_finds(
    runtime: TransformersRuntime,
    reference: Any,
    text: str | None,
    exemplars: tuple[Exemplar, ...],
) -> None:
    image = picture(width=WIDTH, height=HEIGHT)
    (features,) = runtime.encode([runtime.prepare(image)])
    found = runtime.find(features, text, exemplars, ALL)
    pixels = own_pixel_values(runtime, image)
    theirs = detect(reference, runtime._tokenizer, pixels, text or "visual", exemplars)
    order = theirs["scores"].argsort(descending=True, stable=True)
    np.testing.assert_allclose(found.scores, theirs["scores"][order].numpy(), atol=1e-6)
    assert_same_masks(masks_of(found), theirs["masks"][order])


def test_a_picture_scaled_by_pillow_gives_the_same_masks(
    runtime: TransformersRuntime, reference: Any
) -> None:
    image = picture(width=WIDTH, height=HEIGHT, seed=3)
    (features,) = runtime.encode([runtime.prepare(image)])
    found = runtime.find(features, "chip", (), ALL)
    theirs = detect(reference, runtime._tokenizer, pixel_values(image), "chip")
    order = theirs["scores"].argsort(descending=True, stable=True)
    np.testing.assert_allclose(found.scores, theirs["scores"][order].numpy(), atol=2e-3)
    for mask, full in zip(masks_of(found), theirs["masks"][order].numpy(), strict=True):
        assert iou(mask, Mask.from_full(full)) > 0.98


def test_thresholds_leave_out_what_transformers_leaves_out(
    runtime: TransformersRuntime, reference: Any
) -> None:
    image = picture(width=WIDTH, height=HEIGHT)
    (features,) = runtime.encode([runtime.prepare(image)])
    middle = float(np.median(runtime.find(features, "chip", (), ALL).scores))
    found = runtime.find(features, "chip", (), Thresholds(score=middle + 1e-6))
    pixels = own_pixel_values(runtime, image)
    theirs = detect(reference, runtime._tokenizer, pixels, "chip", threshold=middle + 1e-6)
    assert 0 < len(found) == len(theirs["scores"])
    assert len(runtime.find(features, "chip", (), Thresholds(score=0.0, max_masks=3))) == 3


def test_points_mean_what_they_mean_to_transformers(
    runtime: TransformersRuntime, reference: Any
) -> None:
    image = picture(width=WIDTH, height=HEIGHT)
    (features,) = runtime.encode([runtime.prepare(image)])
    raw = runtime.at_points(features, POINTS, 0.5)
    coordinates = torch.tensor([[[[one.x, one.y] for one in POINTS]]])
    theirs = track(
        runtime,
        reference,
        own_pixel_values(runtime, image),
        input_points=to_tracker(coordinates),
        input_labels=torch.tensor([[[1, 0]]]),
    )
    np.testing.assert_allclose(raw.planes, theirs.pred_masks[0, 0].numpy(), atol=1e-4)
    np.testing.assert_allclose(raw.scores, theirs.iou_scores[0, 0].numpy(), atol=1e-6)
    assert raw.level == 0.0
    whole = torch.nn.functional.interpolate(theirs.pred_masks[0], (HEIGHT, WIDTH), mode="bilinear")
    assert_same_masks(masks_of(raw), whole[0] > 0)


def test_boxes_hold_what_they_hold_for_transformers(
    runtime: TransformersRuntime, reference: Any
) -> None:
    image = picture(width=WIDTH, height=HEIGHT)
    (features,) = runtime.encode([runtime.prepare(image)])
    raw = runtime.in_boxes(features, BOXES, ((),) * len(BOXES), 0.5)
    theirs = track(
        runtime,
        reference,
        own_pixel_values(runtime, image),
        input_boxes=to_tracker(torch.tensor(BOXES), boxes=True)[None],
        multimask_output=False,
    )
    np.testing.assert_allclose(raw.planes, theirs.pred_masks[0, :, 0].numpy(), atol=1e-4)
    np.testing.assert_allclose(raw.scores, theirs.iou_scores[0, :, 0].numpy(), atol=1e-6)


def test_a_box_is_answered_alike_alone_and_among_others(runtime: TransformersRuntime) -> None:
    (features,) = runtime.encode([runtime.prepare(picture(width=WIDTH, height=HEIGHT))])
    points = ((), (Point(150, 60), Point(110, 30, False)), (Point(10, 10),))
    together = runtime.in_boxes(features, BOXES, points, 0.5)
    for index, (box, of_box) in enumerate(zip(BOXES, points, strict=True)):
        alone = runtime.in_boxes(features, [box], [of_box], 0.5)
        np.testing.assert_allclose(together.planes[index], alone.planes[0], atol=1e-4)
    without = runtime.in_boxes(features, BOXES, ((),) * 3, 0.5)
    assert not np.allclose(together.planes[1], without.planes[1], atol=1e-2)


def test_each_point_of_many_is_answered_as_if_it_were_alone(runtime: TransformersRuntime) -> None:
    (features,) = runtime.encode([runtime.prepare(picture(width=WIDTH, height=HEIGHT))])
    points = [Point(30, 40), Point(120, 90), Point(199, 149)]
    many = runtime.at_each_point(features, points, 0.5, 0.0)
    alone = [runtime.at_points(features, [point], 0.5) for point in points]
    np.testing.assert_allclose(
        many.planes, np.concatenate([one.planes for one in alone]), atol=1e-4
    )
    some = runtime.at_each_point(features, points, 0.5, float(np.median(many.scores)))
    assert len(some) == 5


def test_images_of_a_batch_are_encoded_as_if_they_were_alone(runtime: TransformersRuntime) -> None:
    images = [picture(seed=1), picture(width=300, height=90, seed=2), picture(seed=3)]
    prepared = [runtime.prepare(image) for image in images]
    together = runtime.encode(prepared)
    for one, features in zip(prepared, together, strict=True):
        (alone,) = runtime.encode([one])
        for ours, theirs in zip(features.detector, alone.detector, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
        for ours, theirs in zip(features.tracker, alone.tracker, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_features_of_one_image_do_not_keep_those_of_its_batch(runtime: TransformersRuntime) -> None:
    first, _ = runtime.encode([runtime.prepare(picture(seed=seed)) for seed in (1, 2)])
    for level in (*first.detector, *first.tracker):
        assert level.untyped_storage().nbytes() == level.numel() * level.element_size()


def test_both_models_share_one_backbone(runtime: TransformersRuntime) -> None:
    assert runtime._tracker.vision_encoder.backbone is runtime._detector.vision_encoder.backbone


def test_a_text_of_exactly_the_limit_is_read_and_one_more_letter_is_refused(
    runtime: TransformersRuntime,
) -> None:
    (features,) = runtime.encode([runtime.prepare(picture())])
    runtime.find(features, "x" * 30, (), ALL)  # and a start and an end
    with pytest.raises(PromptError, match=r"33 tokens long.*reads 32") as caught:
        runtime.find(features, "x" * 31, (), ALL)
    assert caught.value.field == "text"


def test_bfloat16_answers_nearly_the_same(
    runtime: TransformersRuntime, tiny_checkpoint: Path
) -> None:
    rough = load(tiny_checkpoint, dtype="bfloat16")
    image = picture(width=WIDTH, height=HEIGHT)
    (features,), (rough_features,) = (one.encode([one.prepare(image)]) for one in (runtime, rough))
    for exact, near in (
        (
            runtime.find(features, "chip", EXEMPLARS, ALL),
            rough.find(rough_features, "chip", EXEMPLARS, ALL),
        ),
        (runtime.at_points(features, POINTS, 0.5), rough.at_points(rough_features, POINTS, 0.5)),
        (
            runtime.in_boxes(features, BOXES, ((),) * 3, 0.5),
            rough.in_boxes(rough_features, BOXES, ((),) * 3, 0.5),
        ),
    ):
        assert near.planes.dtype == np.float32
        np.testing.assert_allclose(near.scores, exact.scores, atol=0.05)
    rough.close()
