"""Two deals of real photos to try segpipe on, from scikit-image's installed sample data."""

import importlib.util
from pathlib import Path

from segpipe.errors import ConfigError
from segpipe.store.store import DealStore

SAMPLE_DEALS: dict[str, tuple[str, ...]] = {
    "sample-coins": ("coins.png",),
    "sample-things": ("chelsea.png", "coffee.png", "rocket.jpg"),
}
"""The photos of each sample deal."""


def add_samples(store: DealStore) -> list[str]:
    """Add the sample deals, and give their ids; those that are there already stay as they are.

    Raises:
        ConfigError: scikit-image is not installed.
    """
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        raise ConfigError("the samples come with scikit-image: pip install 'segpipe[samples]'")
    folder = Path(found.origin).parent / "data"
    for deal, names in SAMPLE_DEALS.items():
        store.add_photos(deal, [folder / name for name in names])
    return list(SAMPLE_DEALS)
