"""The command for the settings that every run uses: shown, saved, compared, restored."""

import getpass
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from segpipe.cli.console import Column, Listing, complain, counted, print_json, print_listings, say
from segpipe.cli.options import ROOT, Json, Root
from segpipe.cli.settings_facts import (
    SettingChangeFacts,
    SettingFacts,
    SettingsDifference,
    SettingsFacts,
    SettingsGeneration,
    SettingsHistory,
)
from segpipe.errors import ConfigError, SavedSettingsError
from segpipe.flow.saved_settings import (
    Saved,
    changes_between,
    read_saved,
    reset,
    restore,
    save,
)
from segpipe.flow.setting_fields import SettingChange, fields, in_words, known_path, with_texts
from segpipe.store.settings_documents import KeptSettings
from segpipe.store.store import DealStore

_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
_SETTING_COLUMNS = (Column("setting"), Column("value", wraps=True), Column("default", wraps=True))
_HISTORY_COLUMNS = (
    Column("generation", is_number=True),
    Column("saved"),
    Column("by"),
    Column("what", wraps=True),
)
_CHANGE_COLUMNS = (Column("setting"), Column("before", wraps=True), Column("after", wraps=True))


class Action(StrEnum):
    """What to do with the settings."""

    SHOW = "show"
    SET = "set"
    RESET = "reset"
    HISTORY = "history"
    RESTORE = "restore"
    DIFF = "diff"


def settings(
    action: Annotated[
        Action, typer.Argument(help="What to do; see below.", case_sensitive=False)
    ] = Action.SHOW,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="WORDS", help="What the action takes.")
    ] = None,
    root: Root = ROOT,
    note: Annotated[str, typer.Option(help="What it is for; it stands in the history.")] = "",
    expect: Annotated[
        int | None,
        typer.Option(help="Save only if this generation is current; nobody's save is lost."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the settings that runs use, save others, and bring earlier ones back.

    show [SETTING] | set SETTING VALUE ... | reset | history | restore GENERATION |
    diff [GENERATION [GENERATION]]

    A setting is named by its path: crops.padding_px, segmenter.backend.threshold. A choice takes
    its kind, and several settings are saved at once: set segmenter sam3 segmenter.backend segmind.
    Lists are written as in YAML.
    """
    store, given = DealStore(root), words or []
    match action:
        case Action.SHOW:
            _show(read_saved(store), given, as_json=as_json)
        case Action.HISTORY:
            _require(given, 0, "history takes no more words")
            _history(store, as_json=as_json)
        case Action.DIFF:
            _require(given, 2, "diff takes two generations at most")
            _diff(store, [_generation(word) for word in given], as_json=as_json)
        case _:
            before = store.settings.newest_generation()
            saved = _save(store, action, given, note, expect)
            _tell_saved(store, before, saved, as_json=as_json)


def _save(
    store: DealStore, action: Action, words: Sequence[str], note: str, expect: int | None
) -> Saved:
    by = _user()
    if action is Action.RESET:
        _require(words, 0, "reset takes no more words: it brings all defaults back")
        return reset(store, by=by, note=note, expected=expect)
    if action is Action.RESTORE:
        if len(words) != 1:
            raise ConfigError("restore takes a generation: see 'segpipe settings history'")
        return restore(store, _generation(words[0]), by=by, note=note, expected=expect)
    if not words or len(words) % 2:
        raise ConfigError("set takes settings, each with its value: set crops.padding_px 4")
    current = read_saved(store)
    wanted = with_texts(current.settings, dict(zip(words[::2], words[1::2], strict=True)))
    # What was read is what is changed: another save in between is not undone unseen.
    expected = current.generation if expect is None else expect
    return save(store, wanted, by=by, note=note, expected=expected)


def _show(saved: Saved, words: Sequence[str], *, as_json: bool) -> None:
    _require(words, 1, "show takes one setting at most")
    found = list(fields(saved.settings))
    if words:
        path = known_path(saved.settings, words[0])
        found = [each for each in found if each.path == path or each.path.startswith(f"{path}.")]
    document = saved.document
    if as_json:
        told = (SettingFacts(f.path, f.value, f.default, not f.is_changed) for f in found)
        print_json(
            SettingsFacts(
                generation=saved.generation,
                saved_at=document.created_at if document else None,
                saved_by=document.created_by if document else None,
                settings=tuple(told),
            )
        )
        return
    rows = [
        (each.path, in_words(each.value), in_words(each.default) if each.is_changed else "")
        for each in found
    ]
    who = f", saved {document.created_at:{_TIME_FORMAT}}" if document else ""
    who += f" by {document.created_by}" if document and document.created_by else ""
    title = f"generation {saved.generation}{who}" if saved.generation else "the defaults"
    print_listings(Listing(_SETTING_COLUMNS, rows, f"Settings: {title}"))


def _history(store: DealStore, *, as_json: bool) -> None:
    kept = store.settings.history()
    facts = [_generation_facts(store, each, kept[-1].generation) for each in reversed(kept)]
    if as_json:
        print_json(SettingsHistory(tuple(facts)))
    elif not facts:
        say("nothing was saved yet: runs use the defaults")
    else:
        print_listings(Listing(_HISTORY_COLUMNS, [_history_row(each) for each in facts]))
    for each in facts if not as_json else ():
        if each.fault:
            complain(each.fault)


def _generation_facts(store: DealStore, kept: KeptSettings, current: int) -> SettingsGeneration:
    document, fault = kept.document, kept.fault
    changes: tuple[SettingChange, ...] = ()
    try:
        changes = changes_between(store, kept.generation - 1, kept.generation)
    except SavedSettingsError as error:
        fault = fault or _own_fault(store, kept.generation, error)
    return SettingsGeneration(
        generation=kept.generation,
        is_current=kept.generation == current,
        kind=document.kind.value if document else None,
        saved_at=document.created_at if document else None,
        saved_by=document.created_by if document else None,
        note=document.note if document else None,
        changes=_changes(changes),
        fault=fault,
    )


def _own_fault(store: DealStore, generation: int, error: SavedSettingsError) -> str | None:
    """The fault of a generation; None where only the one before it has one."""
    try:
        read_saved(store, generation)
    except SavedSettingsError:
        return error.message
    return None


def _history_row(each: SettingsGeneration) -> tuple[object, ...]:
    changes = [str(SettingChange(c.field, c.before, c.after)) for c in each.changes]
    parts = [each.note or "", "reset" if each.kind == "reset" else "", *changes]
    if each.fault:
        parts.append("cannot be used")
    when = f"{each.saved_at:{_TIME_FORMAT}}" if each.saved_at else None
    return (each.generation, when, each.saved_by, "; ".join(filter(None, parts)))


def _diff(store: DealStore, generations: Sequence[int], *, as_json: bool) -> None:
    newest = store.settings.newest_generation()
    before, after = {
        0: (max(newest - 1, 0), newest),
        1: (*generations, newest),
        2: tuple(generations),
    }[len(generations)]
    changes = changes_between(store, before, after)
    if as_json:
        print_json(SettingsDifference(before, after, _changes(changes)))
    elif changes:
        rows = [(each.field, in_words(each.before), in_words(each.after)) for each in changes]
        print_listings(Listing(_CHANGE_COLUMNS, rows, f"Generation {before} → {after}"))
    else:
        say(f"generations {before} and {after} are the same")


def _tell_saved(store: DealStore, before: int, saved: Saved, *, as_json: bool) -> None:
    try:
        changes = changes_between(store, before, saved.generation)
    except SavedSettingsError:  # the one before could not be used
        changes = changes_between(store, 0, saved.generation)
    if as_json:
        print_json(SettingsDifference(before, saved.generation, _changes(changes)))
        return
    for change in changes:
        say(str(change))
    say(
        f"generation {saved.generation} is current ({counted(len(changes), 'change')}); nothing is "
        "run: 'segpipe list --needs-run' shows what is out of date"
    )


def _changes(changes: Sequence[SettingChange]) -> tuple[SettingChangeFacts, ...]:
    return tuple(SettingChangeFacts(each.field, each.before, each.after) for each in changes)


def _generation(word: str) -> int:
    if not word.isdecimal():
        raise ConfigError(f"{word!r} is no generation: see 'segpipe settings history'")
    return int(word)


def _require(words: Sequence[str], most: int, said: str) -> None:
    if len(words) > most:
        raise ConfigError(said)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no name for this user id, as in many containers
        return ""
