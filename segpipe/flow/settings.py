"""The settings of the stages. Everything has a default; each stage has its own model."""

from pydantic import Field

from segpipe.flow.stages import Stage
from segpipe.formats.label_format import CocoMasks
from segpipe.settings import Settings
from segpipe.vision.crop import CropFormat
from segpipe.vision.dedup import Compare


class PhotoSettings(Settings):
    """How photos are read."""

    max_megapixels: float = Field(
        default=100.0, gt=0, description="A photo with more pixels is refused before decoding."
    )
    images_in_flight: int = Field(
        default=0,
        ge=0,
        description="Photos of a deal that are worked on at the same time; 0 is as many as keep "
        "the segmenter busy.",
    )


class PromptSettings(Settings):
    """What is asked of photos, and what becomes of the answers."""

    everything: bool = Field(
        default=True,
        description="find_all: look for every item where neither a text nor examples say what to "
        "find. Off: such a photo fails its deal.",
    )
    record_found: bool = Field(
        default=True,
        description="find_all: write what was found among the photo's prompts, as annotations of "
        "the model's.",
    )


class DedupSettings(Settings):
    """Which detections count as the same item."""

    iou_threshold: float = Field(
        default=0.5, ge=0, le=1, description="Overlap (IoU) above which the lower score goes."
    )
    containment_threshold: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="Intersection over the smaller one above which the lower score goes.",
    )
    compare: Compare = Field(
        default=Compare.MASKS,
        description="Measure on masks (boxes where a mask is missing), or on boxes only.",
    )


class CropSettings(Settings):
    """How survivors are cut out."""

    use_mask_crops: bool = Field(
        default=True, description="Cut along the mask; off: cut the box, background and all."
    )
    format: CropFormat = Field(
        default=CropFormat.PNG, description="png keeps transparency; jpg puts white behind."
    )
    padding_px: int = Field(default=0, ge=0, description="Pixels left around the item.")
    jpeg_quality: int = Field(default=92, ge=1, le=100, description="For the format jpg.")


class CheckSettings(Settings):
    """When checks warn; no result depends on it."""

    max_rejected_percent: float = Field(
        default=50.0, ge=0, le=100, description="Warn when dedup rejects more than this."
    )


class ReportSettings(Settings):
    """The report."""

    preview_side_px: int = Field(
        default=1600, ge=64, description="Longest side of the preview of a photo."
    )
    tile_px: int = Field(default=320, ge=64, description="Side of a tile of the contact sheet.")
    columns: int = Field(default=4, ge=1, description="Tiles in a row of the contact sheet.")


class CocoSettings(Settings):
    """The COCO JSON of a deal."""

    masks: CocoMasks = Field(
        default=CocoMasks.RLE,
        description="rle, or polygons along the edges of pixels; a mask with holes, which polygons "
        "cannot say, is rle all the same. Both decode to every pixel of the mask.",
    )


class FlowSettings(Settings):
    """All settings of a mode."""

    photos: PhotoSettings = PhotoSettings()
    prompts: PromptSettings = PromptSettings()
    dedup: DedupSettings = DedupSettings()
    crops: CropSettings = CropSettings()
    coco: CocoSettings = CocoSettings()
    report: ReportSettings = ReportSettings()
    checks: CheckSettings = CheckSettings()


def settings_of(stage: Stage, settings: FlowSettings) -> Settings | None:
    """The part of the settings that decides what a stage gives; None when none does."""
    match stage:
        case Stage.DEDUP:
            return settings.dedup
        case Stage.CROPS:
            return settings.crops
        case Stage.DEAL_REPORT:
            return settings.report
        case Stage.COCO:
            return settings.coco
        case Stage.SEGMENTATION | Stage.REFINEMENT:
            return None
