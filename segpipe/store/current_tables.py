"""The current tables of all deals, for pandas and whatever else reads Parquet files by name."""

from upath import UPath

from segpipe.store.store import DealStore


def current_tables(store: DealStore, mode: str, asset: str, file: str) -> list[UPath]:
    """Where the current versions of one table lie, deal by deal in the order of their ids.

    Each file stays what it is for as long as its version is kept, whatever is promoted meanwhile.

    Args:
        store: The deals.
        mode: The mode.
        asset: The asset.
        file: The table's file name in the asset, such as ``detections.parquet``.

    Returns:
        A path for each deal in which the asset was promoted; the other deals have none.

    Raises:
        VersionNotFoundError: The asset has no such file.
        CorruptVersionError: A commit or a manifest of a deal is damaged.
        StoreError: The data root cannot be read.
    """
    snapshots = (store.current(deal, mode) for deal in store.deals())
    return [
        snapshot.path(asset, file) for snapshot in snapshots if snapshot and snapshot.has(asset)
    ]
