"""The commands about prompts: draw, list, import."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated
from unicodedata import normalize

import typer

from segpipe.cli.console import (
    complain,
    counted,
    is_are,
    print_json,
    print_listings,
    say,
    warn,
)
from segpipe.cli.facts import PromptList
from segpipe.cli.options import (
    BOX_NUMBERS,
    POINT_NUMBERS,
    ROOT,
    Json,
    Root,
    existing,
    numbers_of,
    one_of,
    user_name,
)
from segpipe.cli.outcomes import Imported
from segpipe.cli.prompt_tables import prompt_facts, prompt_listing
from segpipe.errors import ConfigError, InputError, PromptError, SegpipeError, describe
from segpipe.flow.import_labels import ImportTask, import_labels, photo_size
from segpipe.formats.format_registry import IMPORTS
from segpipe.prompt import Mode
from segpipe.store.manifests import utc_now
from segpipe.store.prompts import DealPrompts, ImagePrompts, PromptType, Source
from segpipe.store.prompts.prompt_edits import (
    BOX_TYPES,
    Mark,
    add_marks,
    clear_marks,
    remove_annotations,
)
from segpipe.store.store import DealStore, Photo
from segpipe.vision.boxes import Box

_SHOWN_PHOTOS = 10
_SHOWN_NOTES = 20


def prompt(
    deal: str,
    image: Annotated[
        str | None,
        typer.Argument(help="A photo's file name or id; left out, --text is for all photos."),
    ] = None,
    root: Root = ROOT,
    text: Annotated[
        str | None, typer.Option(help="What to find, in words; an empty one removes it.")
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(help="x1,y1,x2,y2 in pixels of the upright photo; may be repeated."),
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option(help="x,y in pixels of the upright photo; may be repeated."),
    ] = None,
    negative: Annotated[
        bool, typer.Option("--negative", help="Boxes are of what to leave out, points off items.")
    ] = False,
    mode: Annotated[
        Mode | None,
        typer.Option(
            help="find_all: a box is an example of what to find; inside_box: a box is around one "
            "item to cut out. find_all when left out.",
            show_default=False,
            case_sensitive=False,
        ),
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(help="The id of an annotation to remove; may be repeated.")
    ] = None,
    clear: Annotated[
        bool,
        typer.Option("--clear", help="First remove what users drew and wrote, of --mode or all."),
    ] = False,
    all_photos: Annotated[
        bool, typer.Option("--all", help="For all photos; the same as naming none.")
    ] = False,
    by: Annotated[
        str | None, typer.Option(help="Who draws; the name of the user when left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what to look for in a photo, or in all of a deal; with no option, show it."""
    store = DealStore(root)
    deal = existing(store, deal)
    marks = _marks(mode or Mode.FIND_ALL, box or (), point or (), is_positive=not negative)
    if text and mode is Mode.INSIDE_BOX:
        raise ConfigError("inside_box reads no text; write it for find_all", field="--text")
    if image is None:
        if marks or remove:
            raise ConfigError("boxes and points are of one photo: name it", field="IMAGE")
        everywhere = _write_for_all(store, deal, text, clear=clear and mode is not Mode.INSIDE_BOX)
        _print_prompts(deal, everywhere, {}, "all photos", as_json=as_json)
        return
    if all_photos:
        raise ConfigError(f"give either --all or the photo {image!r}", field="--all")
    photo = _photo(store, deal, image)
    size = photo_size(store, deal, photo) if marks else (0, 0)
    author = by or user_name()

    def change(present: ImagePrompts) -> ImagePrompts:
        kept = remove_annotations(present, remove or ())
        if clear:
            kept = _cleared(kept, mode)
        if text is not None:
            kept = kept.model_copy(update={"text": text})
        changed = add_marks(kept, marks, created_by=author, created_at=utc_now())
        drawn = changed.annotations[len(kept.annotations) :]
        ImagePrompts(image=photo.image, annotations=drawn).require_inside(*size)
        return changed

    now = store.prompts.edit_image(deal, photo.image, change)
    store.arrivals.put(deal)
    everywhere = store.prompts.of_deal(deal)
    _print_prompts(deal, everywhere, {photo.image: now}, photo.name, as_json=as_json)


def prompts(deal: str, root: Root = ROOT, as_json: Json = False) -> None:
    """List what to look for in the photos of a deal, and check that it can be used."""
    store = DealStore(root)
    deal = existing(store, deal)
    faults: list[SegpipeError] = []
    everywhere = DealPrompts()
    try:
        everywhere = store.prompts.of_deal(deal)
    except InputError as error:
        faults.append(error)
    images, unreadable = store.prompts.look(deal)
    faults += unreadable
    try:
        photos = {photo.image: photo for photo in store.photos(deal)}
        faults += _misplaced(store, deal, photos, images)
    except InputError as error:
        faults.append(error)
    said = [describe(fault) for fault in faults]
    _print_prompts(deal, everywhere, images, deal, faults=said, as_json=as_json)
    for fault in said:
        complain(fault)
    if faults:
        raise typer.Exit(1)


def import_prompts(
    deal: str,
    labels: Annotated[Path, typer.Argument(help="A label file, or a folder of them.")],
    label_format: Annotated[
        str,
        typer.Option(
            "--format",
            parser=one_of(IMPORTS),
            metavar="|".join(IMPORTS),
            help="What the labels are: yolo has boxes, yolo-seg outlines, svg is a JSON list of "
            "outlines (image, path, bbox).",
        ),
    ],
    mode: Annotated[
        Mode,
        typer.Option(
            case_sensitive=False,
            help="inside_box: each box is around one item to cut out; find_all: each is an "
            "example of what to find.",
        ),
    ] = Mode.INSIDE_BOX,
    root: Root = ROOT,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="First remove such boxes from the photos that have labels."),
    ] = False,
    by: Annotated[
        str | None, typer.Option(help="Who drew them; the name of the user when left out.")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="Of YOLO: what each number of a line is, when there are more than usual, such as "
            "'class x y w h conf id'; 'skip' for what has no meaning here.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Take over boxes, or the boxes of outlines; all are checked before any is written."""
    store = DealStore(root)
    deal = existing(store, deal)
    task = ImportTask(
        labels=labels,
        format=label_format,
        mode=mode,
        by=by or user_name(),
        columns=tuple(columns.split()) if columns else None,
        replace=replace,
    )
    done = import_labels(store, deal, task)
    notes = [f"left out: the deal has no photo for {name!r}" for name in done.unknown]
    notes += done.notes
    for note in notes[:_SHOWN_NOTES]:
        warn(note)
    if len(notes) > _SHOWN_NOTES:
        warn(f"and {len(notes) - _SHOWN_NOTES} more")
    if as_json:
        unknown, told = tuple(map(str, done.unknown)), tuple(done.notes)
        print_json(Imported(deal, done.boxes, done.photos, done.added, unknown, told))
    else:
        boxes, photos = counted(done.boxes, "box", "boxes"), counted(done.photos, "photo")
        say(f"{boxes} for {photos}; {done.added} {is_are(done.added)} new in deal {deal}")
    if done.unknown and not done.photos:
        raise typer.Exit(1)


def _marks(
    mode: Mode, boxes: Iterable[str], points: Iterable[str], *, is_positive: bool
) -> list[Mark]:
    """What was drawn."""
    drawn = [Box(*numbers_of(value, BOX_NUMBERS, "--box")) for value in boxes]
    if drawn and mode is Mode.INSIDE_BOX and not is_positive:
        raise ConfigError(
            "a negative box means nothing in inside_box; take find_all, or points",
            field="--negative",
        )
    box_type = BOX_TYPES[mode] if is_positive else PromptType.NEGATIVE_EXEMPLAR
    marks = [Mark(mode, box_type, box=box) for box in drawn]
    for value in points:
        x, y = numbers_of(value, POINT_NUMBERS, "--point")
        marks.append(Mark(mode, PromptType.POINT, point=(x, y), label=int(is_positive)))
    return marks


def _cleared(present: ImagePrompts, mode: Mode | None) -> ImagePrompts:
    for each in Mode if mode is None else (mode,):
        present = clear_marks(present, each)
    return present if mode is Mode.INSIDE_BOX else present.model_copy(update={"text": None})


def _write_for_all(store: DealStore, deal: str, text: str | None, *, clear: bool) -> DealPrompts:
    def change(present: DealPrompts) -> DealPrompts:
        kept = present.model_copy(update={"text": None}) if clear else present
        return kept if text is None else kept.model_copy(update={"text": text})

    written = store.prompts.edit_deal(deal, change)
    store.arrivals.put(deal)
    return written


def _print_prompts(
    deal: str,
    everywhere: DealPrompts,
    images: dict[str, ImagePrompts],
    what: str,
    *,
    faults: Sequence[str] = (),
    as_json: bool,
) -> None:
    prompts = prompt_facts(everywhere, images)
    if as_json:
        print_json(PromptList(deal, prompts, tuple(faults)))
    elif prompts:
        print_listings(prompt_listing(deal, prompts))
    else:
        say(f"{what}: no prompts")


def _photo(store: DealStore, deal: str, image: str) -> Photo:
    """The photo of that file name or image id."""
    photos = store.photos(deal)
    by_name = {photo.name: photo for photo in photos}
    image = normalize("NFC", image)
    found = by_name.get(image) or {photo.image: photo for photo in photos}.get(image)
    if found is None:
        names = ", ".join(list(by_name)[:_SHOWN_PHOTOS])
        more = ", …" if len(by_name) > _SHOWN_PHOTOS else ""
        raise PromptError(f"the deal has no such photo; it has {names}{more}", image=image).at(
            deal=deal
        )
    return found


def _misplaced(
    store: DealStore, deal: str, photos: dict[str, Photo], images: dict[str, ImagePrompts]
) -> Iterable[SegpipeError]:
    """Prompts of photos that are not there, and marks that are not in their photo.

    What runs recorded is left out: the next run puts it right.
    """
    for image, of_image in images.items():
        drawn = tuple(each for each in of_image.annotations if each.source is Source.USER)
        try:
            if image not in photos and (drawn or of_image.text):
                raise PromptError("the deal has no such photo; rename the file, or remove it")
            if drawn and image in photos:
                of_user = of_image.model_copy(update={"annotations": drawn})
                of_user.require_inside(*photo_size(store, deal, photos[image]))
        except SegpipeError as error:
            yield error.at(deal=deal, image=image)
