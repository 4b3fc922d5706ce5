from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from segpipe.scenes import make_scene
from segpipe.segmenters.classical import ClassicalConfig
from segpipe.vision.image import RgbImage
from segpipe_tests.scenes import Matching, iou, match
from segpipe_tests.segmenters.classical.pictures import BLUE, RED, disc, find_all, full, table

# Read off the picture by eye, (x, y), row by row.
COIN_CENTRES = [
    *((44, 54), (101, 56), (156, 51), (216, 51), (276, 53), (335, 44)),
    *((46, 125), (103, 126), (154, 127), (206, 125), (271, 120), (337, 125)),
    *((44, 197), (102, 196), (154, 198), (213, 193), (273, 195), (347, 187)),
    *((46, 260), (114, 266), (173, 262), (244, 264), (301, 264), (358, 268)),
]
SCENES = 50
THREADS = 2


def coins() -> RgbImage:
    return np.repeat(photo("coins")[..., None], 3, axis=2)


def photo(name: str) -> NDArray[np.uint8]:
    """One of the photos that scikit-image carries."""
    pixels: NDArray[np.uint8] = getattr(data, name)()
    return pixels


def assert_one_on_each_coin(image: RgbImage, scale: float = 1.0) -> None:
    masks = [full(detection) for detection in find_all(image)]
    assert len(masks) == len(COIN_CENTRES) == 24
    for x, y in COIN_CENTRES:
        holding = [mask for mask in masks if mask[round(y * scale), round(x * scale)]]
        assert len(holding) == 1, (x, y)


def test_coins_gives_exactly_one_detection_on_each_coin() -> None:
    assert_one_on_each_coin(coins())


@pytest.mark.parametrize("scale", [0.75, 2.5])
def test_coins_are_found_at_other_sizes_too(scale: float) -> None:
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(coins(), None, fx=scale, fy=scale, interpolation=interpolation)
    assert_one_on_each_coin(np.asarray(resized, np.uint8), scale)


def test_dark_coins_on_a_bright_table_are_found_too() -> None:
    assert_one_on_each_coin(255 - coins())


def matching_of(seed: int) -> Matching:
    scene = make_scene(seed, width=640, height=480)
    return match([full(detection) for detection in find_all(scene.image)], scene.masks)


def test_scenes_are_segmented_well_on_average() -> None:
    """Mean IoU of the matched at least .85 and F1 at least .93 over 50 scenes."""
    with ThreadPoolExecutor(THREADS) as pool:
        matchings = list(pool.map(matching_of, range(SCENES)))

    assert np.mean([matching.mean_iou for matching in matchings]) >= 0.85
    assert np.mean([matching.f1 for matching in matchings]) >= 0.93


def test_the_cup_on_its_saucer_is_one_item() -> None:
    (cup,) = find_all(photo("coffee"))
    for x, y in [(300, 200), (150, 200), (460, 180), (320, 30)]:  # coffee, saucer, saucer, rim
        assert full(cup)[y, x]


@pytest.mark.parametrize("name", ["chelsea", "rocket", "astronaut", "immunohistochemistry"])
def test_photos_of_other_things_give_no_confetti(name: str) -> None:
    image = photo(name)
    found = find_all(image)

    assert 1 <= len(found) <= 30
    smallest = ClassicalConfig().min_area_fraction * image.shape[0] * image.shape[1]
    assert all(full(detection).sum() >= 0.9 * smallest for detection in found)


@pytest.mark.parametrize(
    ("width", "height"),
    [(1, 1), (1, 300), (300, 1), (15, 15), (16, 16), (2000, 20), (20, 2000), (640, 480)],
)
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_one_colour_holds_no_item(width: int, height: int, grey: int) -> None:
    assert find_all(np.full((height, width, 3), grey, np.uint8)) == ()


def test_noise_holds_no_item() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    assert find_all(noise) == ()


@pytest.mark.parametrize(
    ("x", "y"), [(0, 120), (319, 120), (160, 0), (160, 239), (160, 120)], ids=str
)
def test_an_item_that_the_photo_cuts_reaches_the_border(x: int, y: int) -> None:
    image = table()
    truth = disc(image, x, y, 40)
    (found,) = find_all(image)
    assert iou(full(found), truth) > 0.95


@pytest.mark.parametrize("part", [0.3, 0.6, 0.85])
def test_an_item_may_fill_most_of_the_frame(part: float) -> None:
    image = table()
    truth = np.zeros(image.shape[:2], np.uint8)
    height, width = round(240 * part**0.5), round(320 * part**0.5)
    top, left = (240 - height) // 2, (320 - width) // 2
    truth[top : top + height, left : left + width] = 1
    image[truth > 0] = BLUE
    (found,) = find_all(image)
    assert iou(full(found), truth) > 0.95


def test_a_cut_off_corner_beside_the_table_is_no_item() -> None:
    image = table()
    cv2.fillPoly(image, [np.array([[0, 0], [70, 0], [0, 50]])], RED)
    assert find_all(image) == ()


@pytest.mark.parametrize(("width", "height"), [(4000, 3000), (6000, 200)])
def test_large_photos_get_masks_at_their_own_size(width: int, height: int) -> None:
    image = table(width, height)
    truth = disc(image, width // 3, height // 2, height // 4)
    (found,) = find_all(image)
    assert full(found).shape == (height, width)
    assert iou(full(found), truth) > 0.98


def test_the_best_score_comes_first_and_contrast_raises_it() -> None:
    image = table()
    faint = disc(image, 80, 120, 30, (178, 172, 180))
    clear = disc(image, 240, 120, 30, BLUE)
    first, second = find_all(image)
    assert first.score > second.score
    assert iou(full(first), clear) > 0.9
    assert iou(full(second), faint) > 0.8


def test_compactness_raises_the_score() -> None:
    image = table()
    cv2.ellipse(image, (80, 120), (50, 50), 0, 0, 200, RED, 14)
    disc(image, 240, 120, 40)
    compact, crescent = find_all(image, ClassicalConfig(min_score=0))
    assert compact.box.x1 > 160
    assert crescent.score < 0.8 * compact.score


def test_equal_scores_come_in_reading_order() -> None:
    image = table()
    for x, y in [(240, 60), (80, 180), (80, 60), (240, 180)]:
        disc(image, x, y, 30)
    found = find_all(image)
    assert len({detection.score for detection in found}) == 1
    assert [detection.box[:2] for detection in found] == sorted(
        (detection.box[:2] for detection in found), key=lambda corner: corner[::-1]
    )


@pytest.mark.parametrize(("x", "y"), [(0, 0), (319, 239), (-8, -8), (330, -10)], ids=str)
def test_a_ball_in_the_corner_is_an_item(x: int, y: int) -> None:
    image = table()
    truth = disc(image, x, y, 50)
    (found,) = find_all(image)
    assert iou(full(found), truth) > 0.95


def test_a_dark_concave_item_counts_and_a_faint_one_hardly() -> None:
    def score(colour: tuple[int, int, int]) -> float:
        image = table()
        for corners in (
            ((100, 40), (112, 200)),
            ((100, 110), (200, 122)),
            ((188, 110), (200, 200)),
        ):
            cv2.rectangle(image, *corners, colour, cv2.FILLED)
        found = find_all(image, ClassicalConfig(min_score=0))
        return found[0].score

    assert score((40, 40, 60)) > 0.5
    assert score((182, 178, 173)) < 0.35
