"""The saved settings over the studio's API: read by everyone, changed by admins."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from segpipe.errors import ConfigError, SettingsConflictError
from segpipe.flow.saved_settings import Saved, SavedSettings, read_saved, reset, restore, save
from segpipe.flow.setting_fields import SettingFault, find_faults, parse
from segpipe.secret_names import HIDDEN, allowed_names, enter_secret, place_of_secret
from segpipe.studio.api.trial_api import FaultyRequest, unusable
from segpipe.studio.roles import Asking, Role, needs
from segpipe.studio.studio_state import Serving, Studio
from segpipe.wire.inference import Problem

_CONFLICT, _PRECONDITION_FAILED = 409, 412
_MAX_NOTE = 200

router = APIRouter(prefix="/api/settings", tags=["settings"])
_admin = [Depends(needs(Role.ADMIN))]
IfMatch = Annotated[
    str | None,
    Header(
        description='The generation that was edited: "7". Without it the last save wins.',
        pattern=r'^(\*|(W/)?"?[0-9]{1,10}"?)$',
    ),
]


class SettingsAnswer(BaseModel):
    """The settings that runs use now."""

    generation: int = Field(description="0 before anything was saved.")
    saved_at: datetime | None
    saved_by: str | None
    note: str | None
    settings: dict[str, JsonValue] = Field(description="Those that differ from the defaults.")
    secrets: dict[str, str | None] = Field(
        description=f"Names of keys: {HIDDEN!r} where there is one."
    )


class SettingsToSave(BaseModel):
    """Settings to save; what is left out has its default."""

    model_config = ConfigDict(extra="forbid")

    settings: dict[str, JsonValue]
    note: str = Field(default="", max_length=_MAX_NOTE)
    secrets: dict[str, str | None] = Field(
        default={},
        description=f"Keys by name: a text replaces, null or nothing keeps; {HIDDEN!r} is refused.",
    )


class SettingsConflict(BaseModel):
    """Somebody else saved first."""

    error: str
    detail: str
    field: str | None
    changes: list[str] = Field(description='What they changed: "crops.padding_px 0 → 4".')


class KeptGeneration(BaseModel):
    """One save."""

    generation: int
    kind: str | None
    saved_at: datetime | None
    saved_by: str | None
    note: str | None
    settings: dict[str, JsonValue] | None
    fault: str | None


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The request is malformed."},
    409: {"model": Problem, "description": "What is saved cannot be used."},
    412: {"model": SettingsConflict, "description": "Somebody else saved first."},
    422: {"model": FaultyRequest, "description": "Settings cannot be used."},
}


@router.get("", response_model=SettingsAnswer, responses={409: _PROBLEMS[409]})
def read(studio: Serving) -> Response:
    """The settings that runs use now; the ETag is their generation."""
    return _answer(read_saved(studio.store))


@router.put("", response_model=SettingsAnswer, responses=_PROBLEMS, dependencies=_admin)
def replace(
    studio: Serving, person: Asking, wanted: SettingsToSave, if_match: IfMatch = None
) -> Response:
    """Save settings; with If-Match only if that generation is current."""
    faults = [*find_faults(SavedSettings, wanted.settings), *_key_faults(wanted.secrets)]
    if faults:
        return unusable(_under_settings(faults, wanted))
    settings, expected = parse(SavedSettings, wanted.settings), _expected(if_match)
    try:
        made = save(studio.store, settings, by=person.name, note=wanted.note, expected=expected)
    except SettingsConflictError as error:
        return _conflict(error)
    for name, value in wanted.secrets.items():
        if value:
            enter_secret(name, value, data_root=data_root(studio))
            studio.audit.note(person, "entered a key", name=name)
    studio.audit.note(person, "saved settings", generation=made.generation)
    return _answer(made)


@router.post("/reset", response_model=SettingsAnswer, responses=_PROBLEMS, dependencies=_admin)
def reset_all(studio: Serving, person: Asking, if_match: IfMatch = None) -> Response:
    """Back to the defaults of the code."""
    try:
        made = reset(studio.store, by=person.name, expected=_expected(if_match))
    except SettingsConflictError as error:
        return _conflict(error)
    studio.audit.note(person, "reset settings", generation=made.generation)
    return _answer(made)


@router.post(
    "/restore/{generation}",
    response_model=SettingsAnswer,
    responses=_PROBLEMS,
    dependencies=_admin,
)
def restore_one(
    studio: Serving, person: Asking, generation: int, if_match: IfMatch = None
) -> Response:
    """An earlier generation, as a new one."""
    try:
        made = restore(studio.store, generation, by=person.name, expected=_expected(if_match))
    except SettingsConflictError as error:
        return _conflict(error)
    studio.audit.note(person, "restored settings", generation=made.generation)
    return _answer(made)


@router.get("/history")
def history(studio: Serving) -> list[KeptGeneration]:
    """Every save, the latest first."""
    told = []
    for kept in reversed(studio.store.settings.history()):
        document = kept.document
        told.append(
            KeptGeneration(
                generation=kept.generation,
                kind=document.kind.value if document else None,
                saved_at=document.created_at if document else None,
                saved_by=document.created_by if document else None,
                note=document.note if document else None,
                settings=document.settings if document else None,
                fault=kept.fault,
            )
        )
    return told


def data_root(studio: Studio) -> Path | None:
    """The folder in which no key may be kept; None where deals are elsewhere."""
    return Path(studio.store.root.place) if studio.store.root.is_local else None


def _answer(saved: Saved) -> JSONResponse:
    document = saved.document
    answer = SettingsAnswer(
        generation=saved.generation,
        saved_at=document.created_at if document else None,
        saved_by=document.created_by if document else None,
        note=document.note if document else None,
        settings=saved.settings.changed(),
        secrets={name: _hidden(name) for name in allowed_names()},
    )
    etag = {"ETag": f'"{saved.generation}"', "Cache-Control": "no-store"}
    return JSONResponse(answer.model_dump(mode="json"), headers=etag)


def _hidden(name: str) -> str | None:
    try:
        return HIDDEN if place_of_secret(name) else None
    except ConfigError:  # others can read the file: nothing of it is used
        return None


def _conflict(error: SettingsConflictError) -> JSONResponse:
    conflict = SettingsConflict(
        error=type(error).__name__, detail=error.message, field=None, changes=list(error.changes)
    )
    return JSONResponse(conflict.model_dump(), _PRECONDITION_FAILED)


def _expected(if_match: str | None) -> int | None:
    if if_match is None or if_match == "*":
        return None
    return int(if_match.removeprefix("W/").strip('"'))


def _key_faults(secrets: dict[str, str | None]) -> list[SettingFault]:
    """What is wrong with keys, before any is kept; no value is repeated."""
    faults = []
    for name, value in secrets.items():
        if name not in allowed_names():
            said = f"there is no such key: {', '.join(allowed_names())}"
            faults.append(SettingFault(f"secrets.{name}", said))
        elif value == HIDDEN:
            said = "it stands for a key that is there; leave it out to keep that"
            faults.append(SettingFault(f"secrets.{name}", said))
    return faults


def _under_settings(faults: Sequence[SettingFault], wanted: SettingsToSave) -> list[SettingFault]:
    keys = {f"secrets.{name}" for name in wanted.secrets}
    return [
        each if each.field in keys else SettingFault(f"settings.{each.field}", each.message)
        for each in faults
    ]
