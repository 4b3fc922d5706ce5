"""Photos that come in through the studio: bounded, whole or not at all, as ``segpipe add`` does."""

import contextlib
import logging
import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from fastapi import Request, UploadFile
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile as StarletteUpload

from segpipe.cli.instance import add_partitions
from segpipe.cli.photo_files import AddedPhotos, add_photos
from segpipe.errors import BadPhotosError, PhotoError, SegpipeError
from segpipe.store.ids import check_deal_id, check_file_name
from segpipe.studio.roles import Person, Role, person_of, require_role
from segpipe.studio.studio_state import Studio
from segpipe.web.bounded_requests import FormRoute
from segpipe.web.problems import FullError

_MAX_AT_ONCE = 16
_RETRY_AFTER_S = 2
_NAMED = 5
_log = logging.getLogger(__name__)


class UploadPlaces:
    """Counts the uploads that are in."""

    def __init__(self) -> None:
        self._taken = 0

    @contextlib.contextmanager
    def admit(self) -> Iterator[None]:
        """Count one in; raises FullError (503) where too many are."""
        if self._taken >= _MAX_AT_ONCE:
            raise FullError("many photos are arriving", retry_after_s=_RETRY_AFTER_S)
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


class PhotoRoute(FormRoute):
    """A route that takes the bytes of one photo as its body, into a file with the photo's name.

    Who may not add photos, or names no deal or file, is refused before a byte is read.
    """

    async def read_body(
        self, request: Request, chunks: AsyncGenerator[bytes], held: ExitStack
    ) -> None:
        """Read the body into a file, for :func:`received_photo`."""
        require_role(person_of(request), Role.REVIEWER)
        check_deal_id(request.path_params["deal"])
        name = check_file_name(request.path_params["name"])
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="segpipe-")))
        # A long name fits the deal's folder, so it fits this one.
        request.state.photo = path = folder / name
        file: BinaryIO = held.enter_context(path.open("wb"))
        upload = UploadFile(file)
        async for chunk in chunks:
            await upload.write(chunk)
        await run_in_threadpool(file.flush)


def received_photo(request: Request) -> Path:
    """The file that :class:`PhotoRoute` has read."""
    path: Path = request.state.photo
    return path


def keep_form_files(files: Sequence[StarletteUpload], folder: Path) -> list[Path]:
    """The files of a form, each in a folder of its own, since two may have one name.

    Raises:
        InvalidIdError: A name is not allowed.
    """
    kept = []
    for index, file in enumerate(files):
        # Some browsers send the path on the person's machine, with its system's separators.
        name = (file.filename or "").replace("\\", "/").rpartition("/")[2]
        path = folder / str(index) / check_file_name(name)
        path.parent.mkdir()
        with path.open("wb") as written:
            shutil.copyfileobj(file.file, written)
        kept.append(path)
    return kept


def take_photos(studio: Studio, person: Person, deal: str, files: list[Path]) -> AddedPhotos:
    """Add files to a deal, all or none, and note it.

    Raises:
        InputError: See :func:`~segpipe.cli.photo_files.add_photos`.
    """
    deal = check_deal_id(deal)
    try:
        added = add_photos(studio.store, deal, files)
    except BadPhotosError as error:
        raise _by_name(error) from error
    if added.new:
        names = ", ".join(added.new[:_NAMED]) + (", …" if len(added.new) > _NAMED else "")
        studio.audit.note(person, "added photos", deal=deal, photos=len(added.new), names=names)
    studio.deals.forget(deal)
    try:
        add_partitions(studio.dagster.instance(), [deal])
    except SegpipeError as error:
        # The photos are there, which is what was asked for; runs make the deal known as well.
        _log.warning("the deal %r is not known to Dagster yet: %s", deal, error)
    return added


def _by_name(error: BadPhotosError) -> PhotoError:
    """The same with the files' names, as people know them, in the place of our own paths."""
    for one in error.errors:
        one.image = Path(one.image).name if one.image else None
    return error.errors[0] if len(error.errors) == 1 else BadPhotosError(error.errors)
