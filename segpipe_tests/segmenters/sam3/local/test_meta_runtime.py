"""Meta's own classes, made tiny and steered to the CPU, behind the contract of a runtime."""

import ast
import re
import sys
import weakref
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file

from segpipe.detection import Thresholds
from segpipe.errors import CheckpointError, PromptError
from segpipe.models.checkpoint import locate
from segpipe.models.sam3 import SAM3
from segpipe.prompt import Exemplar, Point
from segpipe.segmenters.sam3.local import meta_weights
from segpipe.segmenters.sam3.local.local_settings import LocalConfig
from segpipe.segmenters.sam3.local.mask_planes import to_mask
from segpipe.segmenters.sam3.local.meta_runtime import MetaRuntime
from segpipe.segmenters.sam3.local.sam3_runtime import RawMasks
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage
from segpipe_tests.segmenters.sam3.local.meta_on_cpu import (
    QUERIES,
    SIDE,
    OnCpu,
    import_sam3,
    make_tiny_checkpoint,
    pretending_cuda,
)

WIDTH, HEIGHT = 150, 90
EVERYTHING = Thresholds(score=0.0, mask=0.5, max_masks=100)
TEXT = "red cup"
CUP = Exemplar(Box(10, 20, 60, 70))
LID = Exemplar(Box(90, 5, 140, 30), positive=False)
CUDA = torch.device("cuda", 0)


def config(folder: Path) -> LocalConfig:
    return LocalConfig(runtime="sam3", checkpoint=str(folder), device="cuda", dtype="float32")


def picture(seed: int = 0) -> RgbImage:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 15, 3)).astype(np.uint8)
    return np.kron(coarse, np.ones((10, 10, 1), np.uint8))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads of so small a model wait for each other more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import_sam3()
    with pytest.MonkeyPatch.context() as monkeypatch:
        return make_tiny_checkpoint(tmp_path_factory.mktemp("meta"), monkeypatch)


@pytest.fixture(scope="module")
def loaded(folder: Path) -> MetaRuntime:
    with pytest.MonkeyPatch.context() as monkeypatch, pretending_cuda(monkeypatch):
        return MetaRuntime.load(config(folder))


@pytest.fixture
def runtime(loaded: MetaRuntime) -> Iterator[MetaRuntime]:
    with OnCpu():
        yield loaded


@pytest.fixture
def features(runtime: MetaRuntime) -> Any:
    return runtime.encode([runtime.prepare(picture())])[0]


def full_masks(raw: RawMasks) -> NDArray[np.bool_]:
    return np.stack(
        [
            to_mask(plane, raw.level, width=WIDTH, height=HEIGHT).to_full().astype(bool)
            for plane in raw.planes
        ]
    )


def iou(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> NDArray[np.float64]:
    both = (ours & theirs).sum((1, 2))
    either = (ours | theirs).sum((1, 2))
    return np.where(either, both / np.maximum(either, 1), 1.0)


def same(one: RawMasks, other: RawMasks) -> bool:
    return np.allclose(one.planes, other.planes, atol=1e-4) and np.allclose(
        one.scores, other.scores, atol=1e-5
    )


def metas_state(runtime: MetaRuntime) -> tuple[Any, dict[str, Any]]:
    """Meta's own processor, and its state of the picture."""
    from sam3.model.sam3_image_processor import Sam3Processor

    processor = Sam3Processor(runtime._model, resolution=SIDE, confidence_threshold=0.0)
    return processor, processor.set_image(Image.fromarray(picture()))


@pytest.mark.parametrize(
    ("text", "exemplars"),
    [(TEXT, []), (None, [CUP]), (None, [CUP, LID]), (TEXT, [LID, CUP])],
    ids=["text", "exemplar", "exemplars", "both"],
)
def test_text_and_exemplars_find_what_metas_processor_finds(
    runtime: MetaRuntime, features: Any, text: str | None, exemplars: list[Exemplar]
) -> None:
    processor, state = metas_state(runtime)
    if text:
        processor.set_text_prompt(text, state)
    for exemplar in exemplars:
        x1, y1, x2, y2 = exemplar.box
        centred = [(x1 + x2) / 2 / WIDTH, (y1 + y2) / 2 / HEIGHT]
        size = [(x2 - x1) / WIDTH, (y2 - y1) / HEIGHT]
        processor.add_geometric_prompt(centred + size, exemplar.positive, state)
    order = state["scores"].argsort(descending=True, stable=True)

    found = runtime.find(features, text, exemplars, EVERYTHING)

    assert len(found) == QUERIES
    assert len(np.unique(found.scores)) > QUERIES // 2
    np.testing.assert_allclose(found.scores, state["scores"][order].numpy(), atol=1e-5)
    theirs = state["masks"][order, 0].numpy()
    assert 0.01 < theirs.mean() < 0.99
    assert iou(full_masks(found), theirs).min() > 0.99


@pytest.mark.parametrize(
    "points",
    [[Point(30, 40)], [Point(30, 40), Point(120, 80, positive=False), Point(35.5, 44.25)]],
    ids=["one", "several"],
)
def test_points_mean_what_predict_inst_says(
    runtime: MetaRuntime, features: Any, points: list[Point]
) -> None:
    _, state = metas_state(runtime)
    masks, scores, _ = runtime._model.predict_inst(
        state,
        point_coords=np.array([(one.x, one.y) for one in points]),
        point_labels=np.array([int(one.positive) for one in points]),
        multimask_output=True,
    )

    found = runtime.at_points(features, points, 0.5)

    np.testing.assert_allclose(found.scores, scores, atol=1e-5)
    assert iou(full_masks(found), masks.astype(bool)).min() > 0.99


def test_boxes_hold_what_predict_inst_says(runtime: MetaRuntime, features: Any) -> None:
    boxes = [Box(10, 20, 60, 70), Box(80, 10, 149.5, 60)]
    refining = [[], [Point(100, 30), Point(90, 50, positive=False)]]
    _, state = metas_state(runtime)

    found = runtime.in_boxes(features, boxes, refining, 0.5)

    for index, (box, points) in enumerate(zip(boxes, refining, strict=True)):
        prompt = {
            "point_coords": np.array([[(one.x, one.y) for one in points]]),
            "point_labels": np.array([[int(one.positive) for one in points]]),
        }
        masks, scores, _ = runtime._model.predict_inst(
            state, box=np.array([box]), multimask_output=False, **prompt if points else {}
        )
        np.testing.assert_allclose(found.scores[index], scores[0], atol=1e-5)
        one = full_masks(found)[index][None]
        assert iou(one, masks.astype(bool)).min() > 0.99


def test_an_answer_does_not_depend_on_the_other_boxes(runtime: MetaRuntime, features: Any) -> None:
    boxes = [Box(10, 20, 60, 70), Box(80, 10, 140, 60), Box(0, 0, 150, 90)]
    points = [[Point(30, 40)], [], [Point(75, 45)]]
    together = runtime.in_boxes(features, boxes, points, 0.5)
    for index in range(3):
        alone = runtime.in_boxes(features, [boxes[index]], [points[index]], 0.5)
        assert same(together.take(np.array([index])), alone)


def test_points_refine_their_box(runtime: MetaRuntime, features: Any) -> None:
    box = Box(10, 20, 60, 70)
    bare = runtime.in_boxes(features, [box], [[]], 0.5)
    refined = runtime.in_boxes(features, [box], [[Point(20, 60, positive=False)]], 0.5)
    assert not same(bare, refined)


def test_each_point_is_asked_for_itself(runtime: MetaRuntime, features: Any) -> None:
    points = [Point(30, 40), Point(120, 80)]
    together = runtime.at_each_point(features, points, 0.5, 0.0)
    assert len(together) == 6
    for index, point in enumerate(points):
        alone = runtime.at_points(features, [point], 0.5)
        assert same(together.take(np.arange(3 * index, 3 * index + 3)), alone)

    least = float(np.median(together.scores))
    good = runtime.at_each_point(features, points, 0.5, least)
    assert same(good, together.take(np.flatnonzero(together.scores >= least)))


def test_thresholds_choose_the_best(runtime: MetaRuntime, features: Any) -> None:
    every = runtime.find(features, TEXT, [], EVERYTHING)
    assert list(every.scores) == sorted(every.scores, reverse=True)
    assert every.level == 0
    assert len(runtime.find(features, TEXT, [], Thresholds(0.0, 0.5, max_masks=3))) == 3
    least = float(every.scores[4])
    some = runtime.find(features, TEXT, [], Thresholds(least, 0.7, 100))
    assert len(some) == 5
    assert some.level == pytest.approx(np.log(0.7 / 0.3))
    assert len(runtime.find(features, TEXT, [], Thresholds(1.0, 0.5, 100))) == 0


def test_pictures_of_a_batch_are_read_as_if_alone(runtime: MetaRuntime, features: Any) -> None:
    batch = runtime.encode([runtime.prepare(picture(1)), runtime.prepare(picture())])
    assert same(
        runtime.find(batch[1], TEXT, [], EVERYTHING), runtime.find(features, TEXT, [], EVERYTHING)
    )
    levels = batch[1].detector + batch[1].tracker
    assert all(level.untyped_storage().nbytes() == level.nbytes for level in levels)


def test_questions_leave_the_features_as_they_are(runtime: MetaRuntime, features: Any) -> None:
    before = runtime.find(features, TEXT, [], EVERYTHING)
    runtime.find(features, None, [CUP, LID], EVERYTHING)
    runtime.at_points(features, [Point(1, 1)], 0.5)
    runtime.in_boxes(features, [CUP.box], [[]], 0.5)
    assert same(runtime.find(features, TEXT, [], EVERYTHING), before)


def test_exemplars_without_words_are_not_read_with_the_words_of_before(
    runtime: MetaRuntime, features: Any
) -> None:
    before = runtime.find(features, None, [CUP], EVERYTHING)
    runtime.find(features, TEXT, [CUP], EVERYTHING)
    assert same(runtime.find(features, None, [CUP], EVERYTHING), before)


def test_a_text_of_32_tokens_is_read_and_a_longer_one_is_refused(
    runtime: MetaRuntime, features: Any
) -> None:
    longest = " ".join(["a"] * 30)
    assert len(runtime.find(features, longest, [], EVERYTHING)) == QUERIES
    with pytest.raises(PromptError, match=r"33 tokens long.*32 at most") as failure:
        runtime.find(features, f"{longest} a", [], EVERYTHING)
    assert failure.value.field == "text"


def test_in_fewer_bits_the_answer_is_about_the_same(
    runtime: MetaRuntime, features: Any, loaded: MetaRuntime
) -> None:
    coarse = MetaRuntime(
        loaded._model, revision="", device=torch.device("cpu"), dtype=torch.bfloat16
    )
    read = coarse.encode([coarse.prepare(picture())])[0]
    assert read.detector[0].dtype == torch.bfloat16
    fine, rough = (
        one.at_points(two, [Point(30, 40)], 0.5)
        for one, two in ((runtime, features), (coarse, read))
    )
    assert not same(fine, rough)
    np.testing.assert_allclose(rough.scores, fine.scores, atol=0.05)


def test_it_says_where_it_computes_and_with_which_weights(
    runtime: MetaRuntime, folder: Path
) -> None:
    assert runtime.device == "cuda:0"
    assert runtime.revision == locate(config(folder), SAM3).revision


@pytest.mark.usefixtures("loaded")
def test_loading_leaves_the_autocast_of_the_thread_as_it_was() -> None:
    assert not torch.is_autocast_enabled("cuda")


def test_closing_lets_go_of_the_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pretending_cuda(monkeypatch):
        closing = MetaRuntime.load(config(folder))
        model = weakref.ref(closing._model)
        closing.close()
    assert model() is None


def test_every_weight_of_the_checkpoint_is_in_the_model(folder: Path, loaded: MetaRuntime) -> None:
    weights = load_file(folder / "sam3.safetensors")
    assert any(name.startswith("detector.") for name in weights)
    assert any(name.startswith("tracker.") for name in weights)
    own = loaded._model.state_dict()
    for name, tensor in weights.items():
        renamed = name.replace("detector.", "").replace(
            "tracker.", "inst_interactive_predictor.model."
        )
        assert torch.equal(own[renamed], tensor)


def refuses_to_load(folder: Path, monkeypatch: pytest.MonkeyPatch) -> CheckpointError:
    with pretending_cuda(monkeypatch), pytest.raises(CheckpointError) as failure:
        MetaRuntime.load(config(folder))
    assert failure.value.field == "checkpoint"
    return failure.value


def spoiled(folder: Path, tmp_path: Path) -> Path:
    """Another folder with the vocabulary alone."""
    (tmp_path / meta_weights.VOCABULARY).symlink_to(folder / meta_weights.VOCABULARY)
    return tmp_path


def test_weights_with_other_names_are_refused_and_it_says_what_to_do(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = spoiled(folder, tmp_path)
    save_file({"detector_model.vision.weight": torch.zeros(1)}, other / "model.safetensors")
    error = refuses_to_load(other, monkeypatch)
    assert "those of transformers have other names" in error.message
    assert "torch.load('sam3.pt', weights_only=True)" in error.message


def test_one_missing_weight_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = spoiled(folder, tmp_path)
    weights = load_file(folder / "sam3.safetensors")
    del weights["tracker.no_mem_embed"]
    save_file(weights, other / "sam3.safetensors")
    error = refuses_to_load(other, monkeypatch)
    assert "lack 1 of those" in error.message
    assert "inst_interactive_predictor.model.no_mem_embed" in error.message


def test_weights_of_another_size_are_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = spoiled(folder, tmp_path)
    weights = load_file(folder / "sam3.safetensors")
    weights["tracker.no_mem_embed"] = torch.zeros(3)
    save_file(weights, other / "sam3.safetensors")
    assert "of another model" in refuses_to_load(other, monkeypatch).message


def test_weights_in_several_files_are_put_together(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = spoiled(folder, tmp_path)
    weights = sorted(load_file(folder / "sam3.safetensors").items())
    save_file(dict(weights[::2]), other / "1.safetensors")
    save_file(dict(weights[1::2]), other / "2.safetensors")
    with pretending_cuda(monkeypatch):
        MetaRuntime.load(config(other))


def test_a_truncated_file_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = spoiled(folder, tmp_path)
    (other / "sam3.safetensors").write_bytes((folder / "sam3.safetensors").read_bytes()[:100])
    assert "damaged" in refuses_to_load(other, monkeypatch).message


def test_without_cuda_it_says_so_and_names_the_other_runtime(tmp_path: Path) -> None:
    on_cpu = config(tmp_path).model_copy(update={"device": "cpu"})
    with pytest.raises(CheckpointError, match=r"CUDA only.*on cpu.*transformers") as failure:
        MetaRuntime.load(on_cpu)
    assert failure.value.field == "runtime"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meta_weights, "PACKAGES", ("torch", "nonesuch"))
    with pytest.raises(CheckpointError, match=r"needs nonesuch; install segpipe\[sam3\]"):
        meta_weights.require_meta_package(CUDA)


def test_a_repository_is_refused_before_anything_is_downloaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import_sam3()
    error = refuses_to_load(Path("facebook/sam3"), monkeypatch)
    assert "there is none at 'facebook/sam3'" in error.message
    assert "torch.load('sam3.pt', weights_only=True)" in error.message


@pytest.mark.usefixtures("folder")
def test_what_the_package_imports_and_does_not_declare_is_looked_for() -> None:
    imported = set()
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "sam3" and module.__file__:
            for node in ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body:
                if isinstance(node, ast.Import):
                    imported |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    imported.add(str(node.module).split(".")[0])
    declared = {
        re.split(r"[^\w-]", line)[0].replace("-", "_")
        for line in metadata.requires("sam3") or ()
        if "extra" not in line
    }
    ours = {"torch", "PIL", "sam3"}
    undeclared = imported - declared - ours - sys.stdlib_module_names
    assert undeclared == set(meta_weights.PACKAGES) - ours


def test_a_missing_vocabulary_says_where_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meta_weights, "VOCABULARY", "nonesuch.gz")
    with pytest.raises(CheckpointError, match=r"nonesuch\.gz; install open_clip_torch"):
        meta_weights.build_meta_model(tmp_path, CUDA)


def test_pickles_are_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / meta_weights.VOCABULARY).touch()
    (tmp_path / "sam3.pt").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(CheckpointError, match=r"no safetensors.*pickle, sam3\.pt"):
        meta_weights.build_meta_model(tmp_path, CUDA)
