"""The IO manager: a thin face on the deal store, for the assets that users add downstream."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import get_origin

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue, PrivateAttr, TypeAdapter, ValidationError

from segpipe.errors import InputError, NotPromotedError
from segpipe.flow.stages.crop_files import packed_crops, read_crop
from segpipe.flow.stages.crops import CROPS
from segpipe.flow.stages.cutting import ItemCrop
from segpipe.pipeline.resources import DealStoreResource
from segpipe.store.store import Snapshot, Staging
from segpipe.store.version_info import VersionInfo

DEFAULT_MODE = "custom"
"""Where assets whose key has no prefix are promoted."""

TABLE_FILE = "table.parquet"
VALUE_FILE = "value.json"
_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)


class StoredAsset(Mapping[str, bytes]):
    """The current version of an asset of one deal: a lazy mapping from file name to bytes.

    A file is read, and its sha256 checked, when it is asked for. A crop has the same name whether
    it is a file or a member of the tar of its deal, and of a tar only that member is read. All of
    it is from one generation, whatever is promoted meanwhile.

    >>> import tempfile
    >>> from segpipe.store.store import DealStore
    >>> with tempfile.TemporaryDirectory() as root:
    ...     store = DealStore(root)
    ...     with store.stage("lot-7", "find_all", run_id="run-1") as staging:
    ...         staging.write("colours", "value.json", b'{"gold": 3}')
    ...         _ = staging.seal("colours", made_from={})
    ...         _ = staging.promote()
    ...     stored = StoredAsset(store.current("lot-7", "find_all"), "colours")
    ...     stored.deal, list(stored), stored["value.json"]
    ('lot-7', ['value.json'], b'{"gold": 3}')
    """

    def __init__(self, snapshot: Snapshot, asset: str) -> None:
        self._snapshot = snapshot
        self._asset = asset
        self._files = [entry.path for entry in snapshot.files(asset)]

    @property
    def deal(self) -> str:
        """The deal."""
        return self._snapshot.deal

    @property
    def generation(self) -> int:
        """The generation that was current when the asset was loaded."""
        return self._snapshot.generation

    @property
    def info(self) -> VersionInfo:
        """How the version was made: settings, producer, counts."""
        return self._snapshot.manifest(self._asset).info

    def table(self, name: str) -> pa.Table:
        """One of its Parquet files."""
        return pq.read_table(pa.BufferReader(self[name]))

    def __getitem__(self, name: str) -> bytes:
        if name in self._files:
            return self._snapshot.read(self._asset, name)
        return read_crop(self._snapshot, self._asset, self._packed[name])

    def __iter__(self) -> Iterator[str]:
        return iter([*self._files, *self._packed])

    def __len__(self) -> int:
        return len(self._files) + len(self._packed)

    @cached_property
    def _packed(self) -> Mapping[str, ItemCrop]:
        """The crops that are members of a tar, by the names that they have as files."""
        return packed_crops(self._snapshot, CROPS) if self._asset == CROPS.name else {}


class StoredAssets(Mapping[str, StoredAsset]):
    """The current versions of an asset of many deals: a lazy mapping from deal to version.

    Args:
        load: Reads the current version of one deal.
        deals: The deals.
    """

    def __init__(self, load: Callable[[str], StoredAsset], deals: Sequence[str]) -> None:
        self._load = load
        self._deals = tuple(deals)

    def __getitem__(self, deal: str) -> StoredAsset:
        if deal not in self._deals:
            raise KeyError(deal)
        return self._load(deal)

    def __iter__(self) -> Iterator[str]:
        return iter(self._deals)

    def __len__(self) -> int:
        return len(self._deals)


class DealIOManager(dg.ConfigurableIOManager):
    """Promotes what a deal-partitioned asset returns, and reads current versions.

    An asset returns the value of its deal, or a mapping from deal to value when its run has many
    deals. A value is a ``pyarrow.Table``, a mapping from file name to bytes, or anything that
    JSON can hold. The prefix of the asset's key is the mode that it is promoted in, beside the
    other assets of that mode.

    What an input is follows its annotation: ``StoredAssets`` gives a lazy mapping from deal to
    :class:`StoredAsset`, however many deals the run has; ``pyarrow.Table``, ``dict`` and ``list``
    give the value of the run's one deal; anything else its :class:`StoredAsset`, or the
    ``StoredAssets`` of many.
    """

    store: DealStoreResource

    # What each step has read of a deal, for the lineage of what it returns.
    _read: dict[tuple[str, str], dict[tuple[str, str], str]] = PrivateAttr(default_factory=dict)

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Stage and promote the value of each deal."""
        mode, asset = _place(context.asset_key)
        store = self.store.open()
        generations: dict[str, int] = {}
        for deal, value in _by_deal(obj, list(context.asset_partition_keys)).items():
            read = self._read.get((context.step_key, deal), {})
            with store.stage(
                deal, mode, run_id=context.run_id, attempt=_attempt(context)
            ) as staging:
                _write(staging, asset, value, deal)
                staging.seal(
                    asset,
                    made_from={name: version for (of, name), version in read.items() if of == mode},
                    info=VersionInfo(
                        read={"/".join(place): version for place, version in read.items()}
                    ),
                )
                generations[deal] = staging.promote().commit.generation
        context.add_output_metadata({"generations": dg.MetadataValue.json(generations)})

    def load_input(self, context: dg.InputContext) -> object:
        """Read the current version of each deal, when it is asked for."""
        mode, asset = _place(context.asset_key)
        deals = list(context.asset_partition_keys)
        wanted = context.dagster_type.typing_type
        kind = get_origin(wanted) or wanted
        store = self.store.open()

        def load(deal: str) -> StoredAsset:
            snapshot = store.current(deal, mode)
            if snapshot is None:
                raise NotPromotedError(f"nothing of '{mode}' is promoted yet", deal=deal)
            read = self._read.setdefault((context.step_context.step.key, deal), {})
            read[mode, asset] = snapshot.version(asset).name
            return StoredAsset(snapshot, asset)

        if len(deals) == 1 and kind is not StoredAssets:
            return _read_as(kind, load(deals[0]))
        if kind in {pa.Table, dict, list, StoredAsset}:
            raise InputError(
                f"{asset!r} of {len(deals)} deals cannot be read as one {kind.__name__}: annotate "
                "the input as StoredAssets, or give the asset BackfillPolicy.multi_run(1)"
            )
        return StoredAssets(load, deals)


def _place(key: dg.AssetKey) -> tuple[str, str]:
    """The mode and the asset's name in the store."""
    *prefix, name = key.path
    return "-".join(prefix) or DEFAULT_MODE, name


def _attempt(context: dg.OutputContext) -> int:
    return context.step_context.previous_attempt_count


def _by_deal(obj: object, deals: list[str]) -> Mapping[str, object]:
    """The value of each deal of the run."""
    if isinstance(obj, Mapping) and set(obj) == set(deals):
        return obj
    if len(deals) == 1:
        return {deals[0]: obj}
    raise InputError(
        f"the asset must return a mapping with a value for each of its {len(deals)} deals, "
        f"got {type(obj).__name__}"
    )


def _write(staging: Staging, asset: str, value: object, deal: str) -> None:
    if isinstance(value, pa.Table):
        with staging.open(asset, TABLE_FILE) as stream:
            pq.write_table(value, stream, compression="zstd")
    elif isinstance(value, Mapping) and value and all(isinstance(v, bytes) for v in value.values()):
        for name, data in value.items():
            staging.write(asset, name, data)
    else:
        try:
            data = _JSON.dump_json(_JSON.validate_python(value))
        except ValidationError as error:
            raise InputError(
                f"a {type(value).__name__} cannot be stored: return a pyarrow.Table, a mapping "
                "from file name to bytes, or JSON values",
                deal=deal,
                field=asset,
            ) from error
        staging.write(asset, VALUE_FILE, data)


def _read_as(kind: object, stored: StoredAsset) -> object:
    if kind is pa.Table:
        return stored.table(TABLE_FILE)
    if kind in {dict, list}:
        return _JSON.validate_json(stored[VALUE_FILE])
    return stored
