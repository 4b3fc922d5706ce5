"""Every stage, in the order of the way of the data: a new one is a file and an entry here."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from segpipe.flow.stages.background import BACKGROUND
from segpipe.flow.stages.coco import COCO
from segpipe.flow.stages.crops import CROPS
from segpipe.flow.stages.dedup import DEDUP
from segpipe.flow.stages.refinement import REFINEMENT
from segpipe.flow.stages.report import REPORT
from segpipe.flow.stages.review import REVIEW
from segpipe.flow.stages.segmentation import SEGMENTATION
from segpipe.flow.stages.stage import Stage

AnyStage = Stage[Any, Any]


class Stages(Mapping[str, AnyStage]):
    """Stages by name, each after those that it reads.

    Args:
        stages: The stages.

    >>> [stage.name for stage in STAGES.in_order({"crops", "dedup"})]
    ['dedup', 'crops']
    >>> sorted(STAGES.with_downstream({"crops"}))
    ['crops', 'deal_report']
    """

    def __init__(self, *stages: AnyStage) -> None:
        self._stages: dict[str, AnyStage] = {}
        for stage in stages:
            late = [above.name for above in stage.upstream if above.name not in self._stages]
            if late or stage.name in self._stages:
                raise ValueError(f"{stage.name} must stand once, and after {', '.join(late)}")
            self._stages[stage.name] = stage
        self.names = frozenset(
            name for name, stage in self._stages.items() if not stage.is_optional
        )
        """Those that every run makes: all but what is made only when it is asked for by name."""

    def __getitem__(self, name: str) -> AnyStage:
        return self._stages[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stages)

    def __len__(self) -> int:
        return len(self._stages)

    def in_order(self, names: Iterable[str]) -> list[AnyStage]:
        """The stages of these names, each after those that it reads."""
        wanted = frozenset(names)
        return [stage for name, stage in self._stages.items() if name in wanted]

    def with_downstream(self, names: Iterable[str]) -> frozenset[str]:
        """The names, and those of everything that every run makes from them."""
        found = set(names)
        for name, stage in self._stages.items():
            if name in self.names and any(above.name in found for above in stage.upstream):
                found.add(name)
        return frozenset(found)

    def read_by(self, names: Iterable[str]) -> list[AnyStage]:
        """The stages that these read and that are none of them, in order."""
        made = frozenset(names)
        above = {above.name for name in made for above in self._stages[name].upstream}
        return self.in_order(above - made)


STAGES = Stages(SEGMENTATION, DEDUP, REFINEMENT, REVIEW, CROPS, COCO, REPORT, BACKGROUND)
"""The stages of a deal."""
