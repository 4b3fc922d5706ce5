"""Where everything lies under the data root, as keys of a storage.

::

    deals/<deal>/images/<photo>                              inputs, never written by a run
    deals/<deal>/_COMPLETE                                   no more photos will come
    deals/<deal>/prompts/<image>.json                        what to look for in one photo
    deals/<deal>/prompts/_deal.json                          the same for all photos of the deal
    deals/<deal>/reviews/<mode>/<image>.json                 what people decided about its items
    deals/<deal>/runs/<run_id>.<attempt>/<mode>/<asset>/…    a version's files and manifest.json
    deals/<deal>/commits/<mode>/0000000007.json              generation 7; the highest is current
    deals/<deal>/failures/<mode>.json                        why the last run promoted nothing
    deals/<deal>/current/<mode>/<asset>/…                    links to what is current, for people
    arrivals/<day>/<time>-<deal>                             something was put into a deal
    jobs/<job>.json                                          how far a job over all deals is
    quality/<mode>/0000000001.parquet                        what was measured of deals
    settings/0000000007.json                                 saved settings; the highest are current
"""

import posixpath
from collections.abc import Iterable

from segpipe.errors import PromptError
from segpipe.store.ids import check_deal_id, check_id, is_id

ROOT_VARIABLE = "SEGPIPE_ROOT"
"""The environment variable that names the data root."""
DEFAULT_ROOT = "data"
"""The data root where nobody names one."""

DEALS = "deals"
IMAGES = "images"
COMPLETE = "_COMPLETE"
PROMPTS = "prompts"
ALL_PHOTOS = "_deal"
"""The name, before its suffix, of the prompts for all photos: no photo's prompts can be there."""
REVIEWS = "reviews"
FAILURES = "failures"
CURRENT = "current"
MANIFEST = "manifest.json"
ARRIVALS = "arrivals"
"""The folder of the log of arrivals."""
SETTINGS = "settings"
"""The folder of the saved settings."""
_GENERATION_DIGITS = 10
_JSON = ".json"


def deal_key(deal: str) -> str:
    """The folder of a deal."""
    return f"{DEALS}/{check_deal_id(deal)}"


def images_key(deal: str) -> str:
    """The folder of a deal's photos."""
    return f"{deal_key(deal)}/{IMAGES}"


def complete_key(deal: str) -> str:
    """The marker that no more photos will come."""
    return f"{deal_key(deal)}/{COMPLETE}"


def prompts_key(deal: str) -> str:
    """The folder of a deal's prompts."""
    return f"{deal_key(deal)}/{PROMPTS}"


def prompts_name(image: str) -> str:
    """The name of a photo's prompts file.

    Raises:
        InvalidIdError: The image id is not allowed.
        PromptError: It is the one of the prompts for all photos.
    """
    name = check_id(image, field="image")
    if name == ALL_PHOTOS:
        raise PromptError(
            f"a photo with the id {ALL_PHOTOS!r} can have no prompts, as the file of that name "
            "is for all photos of the deal; rename the photo",
            image=image,
        )
    return f"{name}{_JSON}"


def image_of_prompts(name: str) -> str | None:
    """The image id that a prompts file's name gives; None when it is no name of such a file."""
    image = name.removesuffix(_JSON)
    return image if name.endswith(_JSON) and is_id(image) and image != ALL_PHOTOS else None


def deal_prompts_name() -> str:
    """The name of the file of prompts for all photos."""
    return f"{ALL_PHOTOS}{_JSON}"


def reviews_folder(mode: str) -> str:
    """The folder of a mode's reviews in that of a deal."""
    return f"{REVIEWS}/{check_id(mode, field='mode')}"


def reviews_key(deal: str, mode: str) -> str:
    """The same under the data root."""
    return f"{deal_key(deal)}/{reviews_folder(mode)}"


def review_name(image: str) -> str:
    """The name of the file of a photo's review; raises InvalidIdError."""
    return f"{check_id(image, field='image')}{_JSON}"


def image_of_review(name: str) -> str | None:
    """The image id that such a name gives; None when it is no name of such a file."""
    image = name.removesuffix(_JSON)
    return image if name.endswith(_JSON) and is_id(image) else None


def runs_key(deal: str) -> str:
    """The folder of everything that runs have written."""
    return f"{deal_key(deal)}/runs"


def versions_key(deal: str, version: str, mode: str) -> str:
    """The folder of what one run wrote of a mode: one version of each asset."""
    return f"{runs_key(deal)}/{check_id(version, field='version')}/{check_id(mode, field='mode')}"


def version_key(deal: str, version: str, mode: str, asset: str) -> str:
    """The folder of one version of one asset."""
    return f"{versions_key(deal, version, mode)}/{check_id(asset, field='asset')}"


def commits_key(deal: str, mode: str | None = None) -> str:
    """The folder of a mode's commits, or of all modes."""
    folder = f"{deal_key(deal)}/commits"
    return folder if mode is None else f"{folder}/{check_id(mode, field='mode')}"


def generation_name(generation: int) -> str:
    """The file name of one of a row of documents: ``0000000007.json``."""
    return f"{generation:0{_GENERATION_DIGITS}}{_JSON}"


def generation_of(name: str) -> int | None:
    """The generation that such a file name gives; None when it is no such name."""
    digits = name.removesuffix(_JSON)
    is_commit = name.endswith(_JSON) and len(digits) == _GENERATION_DIGITS
    return int(digits) if is_commit and digits.isdecimal() and digits.isascii() else None


def job_key(job: str) -> str:
    """How far a job over all deals is."""
    return f"jobs/{check_id(job, field='job')}{_JSON}"


def current_key(deal: str) -> str:
    """The folder of links to what is current."""
    return f"{deal_key(deal)}/{CURRENT}"


def failures_key(deal: str) -> str:
    """The folder of a deal's failures."""
    return f"{deal_key(deal)}/{FAILURES}"


def failure_key(deal: str, mode: str) -> str:
    """Why the last run of a mode promoted nothing."""
    return f"{failures_key(deal)}/{check_id(mode, field='mode')}{_JSON}"


def folders_above(keys: Iterable[str], top: str) -> set[str]:
    """Every folder between some keys and a folder above them all, that one included."""
    folders = {top}
    for key in keys:
        folder = posixpath.dirname(key)
        while folder not in folders:
            folders.add(folder)
            folder = posixpath.dirname(folder)
    return folders
