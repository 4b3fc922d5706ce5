"""Settings are saved, compared, reset and restored; what is kept is what differs from the code."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from segpipe.errors import ConfigError, SavedSettingsError, SettingsConflictError
from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.deal_state import State
from segpipe.flow.run_settings import RunSettings
from segpipe.flow.saved_settings import (
    BudgetSettings,
    SavedSettings,
    changes_between,
    generation_at,
    read_saved,
    reset,
    restore,
    save,
    within_budget,
)
from segpipe.flow.setting_fields import fields, find_faults, parse, with_texts
from segpipe.flow.stages.stage_registry import STAGES
from segpipe.flow.todo import todo_by_saved_settings
from segpipe.flow.tools import Tools
from segpipe.prompt import Mode
from segpipe.segmenters.build_segmenter import (
    PassesInTilesConfig,
    RecursiveConfig,
    Sam3Config,
    TiledConfig,
    TilesInPassesConfig,
    innermost,
)
from segpipe.segmenters.sam3.segmind import SegmindConfig
from segpipe.store.store import DealStore
from segpipe_tests.deals import default_tools, make_deal


@pytest.fixture
def store(tmp_path: Path) -> DealStore:
    return DealStore(tmp_path)


def with_(**texts: str) -> SavedSettings:
    """The defaults with some set; two underscores stand for a dot."""
    return with_texts(SavedSettings(), {k.replace("__", "."): v for k, v in texts.items()})


def write(store: DealStore, generation: int, settings: dict[str, Any]) -> None:
    """A document as somebody may have written it."""
    folder = Path(store.root.place) / "settings"
    folder.mkdir(exist_ok=True)
    document = {
        "version": 1,
        "generation": generation,
        "kind": "save",
        "created_at": "2026-01-01T00:00:00Z",
        "settings": settings,
    }
    (folder / f"{generation:010}.json").write_text(json.dumps(document))


def test_before_anything_is_saved_the_defaults_of_the_code_hold_and_nothing_is_written(
    store: DealStore, tmp_path: Path
) -> None:
    saved = read_saved(store)
    assert (saved.generation, saved.document) == (0, None)
    ours, codes = saved.settings.of_run(0), default_tools().settings
    for stage in STAGES.values():
        assert ours.identity(stage) == codes.identity(stage)
    assert list(tmp_path.iterdir()) == []


def test_default_then_save_then_reset_then_restore(store: DealStore) -> None:
    wide = with_(crops__padding_px="4", segmenter__min_score="0.5")
    assert save(store, wide, by="ann", note="wider").generation == 1
    assert read_saved(store).settings == wide
    assert reset(store, by="bob").generation == 2
    assert read_saved(store).settings == SavedSettings()
    assert restore(store, 1, by="ann").generation == 3
    assert read_saved(store).settings == wide

    kept = [kept.document for kept in store.settings.history()]
    told = [(each.kind.value, each.created_by, each.note, each.settings) for each in kept if each]
    own = {"crops": {"padding_px": 4}, "segmenter": {"kind": "classical", "min_score": 0.5}}
    assert told == [
        ("save", "ann", "wider", own),
        ("reset", "bob", "", {}),
        ("save", "ann", "generation 1 restored", own),
    ]
    changes = [str(change) for change in changes_between(store, 2, 3)]
    assert changes == ["crops.padding_px 0 → 4", "segmenter.min_score 0.35 → 0.5"]
    assert changes_between(store, 1, 3) == ()


def test_a_second_saver_is_told_what_the_first_one_changed(store: DealStore) -> None:
    save(store, with_(crops__padding_px="4"), expected=0)
    with pytest.raises(SettingsConflictError) as raised:
        save(store, with_(crops__padding_px="9"), expected=0)
    assert raised.value.changes == ("crops.padding_px 0 → 4",)
    assert "crops.padding_px 0 → 4" in str(raised.value)
    assert save(store, with_(crops__padding_px="9")).generation == 2  # the last write wins


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"crops": {"padding_px": -1}}, "crops.padding_px"),
        ({"crops": {"colour": "red"}}, "crops.colour"),
        ({"segmenter": {"kind": "sam3"}}, "segmenter.backend"),
        (
            {"segmenter": {"kind": "sam3", "backend": {"kind": "segmind", "threshold": 7}}},
            "segmenter.backend.threshold",
        ),
        (
            {"segmenter": {"kind": "sam3", "backend": {"kind": "segmind", "api_key_env": "sg-1"}}},
            "segmenter.backend.api_key_env",
        ),
        ({"segmenter": {"kind": "magic"}}, "segmenter"),
        ({"no_such": 1}, "no_such"),
    ],
)
def test_a_payload_that_cannot_be_used_fails_loudly_and_an_earlier_one_comes_back(
    store: DealStore, settings: dict[str, Any], field: str
) -> None:
    wide = with_(crops__padding_px="4")
    save(store, wide)
    write(store, 2, settings)
    with pytest.raises(SavedSettingsError) as raised:
        read_saved(store)
    assert raised.value.field == field
    assert "generation 2" in str(raised.value)
    assert "segpipe settings restore" in str(raised.value)
    assert "sg-1" not in str(raised.value)
    assert restore(store, 1, expected=2).generation == 3
    assert read_saved(store).settings == wide


def test_the_generation_of_a_moment_is_the_one_that_was_current_then(store: DealStore) -> None:
    before = datetime.now(UTC)
    save(store, with_(crops__padding_px="4"))
    between = datetime.now(UTC)
    save(store, with_(crops__padding_px="5"))
    moments = (before - timedelta(seconds=1), between, datetime.now(UTC))
    assert [generation_at(store, moment) for moment in moments] == [0, 1, 2]


def test_every_setting_comes_back_from_what_is_kept_of_it() -> None:
    chosen = {
        "segmenter": "recursive",
        "segmenter.inner": "sam3",
        "segmenter.inner.backend": "segmind",
        "segmenter.inner.backend.http.max_attempts": "2",
        "segmenter.inner.texts": "[ring, bracelet]",
        "segmenter.fill_color": "[1, 2, 3]",
        "refiner": "none",
        "crops.format": "jpg",
        "crops.canvas.width": "640",
        "crops.canvas.height": "480",
        "prompts.everything": "false",
        "budget.max_paid_calls_per_run": "7",
    }
    settings = with_texts(SavedSettings(), chosen)
    kept = json.loads(json.dumps(settings.changed()))
    assert parse(SavedSettings, kept) == settings
    assert kept["segmenter"]["inner"]["backend"] == {"kind": "segmind", "http": {"max_attempts": 2}}
    now = {field.path: field.value for field in fields(settings)}
    assert now["segmenter"] == "recursive"
    assert now["segmenter.inner.texts"] == ["ring", "bracelet"]
    changed = {field.path for field in fields(settings) if field.is_changed}
    assert changed >= set(chosen)
    assert with_texts(settings, {"crops.canvas": "nothing"}).changed()["crops"] == {"format": "jpg"}
    # Another kind keeps nothing of the one before; the same one keeps what was set.
    assert with_texts(settings, {"segmenter": "classical"}).changed().get("segmenter") is None
    assert with_texts(settings, {"segmenter.kind": "recursive"}) == settings


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        ("crops.paddingpx", "4", "did you mean 'crops.padding_px'?"),
        ("padding_px", "4", "did you mean 'crops.padding_px'?"),
        ("nonsense", "4", "there are photos, prompts"),
        ("crops", "4", "set one, such as crops."),
        ("crops.padding_px.more", "4", "has no settings inside"),
        ("segmenter", "magic", "is one of classical, sam3, recursive"),
        ("segmenter", "sam3", "has to be set, to one of segmind, internal, local"),
        ("segmenter.texts", "[ring]", "there is no setting"),
        ("dedup.iou_threshold", "much", "number"),
        ("crops.file_name", "{deal}", "names no files"),
    ],
)
def test_a_setting_that_is_not_known_or_refuses_its_value_is_told(
    path: str, text: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says.replace("[", r"\[")):
        with_texts(SavedSettings(), {path: text})


def test_all_that_is_wrong_is_found_field_by_field() -> None:
    values = {"crops": {"padding_px": -1}, "dedup": {"iou_threshold": 3, "what": 1}}
    found = {fault.field for fault in find_faults(SavedSettings, values)}
    assert found == {"crops.padding_px", "dedup.iou_threshold", "dedup.what"}


def test_a_budget_lowers_the_limits_of_the_segmenter_and_lifts_none() -> None:
    budget = BudgetSettings(max_paid_calls_per_run=10, max_cost_per_run=0.5)
    limits = [(0, 10), (4, 4), (20, 10)]
    for own, then in limits:
        sam3 = Sam3Config(backend=SegmindConfig(max_paid_calls=own))
        in_passes = RecursiveConfig(inner=TilesInPassesConfig(inner=sam3))
        in_tiles = TiledConfig(inner=PassesInTilesConfig(inner=sam3))
        for segmenter in (sam3, RecursiveConfig(inner=sam3), in_passes, in_tiles):
            within = within_budget(segmenter, budget)
            inner = innermost(within)
            assert isinstance(inner, Sam3Config)
            assert isinstance(inner.backend, SegmindConfig)
            assert (inner.backend.max_paid_calls, inner.backend.max_cost) == (then, 0.5)
            assert within.identity() == segmenter.identity()


def test_saved_settings_make_deals_out_of_date_that_were_made_with_others(tmp_path: Path) -> None:
    store = make_deal(tmp_path, "lot", (1,))
    tools = default_tools()
    asyncio.run(process_deal(store, DealTask("lot", "r1"), tools))

    def state() -> State:
        return todo_by_saved_settings(store, "lot", Mode.FIND_ALL, read_saved(store)).state

    assert state() is State.UP_TO_DATE
    save(store, with_(crops__padding_px="4"))
    todo = todo_by_saved_settings(store, "lot", Mode.FIND_ALL, read_saved(store))
    assert todo.state is State.SETTINGS_CHANGED
    assert todo.stages == STAGES.with_downstream(["crops"])
    assert "crops.padding_px 0 → 4" in todo.reason

    saved: RunSettings = read_saved(store).settings.of_run(1)
    asyncio.run(
        process_deal(store, DealTask("lot", "r2"), Tools(tools.segmenter, tools.refiner, saved))
    )
    assert state() is State.UP_TO_DATE
    info = store.snapshot("lot", Mode.FIND_ALL, 2).manifest("crops").info
    assert info.settings_generation == 1
    reset(store)
    assert state() is State.SETTINGS_CHANGED
    save(store, with_(budget__max_paid_calls_per_run="3", crops__padding_px="4"))
    assert state() is State.UP_TO_DATE  # a budget decides no result
