"""Photos of goods that are hard to find: rings, chains, thin and concave things, shadows, frames.

Each kind is a function of a seed, which chooses places, sizes, colours and light. A scene has the
exact masks of its goods, holes left open.
"""

from collections.abc import Callable

from segpipe.scenes import Scene
from segpipe_tests.scenes.difficult.misleading_photos import (
    cut_outs,
    cut_outs_png,
    framed,
    hard_shadows,
    letterbox,
    light_frame,
    striped_shirt,
    table_and_wall,
)
from segpipe_tests.scenes.difficult.open_goods import handles, rings, scissors, spectacles
from segpipe_tests.scenes.difficult.straggling_goods import (
    brackets,
    chair,
    corner_ball,
    cut_off,
    waists,
)
from segpipe_tests.scenes.difficult.thin_goods import bracelets, necklace, thin_goods

__all__ = ["KINDS", "cut_outs_png"]

KINDS: dict[str, Callable[[int], Scene]] = {
    kind.__name__: kind
    for kind in (
        rings,
        handles,
        scissors,
        spectacles,
        necklace,
        bracelets,
        thin_goods,
        chair,
        brackets,
        waists,
        corner_ball,
        cut_off,
        framed,
        light_frame,
        letterbox,
        cut_outs,
        hard_shadows,
        table_and_wall,
        striped_shirt,
    )
}
