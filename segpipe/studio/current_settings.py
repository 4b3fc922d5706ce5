"""The saved settings for pages, which go on when nobody can use them: they say so, and offer a way.

Somebody may have edited the document by hand, or it may have been written by a newer segpipe. Then
runs fail, loudly; how deals stand cannot be told; and all else can still be looked at.
"""

from dataclasses import dataclass

from segpipe.errors import SavedSettingsError
from segpipe.flow.saved_settings import Saved, SavedSettings, read_saved
from segpipe.store.store import DealStore
from segpipe.studio.page_templates import Banner
from segpipe.studio.roles import Role

SETTINGS_PATH = "/settings"


@dataclass(frozen=True, slots=True)
class CurrentSettings:
    """The saved settings as they are now.

    Attributes:
        saved: The settings; where they cannot be used the defaults, with the number of the
            generation that is current.
        fault: Why they cannot be used.
    """

    saved: Saved
    fault: SavedSettingsError | None


def current_settings(store: DealStore) -> CurrentSettings:
    """The saved settings, or why they cannot be used."""
    try:
        return CurrentSettings(read_saved(store), None)
    except SavedSettingsError as error:
        newest = store.settings.newest_generation()
        return CurrentSettings(Saved(newest, SavedSettings(), None), error)


def usable_generation(store: DealStore, before: int) -> int:
    """The latest earlier generation that can be used; 0, the defaults of the code, always can."""
    for generation in range(before - 1, 0, -1):
        try:
            return read_saved(store, generation).generation
        except SavedSettingsError:
            continue
    return 0


def settings_banner(store: DealStore) -> Banner | None:
    """What every page says where the saved settings cannot be used, with a button that mends it."""
    now = current_settings(store)
    if now.fault is None:
        return None
    generation = now.saved.generation
    field = f" (field {now.fault.field})" if now.fault.field else ""
    earlier = usable_generation(store, generation)
    return Banner(
        f"Generation {generation} of the saved settings cannot be used{field}. Every run fails, "
        "and how deals stand cannot be told, until other settings are current.",
        link=SETTINGS_PATH,
        button=f"Restore generation {earlier}" if earlier else "Reset to the defaults",
        action=f"{SETTINGS_PATH}/restore/{earlier}" if earlier else f"{SETTINGS_PATH}/reset",
        expected=generation,
        role=Role.ADMIN,
    )
