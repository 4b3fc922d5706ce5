"""Photos of goods that are hard to find: rings, chains, thin and concave things, shadows, frames.

Each kind is a function of a seed, which chooses places, sizes, colours and light. A scene has the
exact masks of its goods, holes left open.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from segpipe.vision.image import RgbImage
from segpipe_tests.scenes import Scene
from segpipe_tests.scenes.fields import Colour, Field, FullMask, Picture, Rng, hsv, polar
from segpipe_tests.scenes.items import shading
from segpipe_tests.scenes.layout import tight_box, visible_parts
from segpipe_tests.scenes.table import bare_table, light, photograph, shadows

SHAPE = (600, 800)
LIGHT_TABLE = hsv(40, 0.03, 0.88)


def rings(seed: int) -> Scene:
    """Rings and tyres, from a hair's breadth to thick ones, each with the table in its middle."""
    rng = np.random.default_rng(seed)
    masks = []
    for (x, y), part in zip(_grid(rng, 3, 2), (0.05, 0.08, 0.12, 0.2, 0.3, 0.5), strict=True):
        radius = rng.uniform(65, 95)
        mask = _disc(x, y, radius)
        masks.append(mask & ~_disc(x, y, radius * (1 - part)))
    return _photo(rng, masks, [_dark_or_bright(rng) for _ in masks])


def necklace(seed: int) -> Scene:
    """A closed chain of small links around the bare table."""
    rng = np.random.default_rng(seed)
    path = _loop(rng, 400, 300, 230, 150)
    mask = _chain(path, link_px=rng.uniform(4.5, 7), is_open=bool(seed % 2))
    return _photo(rng, [mask], [_gold(rng)])


def bracelets(seed: int) -> Scene:
    """Two chains of beads that lie open, curved like a bow."""
    rng = np.random.default_rng(seed)
    masks = []
    for y in (170, 420):
        phase = rng.uniform(0, np.pi)
        x = np.linspace(130, 670, 2000)
        bow = y + rng.uniform(40, 70) * np.sin((x - 130) / 540 * np.pi + phase)
        masks.append(_chain(np.stack([x, bow], 1), link_px=rng.uniform(5, 8), is_open=False))
    return _photo(rng, masks, [_gold(rng), _dark_or_bright(rng)])


def chair(seed: int) -> Scene:
    """A chair from the side: a back, a seat, two legs, and much table between them."""
    rng = np.random.default_rng(seed)
    left, top = rng.uniform(230, 290), rng.uniform(60, 90)
    wide, high, bar = rng.uniform(240, 290), rng.uniform(400, 460), rng.uniform(26, 44)
    seat = top + high * rng.uniform(0.42, 0.55)
    mask = _box(left, top, left + bar, top + high)
    mask |= _box(left, seat, left + wide, seat + bar)
    mask |= _box(left + wide - bar, seat, left + wide, top + high)
    return _photo(rng, [_turned(mask, rng.uniform(-12, 12))], [_dark_or_bright(rng)])


def brackets(seed: int) -> Scene:
    """An L, a U, a cross and a hook, each apart."""
    rng = np.random.default_rng(seed)
    masks = []
    for (x, y), kind in zip(_grid(rng, 2, 2), "LUXJ", strict=True):
        arm, bar = rng.uniform(85, 110), rng.uniform(16, 26)
        mask = np.zeros(SHAPE, np.bool_)
        if kind in "LU":
            mask |= _box(x - arm, y - arm, x - arm + bar, y + arm)
            mask |= _box(x - arm, y + arm - bar, x + arm, y + arm)
        if kind == "U":
            mask |= _box(x + arm - bar, y - arm, x + arm, y + arm)
        if kind == "X":
            mask |= _box(x - arm, y - bar / 2, x + arm, y + bar / 2)
            mask |= _box(x - bar / 2, y - arm, x + bar / 2, y + arm)
        if kind == "J":
            mask |= _line([(x, y - arm), (x, y + arm * 0.4)], bar)
            angles = np.linspace(0, np.pi, 40)
            hook = np.stack([x - 45 + 45 * np.cos(angles), y + arm * 0.4 + 45 * np.sin(angles)], 1)
            mask |= _line(hook, bar)
        masks.append(_turned(mask, rng.uniform(0, 360), (x, y)))
    return _photo(rng, masks, [_dark_or_bright(rng) for _ in masks])


def thin_goods(seed: int) -> Scene:
    """A pen, a needle, a wire that winds and a stick: .4 to 1.1 % of the diagonal wide."""
    rng = np.random.default_rng(seed)
    masks = []
    for index, width_px in enumerate((4.0, 5.5, 7.5, 10.5)):
        y = 110 + 125 * index
        x = np.linspace(rng.uniform(110, 160), rng.uniform(600, 690), 300)
        slope, wave = rng.uniform(-0.05, 0.05), rng.uniform(10, 24) if index == 1 else 0
        path = np.stack([x, y + slope * (x - 400) + wave * np.sin(x / 40)], 1)
        masks.append(_line(path, width_px))
    return _photo(rng, masks, [_dark_or_bright(rng) for _ in masks])


def corner_ball(seed: int) -> Scene:
    """A ball of which a corner of the photo shows a part, and one in the middle."""
    rng = np.random.default_rng(seed)
    radius, out = rng.uniform(90, 130), rng.uniform(-0.25, 0.3)
    x = -out * radius if seed % 2 else SHAPE[1] + out * radius
    y = -out * radius if seed % 4 < 2 else SHAPE[0] + out * radius
    masks = [_disc(x, y, radius), _disc(400, 300, 80)]
    return _photo(rng, masks, [_dark_or_bright(rng) for _ in masks])


def waists(seed: int) -> Scene:
    """A key, a fork, a bone and a little figure: one colour each, and narrow in the middle."""
    rng = np.random.default_rng(seed)
    masks = []
    for (x, y), kind in zip(_grid(rng, 2, 2), ("key", "fork", "bone", "figure"), strict=True):
        half = rng.uniform(95, 115)
        if kind == "key":
            bow, shaft = rng.uniform(34, 42), rng.uniform(14, 20)
            mask = _disc(x - half + bow, y, bow) | _line(
                [(x - half + bow, y), (x + half, y)], shaft
            )
            for tooth in (half - 12, half - 40):
                mask |= _box(x + tooth - 9, y, x + tooth + 9, y + shaft * 1.6)
        elif kind == "fork":
            mask = _line([(x - half, y), (x, y)], rng.uniform(12, 18))
            mask |= _ellipse(x + 20, y, 34, 26)
            for prong in (-20, 0, 20):
                mask |= _line([(x + 30, y + prong), (x + half, y + prong)], 9)
        elif kind == "bone":
            mask = _line([(x - half + 25, y), (x + half - 25, y)], rng.uniform(18, 28))
            for end in (-1, 1):
                for side in (-1, 1):
                    mask |= _disc(x + end * (half - 25), y + side * 20, 26)
        else:
            mask = _disc(x, y - 70, rng.uniform(26, 32)) | _ellipse(x, y + 15, 42, 65)
            mask |= _line([(x - 65, y - 20), (x + 65, y - 20)], 18)
            mask |= _line([(x - 20, y + 60), (x - 25, y + 110)], 24)
            mask |= _line([(x + 20, y + 60), (x + 25, y + 110)], 24)
        masks.append(_turned(mask, rng.uniform(0, 360), (x, y)))
    return _photo(rng, masks, [_dark_or_bright(rng) for _ in masks])


def hard_shadows(seed: int) -> Scene:
    """Goods under one bare lamp: each throws a shadow with a sharp edge."""
    rng = np.random.default_rng(seed)
    masks = [_one_of(rng, x, y) for x, y in _grid(rng, 3, 2)]
    dx, dy = polar(rng, rng.uniform(25, 60))
    shadow = np.zeros(SHAPE, np.float32)
    for mask in masks:
        shadow[mask] = 1
    shift = np.array([[1, 0, dx], [0, 1, dy]])
    shadow = np.asarray(cv2.warpAffine(shadow, shift, SHAPE[::-1]), np.float32)
    dimmed = 1 - rng.uniform(0.45, 0.6) * cv2.GaussianBlur(shadow, (0, 0), 1.0)
    colours = [
        hsv(rng.uniform(0, 360), rng.uniform(0.6, 0.9), rng.uniform(0.4, 0.85)) for _ in masks
    ]
    return _photo(rng, masks, colours, dimmed=np.asarray(dimmed, np.float32))


def table_and_wall(seed: int) -> Scene:
    """Goods on a table in front of a wall of another colour."""
    rng = np.random.default_rng(seed)
    table, wall = hsv(rng.uniform(20, 45), 0.25, 0.8), hsv(rng.uniform(180, 240), 0.15, 0.7)
    edge = int(rng.uniform(0.25, 0.5) * SHAPE[0])
    masks = [_one_of(rng, x, y) for x, y in ((190, 430), (420, 300), (620, 450))]
    colours = [hsv(rng.choice([0, 120, 290]), 0.85, rng.uniform(0.3, 0.6)) for _ in masks]
    return _photo(rng, masks, colours, table=table, wall=(edge, wall))


def striped_shirt(seed: int) -> Scene:
    """A shirt whose light stripes have nearly the colour of the table."""
    rng = np.random.default_rng(seed)
    mask = _box(250, 130, 550, 520)
    for side in (-1, 1):
        mask |= _line([(400 + side * 130, 165), (400 + side * 215, 270)], 70)
    period = rng.uniform(36, 64)
    rows = np.arange(SHAPE[0])[:, None] % period < period * rng.uniform(0.4, 0.6)
    dark = hsv(rng.uniform(0, 360), 0.8, 0.35)
    light_stripe = LIGHT_TABLE * np.float32(1.04)
    surface = np.where(rows[..., None], dark, light_stripe) * np.ones((*SHAPE, 1), np.float32)
    return _photo(rng, [mask], [surface.astype(np.float32)])


def framed(seed: int) -> Scene:
    """Two goods in a photo with a dark frame around it, as some scanners and apps add it."""
    rng = np.random.default_rng(seed)
    masks = [_one_of(rng, 260, 300), _one_of(rng, 540, 310)]
    scene = _photo(rng, masks, [_dark_or_bright(rng) for _ in masks])
    image = scene.image.copy()
    top, bottom, left, right = (int(side) for side in rng.uniform(6, 42, 4))
    dark = (int(rng.uniform(0, 40)),) * 3
    image[:top] = image[-bottom:] = image[:, :left] = image[:, -right:] = dark
    _, jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    return Scene(_read(jpeg), scene.masks, scene.boxes)


KINDS: dict[str, Callable[[int], Scene]] = {
    kind.__name__: kind
    for kind in (
        rings,
        necklace,
        bracelets,
        chair,
        brackets,
        thin_goods,
        corner_ball,
        waists,
        hard_shadows,
        table_and_wall,
        striped_shirt,
        framed,
    )
}


def _photo(
    rng: Rng,
    masks: Sequence[FullMask],
    colours: Sequence[Colour | Picture],
    *,
    table: Colour = LIGHT_TABLE,
    wall: tuple[int, Colour] | None = None,
    dimmed: Field | None = None,
) -> Scene:
    picture = bare_table(rng, SHAPE, table, textured=False)
    if wall is not None:
        edge, colour = wall
        picture[:edge] = bare_table(rng, SHAPE, colour, textured=False)[:edge]
    picture *= (shadows(rng, SHAPE, masks) if dimmed is None else dimmed)[..., None]
    for mask, colour in zip(masks, colours, strict=True):
        shaded = np.broadcast_to(colour, picture.shape) * shading(rng, mask)[..., None]
        picture[mask] = shaded[mask]
    picture *= light(rng, SHAPE)
    visible = visible_parts(masks)
    return Scene(photograph(rng, picture), visible, tuple(tight_box(mask) for mask in visible))


def _read(jpeg: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> RgbImage:
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB), np.uint8)


def _dark_or_bright(rng: Rng) -> Colour:
    if rng.random() < 0.3:
        return hsv(rng.uniform(0, 360), 0.2, rng.uniform(0.12, 0.3))
    return hsv(rng.uniform(0, 360), rng.uniform(0.5, 0.9), rng.uniform(0.35, 0.7))


def _gold(rng: Rng) -> Colour:
    return hsv(rng.uniform(35, 48), rng.uniform(0.6, 0.8), rng.uniform(0.5, 0.7))


def _grid(rng: Rng, columns: int, rows: int) -> list[tuple[float, float]]:
    """A place for each item, moved a little by chance."""
    return [
        (
            (column + 0.5) / columns * SHAPE[1] + rng.uniform(-12, 12),
            (row + 0.5) / rows * SHAPE[0] + rng.uniform(-12, 12),
        )
        for row in range(rows)
        for column in range(columns)
    ]


def _one_of(rng: Rng, x: float, y: float) -> FullMask:
    if rng.random() < 0.5:
        return _disc(x, y, rng.uniform(50, 75))
    wide, high = rng.uniform(45, 70, 2)
    return _turned(_box(x - wide, y - high, x + wide, y + high), rng.uniform(0, 90), (x, y))


def _loop(
    rng: Rng, x: float, y: float, wide: float, high: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    angle = np.linspace(0, 2 * np.pi, 3000)
    radius = 1 + 0.12 * np.cos(2 * angle + rng.uniform(0, 6)) + 0.06 * np.cos(3 * angle)
    return np.stack([x + wide * radius * np.cos(angle), y + high * radius * np.sin(angle)], 1)


def _chain(
    path: np.ndarray[tuple[int, ...], np.dtype[np.float64]], *, link_px: float, is_open: bool
) -> FullMask:
    """Links, or beads where they are not open, one beside the other along a path."""
    steps = np.hypot(*np.diff(path, axis=0).T)
    along = np.concatenate([[0], np.cumsum(steps)])
    mask = np.zeros(SHAPE, np.bool_)
    for at in np.arange(0, along[-1], 1.9 * link_px):
        x, y = (float(np.interp(at, along, path[:, axis])) for axis in (0, 1))
        link = _disc(x, y, link_px)
        mask |= link & ~_disc(x, y, link_px - 2.5) if is_open else link
    return mask


_SHIFT = 3
"""Places are drawn in eighths of a pixel."""


def _fixed(*places: float) -> list[int]:
    return [round(place * (1 << _SHIFT)) for place in places]


def _ellipse(x: float, y: float, across: float, down: float) -> FullMask:
    bits = np.zeros(SHAPE, np.uint8)
    cx, cy, a, b = _fixed(x, y, across, down)
    points = cv2.ellipse2Poly((cx, cy), (a, b), 0, 0, 360, 2)
    cv2.fillPoly(bits, [np.array(points, np.int32)], (1,), shift=_SHIFT)
    return bits > 0


def _disc(x: float, y: float, radius: float) -> FullMask:
    return _ellipse(x, y, radius, radius)


def _box(x1: float, y1: float, x2: float, y2: float) -> FullMask:
    bits = np.zeros(SHAPE, np.uint8)
    bits[max(0, round(y1)) : round(y2), max(0, round(x1)) : round(x2)] = 1
    return bits > 0


def _line(path: Sequence[tuple[float, float]] | np.ndarray, width: float) -> FullMask:
    """A line of round ends and a width in pixels."""
    away = np.ones((SHAPE[0], SHAPE[1]), np.uint8)
    points = np.round(np.asarray(path, np.float64)).astype(np.int32)
    cv2.polylines(away, [points], False, (0,), 1)
    return np.asarray(cv2.distanceTransform(away, cv2.DIST_L2, 5) <= width / 2 - 0.3)


def _turned(
    mask: FullMask, degrees: float, centre: tuple[float, float] = (400.0, 300.0)
) -> FullMask:
    turn = cv2.getRotationMatrix2D(centre, degrees, 1)
    grey = cv2.warpAffine(mask.astype(np.float32), turn, (SHAPE[1], SHAPE[0]))
    return np.asarray(grey > 0.5)
