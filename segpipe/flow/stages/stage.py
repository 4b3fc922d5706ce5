"""What a stage is: the base of all of them, and what one photo has on its way through them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, cast

import pyarrow as pa

from segpipe.errors import StaleUpstreamError
from segpipe.flow.checks import Check
from segpipe.flow.mode_prompts import PhotoPrompt
from segpipe.flow.photo import LoadedPhoto, PhotoInfo
from segpipe.progress import NO_COUNTS, Counts
from segpipe.refiners.refiner import Refiner
from segpipe.segmenters.segmenter import Segmenter
from segpipe.settings import Settings
from segpipe.store.reviews import ImageReview
from segpipe.store.snapshot import Snapshot
from segpipe.store.staging import Staging
from segpipe.store.tables import TableReader, TableWriter
from segpipe.store.version_info import DealSummary
from segpipe.vision.image import RgbImage

ITEM_TEXTS = {
    "deal": "The deal.",
    "image": "The id of the photo, unique in its deal.",
    "detection": "The index of the detection among those of its photo, from 0.",
}
"""What the columns are that every table of items begins with, for people."""

BOX_TEXTS = {
    "x1": "Left edge of the box, pixels of the upright photo.",
    "y1": "Top edge.",
    "x2": "Right edge: the first pixel outside.",
    "y2": "Bottom edge: the first pixel outside.",
}
"""The same for the columns of a box."""

Result = TypeVar("Result")
SettingsT = TypeVar("SettingsT", bound=Settings | None)


class Stage(ABC, Generic[Result, SettingsT]):
    """One step of a deal, and the asset that it writes.

    A stage is an instance of a subclass in a file of its own, and an entry in the registry.

    Attributes:
        name: Its name, and that of its asset.
        description: What the asset holds, for people.
        code_version: Raised when the same input would give another result.
        upstream: The stages that it reads; each stage also reads the photos.
        waits_for: Those of them without which it cannot begin; None for all.
        settings: The model of its settings, if it has some; the default is all defaults.
        settings_name: The field that has them in the settings of a run.
        tool: The tool that works for it, whose settings decide what it gives.
        reads_prompts: Whether it reads the prompts of the mode.
        reads_reviews: Whether it reads what people decided about the items.
        tables: The schemas of its Parquet files; the last one has a row for each thing it makes.
        later_columns: Those of them that a table may lack, as a later release added them; they are
            then read as null.
        columns: What each column of them is, for people.
        counts: The fields of :class:`Counts` that it fills.
        checks: What is checked of it, beside its files being what was written.
        kinds: What Dagster shows of its technology: the formats of its files.
        is_optional: Whether it is made only when somebody asks for it by name.
        is_later: Whether a later release added it, so that deals may lack it: with the settings by
            default and no input of its own it changes nothing, and no rows are read as that.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    code_version: ClassVar[str]
    upstream: ClassVar[tuple["Stage[Any, Any]", ...]] = ()
    waits_for: ClassVar[tuple["Stage[Any, Any]", ...] | None] = None
    settings: ClassVar[type[Settings] | None] = None
    settings_name: ClassVar[str] = ""
    tool: ClassVar[Literal["segmenter", "refiner"] | None] = None
    reads_prompts: ClassVar[bool] = False
    reads_reviews: ClassVar[bool] = False
    tables: ClassVar[Mapping[str, pa.Schema]] = {}
    later_columns: ClassVar[frozenset[str]] = frozenset()
    columns: ClassVar[Mapping[str, str]] = {}
    counts: ClassVar[tuple[str, ...]] = ()
    checks: ClassVar[tuple[Check, ...]] = ()
    kinds: ClassVar[frozenset[str]] = frozenset({"parquet"})
    is_optional: ClassVar[bool] = False
    is_later: ClassVar[bool] = False

    @abstractmethod
    async def make(self, work: "PhotoWork", settings: SettingsT) -> Result:
        """What the stage gives for one photo."""

    def rows(self, photo: PhotoInfo, result: Result) -> Mapping[str, pa.Table]:
        """The rows of one photo in each of the tables."""
        return {}

    def read(self, photo: "PhotoResults") -> Result:
        """What :meth:`make` gave for a photo, from the tables."""
        raise NotImplementedError(f"nothing is read of {self.name}")

    def count(self, result: Result) -> Counts:
        """How many of each thing it made for one photo."""
        return NO_COUNTS

    def warnings(self, result: Result) -> tuple[str, ...]:
        """What is to be known of one photo or its result."""
        return ()

    def output(self, staging: Staging, settings: SettingsT) -> "StageOutput":
        """What writes its version of a deal."""
        return StageOutput(self, staging)


def open_table(snapshot: Snapshot, stage: Stage[Any, Any], file: str) -> TableReader:
    """Open a table of the current version of a stage to read.

    Raises:
        NotPromotedError: Nothing is current for the stage.
        StaleUpstreamError: An older segpipe wrote it, without columns that are needed now.
        CorruptVersionError: The file is not what was promoted.
    """
    schema = stage.tables[file]
    later = [field for field in schema if field.name in stage.later_columns]
    reader = TableReader(snapshot, stage.name, file, later=later)
    if missing := set(schema.names).difference(reader.columns(), stage.later_columns):
        reader.close()
        raise StaleUpstreamError(
            f"the current {stage.name} was written by an older segpipe, without "
            f"{', '.join(sorted(missing))}: include {stage.name} in the run",
            deal=snapshot.deal,
        )
    return reader


def each_photo(snapshot: Snapshot, stage: Stage[Any, Any], file: str) -> Iterator[pa.Table]:
    """The rows of each photo in turn in a table; raises as :func:`open_table`."""
    with open_table(snapshot, stage, file) as reader:
        for image in reader.images():
            yield reader.read(image)


ReadRows = Callable[[Stage[Any, Any], str, str], pa.Table]
"""The rows of a photo: by stage, file and image id."""


class PhotoResults:
    """What the stages have given for one photo: made now, or read back when it is asked for.

    Args:
        photo: The photo.
        read_rows: Reads the current tables.
    """

    def __init__(self, photo: PhotoInfo, read_rows: ReadRows) -> None:
        self.photo = photo
        self._read_rows = read_rows
        self._results: dict[str, object] = {}

    def of(self, stage: Stage[Result, Any]) -> Result:
        """What a stage has given; raises as what reads the tables when it was not made now."""
        if stage.name not in self._results:
            self._results[stage.name] = stage.read(self)
        return cast("Result", self._results[stage.name])

    def put(self, stage: Stage[Result, Any], result: Result) -> None:
        """Keep what a stage has made."""
        self._results[stage.name] = result

    def rows(self, stage: Stage[Any, Any], file: str) -> pa.Table:
        """The photo's rows in a current table."""
        return self._read_rows(stage, file, self.photo.image)


@dataclass(frozen=True, slots=True, eq=False)
class PhotoWork:
    """One photo on its way through the stages, and what they work on it with.

    Attributes:
        deal: Its deal.
        run_id: The run.
        request: The request that it is a part of; "" for one of its own.
        loaded: The photo in memory.
        results: What stages before have given.
        asked: What the segmenter is to look for; None when it is not asked.
        segmenter: Finds the items.
        refiner: Sharpens the masks.
        review: What people decided about the photo's items; None for nothing.
    """

    deal: str
    run_id: str
    request: str
    loaded: LoadedPhoto
    results: PhotoResults
    asked: PhotoPrompt | None
    segmenter: Segmenter
    refiner: Refiner
    review: ImageReview | None = None

    @property
    def rgb(self) -> RgbImage:
        """The upright picture, (h, w, 3) uint8."""
        return self.loaded.decoded.rgb


class StageOutput:
    """Writes a stage's version of a deal, photo by photo; a context manager.

    This one writes the tables; a stage with other files has its own.

    Args:
        stage: The stage.
        staging: Where the version is staged.
    """

    def __init__(self, stage: Stage[Any, Any], staging: Staging) -> None:
        self.stage = stage
        self.staging = staging
        self._open = ExitStack()
        self._tables: dict[str, TableWriter] = {}

    def __enter__(self) -> Self:
        with ExitStack() as opened:  # closes those before it when one cannot be opened
            self.open_files(opened)
            self._open = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def schemas(self) -> Mapping[str, pa.Schema]:
        """The columns of each table; some of the stage's may have no place in a version."""
        return self.stage.tables

    def open_files(self, opened: ExitStack) -> None:
        """Open what photos are written to."""
        for file, schema in self.schemas().items():
            writer = TableWriter(self.staging, self.stage.name, file, schema)
            self._tables[file] = opened.enter_context(writer)

    def add(self, results: PhotoResults) -> None:
        """Write one photo."""
        rows = self.stage.rows(results.photo, results.of(self.stage))
        for file, table in self._tables.items():
            table.write(results.photo.image, rows[file].select(table.schema.names))

    def finish(self, summary: DealSummary) -> None:
        """Write what is known at the end only; the files of the photos are closed."""
