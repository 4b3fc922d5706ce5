"""Every item on a fairly even background."""

from segpipe.detection import Detection
from segpipe.segmenters.classical.config import ClassicalConfig
from segpipe.segmenters.classical.items import look_at, to_detection
from segpipe.vision.image import RgbImage


def find_all(image: RgbImage, config: ClassicalConfig) -> tuple[Detection, ...]:
    """Find separate goods in an upright RGB image, (h, w, 3) uint8; the best score comes first."""
    look = look_at(image, config)
    if look is None:
        return ()
    return tuple(
        to_detection(item, item.score, work_shape=look.lab.shape, image=image)
        for item in look.items[: config.max_detections]
    )
