"""Every kind of segmenter through its door: built from its settings, asked by a deal."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from segpipe.flow.deal import DealTask, process_deal
from segpipe.prompt import Mode
from segpipe.segmenters.build_segmenter import (
    AnySegmenterConfig,
    RecursiveConfig,
    Sam3Config,
    TiledConfig,
    build_segmenter,
)
from segpipe.segmenters.classical import ClassicalConfig
from segpipe.segmenters.local_data import LocalData
from segpipe.segmenters.sam3.local import EverythingSettings, LocalConfig
from segpipe.segmenters.sam3.segmind import SegmindConfig
from segpipe.segmenters.sam3.service import InternalConfig
from segpipe.vision.mask_codecs import to_base64
from segpipe_tests.deals import make_deal, make_tools
from segpipe_tests.drawing import FIRST, SECOND, boxed, draw
from segpipe_tests.loopback import Loopback, json_reply
from segpipe_tests.segmenters.sam3.local.tiny import make_tiny_checkpoint
from segpipe_tests.segmenters.sam3.segmind.double import MASKS
from segpipe_tests.server.running import running

FEW = EverythingSettings(points_per_side=4, pred_iou_thresh=0, stability_score_thresh=0)


@pytest.fixture
def backend(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AnySegmenterConfig]:
    with ExitStack() as stack:
        match request.param:
            case "classical":
                yield ClassicalConfig()
            case "recursive":
                yield RecursiveConfig()
            case "tiled":
                yield TiledConfig(tile_px=100, min_photo_px=0)
            case "segmind":
                monkeypatch.setenv("SEGMIND_API_KEY", "key")
                server = stack.enter_context(
                    Loopback(json_reply({"masks": list(map(to_base64, MASKS))}))
                )
                yield Sam3Config(backend=SegmindConfig(endpoint=server.url))
            case "internal":
                service = stack.enter_context(running(lambda: build_segmenter(ClassicalConfig())))
                service.wait_for_model()
                yield Sam3Config(backend=InternalConfig(url=service.url))
            case "transformers":
                folder = make_tiny_checkpoint(tmp_path / "weights")
                yield Sam3Config(backend=local(folder, device="cpu"))
            case "sam3":
                yield Sam3Config(backend=stack.enter_context(meta_on_cpu(tmp_path / "weights")))


def local(folder: Path, **settings: str) -> LocalConfig:
    return LocalConfig.model_validate(
        {"checkpoint": str(folder), "threshold": 0.0, "max_masks": 3, "everything": FEW, **settings}
    )


@contextmanager
def meta_on_cpu(folder: Path) -> Iterator[LocalConfig]:
    """Meta's runtime of tiny weights, with every thread steered to the CPU."""
    import torch

    from segpipe.segmenters.sam3.local.meta_runtime import MetaRuntime
    from segpipe_tests.segmenters.sam3.local import meta_on_cpu as stand_ins

    stand_ins.import_sam3()
    with pytest.MonkeyPatch.context() as patch:
        stand_ins.make_tiny_checkpoint(folder, patch)
        compute, load = MetaRuntime._computing, MetaRuntime.load

        @contextmanager
        def compute_on_cpu(self: MetaRuntime) -> Iterator[None]:
            with stand_ins.OnCpu(), compute(self):
                yield

        def load_on_cpu(config: LocalConfig) -> MetaRuntime:
            with stand_ins.pretending_cuda(patch):
                return load(config)

        patch.setattr(MetaRuntime, "_computing", compute_on_cpu)
        patch.setattr(MetaRuntime, "load", load_on_cpu)
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield local(folder, runtime="sam3", device="cuda", dtype="float32")
        finally:
            torch.set_num_threads(before)


KINDS = ["classical", "recursive", "tiled", "segmind", "internal", "transformers", "sam3"]


@pytest.mark.parametrize("backend", KINDS, indirect=True)
def test_every_kind_answers_a_deal_in_both_modes(
    backend: AnySegmenterConfig, tmp_path: Path
) -> None:
    store = make_deal(tmp_path / "data", "lot", items=(3,))
    draw(store, "a", boxed("one", FIRST), boxed("two", SECOND))

    async def process(mode: Mode) -> int:
        segmenter = build_segmenter(backend, LocalData(tmp_path / "data"))
        try:
            revision = await segmenter.revision()
            assert revision == await segmenter.revision()
            task = DealTask("lot", f"run-{mode}", mode=mode)
            outcome = await process_deal(store, task, make_tools(segmenter))
        finally:
            await segmenter.aclose()
        snapshot = store.current("lot", mode)
        assert snapshot
        with snapshot.open("segmentation", "images.parquet") as file:
            (row,) = pq.read_table(file).to_pylist()
        assert row["segmenter_id"] == segmenter.id
        return outcome.summary.counts.detections

    assert asyncio.run(process(Mode.FIND_ALL)) >= 1
    assert asyncio.run(process(Mode.INSIDE_BOX)) == 2
