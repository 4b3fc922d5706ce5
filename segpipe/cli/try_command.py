"""The command that tries settings on one photo, and draws what they find."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from segpipe.cli.console import Column, Listing, counted, print_json, print_listings, say
from segpipe.cli.options import ROOT, Json, Root
from segpipe.cli.settings_facts import RejectedFacts, TrialFacts, TrialResult
from segpipe.errors import ConfigError, SegpipeError, UnreadablePhotoError
from segpipe.flow.mode_prompts import PhotoPrompt
from segpipe.flow.saved_settings import SavedSettings, read_saved, within_budget
from segpipe.flow.setting_fields import parse
from segpipe.flow.try_photo import (
    Trial,
    draw_trial,
    side_by_side,
    try_photo,
    without_kept_answers,
)
from segpipe.prompt import Prompt
from segpipe.segmenters.build_segmenter import build_segmenter
from segpipe.segmenters.kept_data import KeptData
from segpipe.store.shared_data import kept_data
from segpipe.store.store import DealStore
from segpipe.vision.encode import encode_jpeg
from segpipe.vision.image import DecodedImage, decode_image

_JPEG_QUALITY = 90
_COLUMNS = (
    Column("settings"),
    Column("found", is_number=True),
    Column("kept", is_number=True),
    Column("rejected", is_number=True),
    Column("passes"),
    Column("seconds", is_number=True),
    Column("credits", is_number=True),
)


def try_settings(
    photo: Annotated[Path, typer.Argument(help="A photo; it need not be in a deal.")],
    settings: Annotated[
        Path | None,
        typer.Option(
            help="A YAML file of settings, such as 'dedup: {iou_threshold: 0.4}'; the saved ones "
            "when left out.",
            dir_okay=False,
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(help="Others to draw beside them.", dir_okay=False),
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option(help="What to find; may be repeated. All when left out.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The drawing, a JPEG; PHOTO.trial.jpg when left out.")
    ] = None,
    root: Root = ROOT,
    as_json: Json = False,
) -> None:
    """Try settings on one photo, and draw what they find; nothing else is kept.

    What survives is tinted; what is rejected is dashed and faded, with what beat it. Paid calls are
    accounted for.
    """
    store = DealStore(root)
    saved = read_saved(store)
    name = f"generation {saved.generation}" if saved.generation else "the defaults"
    chosen = [read_settings(settings) if settings else (name, saved.settings)]
    chosen += [read_settings(compare)] if compare else []
    decoded = _decode(photo, chosen[0][1])
    prompt = PhotoPrompt(Prompt(texts=tuple(text or ())))
    data = kept_data(store.root)
    trials = [
        (name, asyncio.run(_try(decoded, each, prompt, data, photo.name))) for name, each in chosen
    ]
    target = out or Path(f"{photo.stem}.trial.jpg")
    drawings = [(draw_trial(decoded.rgb, trial), name) for name, trial in trials]
    picture = drawings[0][0] if len(drawings) == 1 else side_by_side(drawings)
    try:
        target.write_bytes(encode_jpeg(picture, quality=_JPEG_QUALITY))
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}", field="--out") from error
    _tell([_facts(name, trial) for name, trial in trials], target, as_json=as_json)


async def _try(
    decoded: DecodedImage, settings: SavedSettings, prompt: PhotoPrompt, data: KeptData, image: str
) -> Trial:
    config = within_budget(without_kept_answers(settings.segmenter), settings.budget)
    segmenter = build_segmenter(config, data)
    try:
        return await try_photo(decoded, segmenter, prompt, settings.dedup, image=image)
    finally:
        await segmenter.aclose()


def read_settings(path: Path) -> tuple[str, SavedSettings]:
    """The settings in a YAML file, and what the file is called; raises ConfigError."""
    try:
        values: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", field="--settings") from error
    if not isinstance(values, Mapping | None):
        raise ConfigError(f"{path} holds no settings", field="--settings")
    return path.name, parse(SavedSettings, dict(values or {}))


def _decode(photo: Path, settings: SavedSettings) -> DecodedImage:
    try:
        data = photo.read_bytes()
    except OSError as error:
        raise UnreadablePhotoError(
            f"{photo} cannot be read ({error.strerror}): name a photo that is there",
            image=photo.name,
        ) from error
    try:
        return decode_image(data, max_pixels=settings.photos.max_pixels)
    except SegpipeError as error:
        raise error.at(image=photo.name) from error.__cause__


def _facts(name: str, trial: Trial) -> TrialResult:
    result = trial.segmented.result
    return TrialResult(
        settings=name,
        segmenter=result.segmenter_id,
        found=len(trial.detections),
        kept=trial.kept,
        rejected=tuple(
            RejectedFacts(one.index, one.survivor, str(one.criterion), one.value)
            for one in trial.rejections.values()
        ),
        new_in_passes=tuple(stats.new for stats in result.pass_stats),
        seconds=result.elapsed_ms / 1000,
        calls=result.usage.calls,
        credits=result.usage.cost,
        notes=trial.segmented.warnings,
    )


def _tell(trials: list[TrialResult], target: Path, *, as_json: bool) -> None:
    if as_json:
        print_json(TrialFacts(str(target), tuple(trials)))
        return
    rows = [
        (
            each.settings,
            each.found,
            len(each.kept),
            len(each.rejected),
            " · ".join(
                f"Pass {number + 1}: {new}" for number, new in enumerate(each.new_in_passes)
            ),
            f"{each.seconds:.2f}",
            f"{each.credits:.4f}" if each.calls else None,
        )
        for each in trials
    ]
    print_listings(Listing(_COLUMNS, rows, counted(len(trials), "trial")))
    for each in trials:
        for note in each.notes:
            say(f"{each.settings}: {note}")
    say(f"the drawing is {target}")
