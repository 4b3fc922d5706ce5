"""The page of settings: what runs use, saved with a history; and keys, which it never shows."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from segpipe.errors import ConfigError, SavedSettingsError, SettingsConflictError
from segpipe.flow.deal_state import State
from segpipe.flow.saved_settings import (
    Saved,
    SavedSettings,
    changes_between,
    read_saved,
    reset,
    restore,
    save,
)
from segpipe.secret_names import OWN_ORIGINS, allowed_names, enter_secret, place_of_secret
from segpipe.studio.api.settings_api import data_root
from segpipe.studio.current_settings import SETTINGS_PATH, current_settings
from segpipe.studio.page_templates import Link, NavigationEntry, mode_of
from segpipe.studio.roles import Person, Role, needs, person_of
from segpipe.studio.settings_form import form_groups, read_form
from segpipe.studio.studio_state import Serving, Studio, studio_of

PATH = SETTINGS_PATH
NAVIGATION = (NavigationEntry("Settings", PATH, "settings", key="s"),)
_SEE_OTHER, _CONFLICT, _UNUSABLE = 303, 412, 422
_SHOWN_GENERATIONS = 30
_MAX_FIELDS = 500
_MAX_COUNTED_DEALS = 1_000

router = APIRouter(include_in_schema=False)
changes = APIRouter(dependencies=[Depends(needs(Role.ADMIN))])


@router.get(PATH)
def show(request: Request, studio: Serving, saved: int | None = None) -> Response:
    """What runs use now."""
    return _draw(request, studio, saved_now=saved)


@changes.post(PATH)
async def save_form(request: Request) -> Response:
    """Save what the form has, or draw it again: for other kinds, or with what is wrong."""
    sent = await _sent(request)
    return await run_in_threadpool(_save_form, request, sent)


@changes.post(f"{PATH}/reset")
async def reset_all(request: Request) -> Response:
    """Back to the defaults of the code."""
    sent = await _sent(request)
    return await run_in_threadpool(_change, request, sent, "reset settings", None)


@changes.post(f"{PATH}/restore/{{generation}}")
async def restore_one(request: Request, generation: int) -> Response:
    """An earlier generation, as a new one."""
    sent = await _sent(request)
    return await run_in_threadpool(_change, request, sent, "restored settings", generation)


@changes.post(f"{PATH}/keys")
async def enter_keys(request: Request) -> Response:
    """Keep the keys that were entered; an empty field keeps what is there."""
    sent = await _sent(request)
    return await run_in_threadpool(_enter_keys, request, sent)


def _save_form(request: Request, sent: Mapping[str, str]) -> Response:
    studio, person = studio_of(request), person_of(request)
    try:
        form = read_form(sent)
    except ConfigError as error:
        faults = {error.field or "": error.message}
        return _draw(request, studio, faults=faults, status=_UNUSABLE)
    if form.faults or sent.get("do") == "draft":
        status = _UNUSABLE if form.faults and sent.get("do") != "draft" else 200
        return _draw(
            request,
            studio,
            draft=form.settings,
            faults=form.faults if status == _UNUSABLE else {},
            texts=form.texts,
            expected=_expected(sent),
            status=status,
        )
    try:
        made = save(
            studio.store,
            form.settings,
            by=person.name,
            note=sent.get("note", "").strip(),
            expected=_expected(sent),
        )
    except SettingsConflictError as error:
        return _draw(request, studio, draft=form.settings, conflict=error, status=_CONFLICT)
    return _done(request, studio, person, "saved settings", made)


def _change(
    request: Request, sent: Mapping[str, str], what: str, generation: int | None
) -> Response:
    studio, person, expected = studio_of(request), person_of(request), _expected(sent)
    try:
        if generation is None:
            made = reset(studio.store, by=person.name, expected=expected)
        else:
            made = restore(studio.store, generation, by=person.name, expected=expected)
    except SettingsConflictError as error:
        return _draw(request, studio, conflict=error, status=_CONFLICT)
    return _done(request, studio, person, what, made)


def _enter_keys(request: Request, sent: Mapping[str, str]) -> Response:
    studio, person = studio_of(request), person_of(request)
    entered = {name: sent[name].strip() for name in allowed_names() if sent.get(name, "").strip()}
    faults: dict[str, str] = {}
    for name, value in entered.items():
        try:
            enter_secret(name, value, data_root=data_root(studio))
        except ConfigError as error:
            faults[name] = error.message
        else:
            studio.audit.note(person, "entered a key", name=name)
    if faults:
        return _draw(request, studio, key_faults=faults, status=_UNUSABLE)
    return RedirectResponse(f"{Link(mode_of(request))(PATH)}#keys", _SEE_OTHER)


def _done(
    request: Request, studio: Studio, person: Person, what: str, made: Saved
) -> RedirectResponse:
    studio.audit.note(person, what, generation=made.generation)
    return RedirectResponse(Link(mode_of(request))(PATH, saved=made.generation), _SEE_OTHER)


def _draw(
    request: Request,
    studio: Studio,
    *,
    draft: SavedSettings | None = None,
    faults: Mapping[str, str] | None = None,
    texts: Mapping[str, str] | None = None,
    expected: int | None = None,
    conflict: SettingsConflictError | None = None,
    saved_now: int | None = None,
    key_faults: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    now = current_settings(studio.store)
    current, broken = now.saved, now.fault
    shown = draft or current.settings
    return studio.pages.draw(
        request,
        "settings.html",
        status_code=status,
        current=current,
        broken=broken,
        is_draft=draft is not None,
        groups=form_groups(shown, faults, texts),
        other_faults=[text for path, text in (faults or {}).items() if not _is_in(path, shown)],
        expected=current.generation if expected is None else expected,
        conflict=conflict,
        saved_now=saved_now if saved_now == current.generation else None,
        out_of_date=_out_of_date(studio) if saved_now and not broken else None,
        history=_history(studio),
        keys=[_key(name) for name in allowed_names()],
        key_faults=key_faults or {},
    )


def _is_in(path: str, settings: SavedSettings) -> bool:
    return any(field.path == path for group in form_groups(settings) for field in group.fields)


def _history(studio: Studio) -> list[dict[str, Any]]:
    """The latest generations, and what each changed."""
    told = []
    for kept in studio.store.settings.history()[: -_SHOWN_GENERATIONS - 1 : -1]:
        differences: tuple[Any, ...] = ()
        fault = kept.fault
        try:
            differences = changes_between(studio.store, kept.generation - 1, kept.generation)
        except SavedSettingsError as error:
            fault = fault or _own_fault(studio, kept.generation, error)
        told.append({"kept": kept, "changes": [str(one) for one in differences], "fault": fault})
    return told


def _own_fault(studio: Studio, generation: int, error: SavedSettingsError) -> str | None:
    try:
        read_saved(studio.store, generation)
    except SavedSettingsError:
        return error.message
    return None


def _out_of_date(studio: Studio) -> int | None:
    """How many deals were made with other settings; None where they are too many to look at."""
    deals = studio.store.deals()
    if len(deals) > _MAX_COUNTED_DEALS:
        return None
    return sum(
        any(mode.state is State.SETTINGS_CHANGED for mode in deal.modes)
        for deal in studio.status.statuses(deals)
    )


def _key(name: str) -> dict[str, str | None]:
    """Whether there is a key of a name; never the key."""
    try:
        place, fault = place_of_secret(name), None
    except ConfigError as error:
        place, fault = None, error.message
    origins = ", ".join(OWN_ORIGINS.get(name, ())) or "this machine"
    return {"name": name, "place": place, "fault": fault, "origins": origins}


def _expected(sent: Mapping[str, str]) -> int | None:
    text = sent.get("expected", "")
    return int(text) if text.isdecimal() else None


async def _sent(request: Request) -> dict[str, str]:
    async with request.form(max_fields=_MAX_FIELDS, max_files=0) as form:
        return {name: value for name, value in form.items() if isinstance(value, str)}


router.include_router(changes)
