"""Prompts from the command line."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from segpipe.cli.app import app
from segpipe.prompt import Mode
from segpipe.store.prompts import Annotation, ImagePrompts, PromptType, Source
from segpipe.store.store import DealStore
from segpipe_tests.cli.terminals import in_terminal
from segpipe_tests.deals import make_deal
from segpipe_tests.goods import goods_image
from segpipe_tests.vision.photos import with_orientation

Cli = Callable[..., Result]
DEAL = "lot"


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("SEGPIPE_ROOT", str(tmp_path / "data"))
    monkeypatch.setenv("LOGNAME", "ann")

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments))

    return call


@pytest.fixture
def store(tmp_path: Path) -> DealStore:
    """A deal of two photos of 160 x 120 pixels, a.png and b.png, and of turned.jpg, 120 x 160."""
    store = make_deal(tmp_path / "data", DEAL)
    images = tmp_path / "data" / "deals" / DEAL / "images"
    (images / "turned.jpg").write_bytes(with_orientation(goods_image(2), "JPEG", 6))
    return store


def row(result: Result, *words: str) -> bool:
    """Whether a line of what was printed has all these words."""
    return any(all(word in line for word in words) for line in result.stdout.splitlines())


@pytest.mark.parametrize("command", ["prompt", "prompts", "import-prompts"])
def test_every_command_has_help_with_an_example(cli: Cli, command: str) -> None:
    result = cli(command, "-h")
    assert result.exit_code == 0
    assert f"Example: segpipe {command}" in " ".join(result.output.split())


def test_prompts_are_drawn_shown_listed_and_removed(cli: Cli, store: DealStore) -> None:
    assert "lot: no prompts" in cli("prompts", DEAL).stdout
    assert cli("prompt", DEAL, "--all", "--text", "coin").exit_code == 0
    drawn = cli("prompt", DEAL, "a.png", "--text", "ring", "--box", "4,20,16,36")
    assert drawn.exit_code == 0
    assert row(drawn, "(all photos)", "find_all", "text", "coin")
    assert row(drawn, "a\t", "find_all", "text", "ring")
    assert row(drawn, "b1", "positive_exemplar", "4,20,16,36", "user", "ann")

    cli("prompt", DEAL, "a", "--negative", "--box", "60,60,70.5,70", "--point", "1,2")
    cli("prompt", DEAL, "b", "--mode", "inside_box", "--box", "0,0,9,9", "--box", "9,9,20,20")
    listed = cli("prompts", DEAL)
    assert listed.exit_code == 0
    assert row(listed, "b2", "negative_exemplar", "60,60,70.5,70")
    assert row(listed, "p1", "point off", "1,2")
    assert row(listed, "inside_box", "b1", "segment", "0,0,9,9")
    assert row(listed, "inside_box", "b2", "segment", "9,9,20,20")

    removed = cli("prompt", DEAL, "a", "--remove", "b1", "--remove", "p1", "--text", "")
    assert not row(removed, "ring")
    assert [each.id for each in store.prompts.of_image(DEAL, "a").annotations] == ["b2"]
    again = cli("prompt", DEAL, "a", "--box", "4,20,16,36")
    assert row(again, "b3", "4,20,16,36"), "an id is not given out again while later ones are there"


def test_a_narrow_terminal_breaks_no_word_or_number_and_leaves_nothing_out(
    cli: Cli, store: DealStore, tmp_path: Path
) -> None:
    found = Annotation(
        id="5ae76487-10",
        mode=Mode.FIND_ALL,
        prompt_type=PromptType.SEGMENT,
        box=(100, 80, 140, 110),
        source=Source.MODEL,
        created_by="5ae76487-143b-45e2-a500-03c347d66017",
    )
    store.prompts.edit_image(DEAL, "a", lambda _: ImagePrompts(image="a", annotations=(found,)))
    cli("prompt", DEAL, "a", "--negative", "--box", "100.25,80.5,140.75,110.25")
    cli("prompt", DEAL, "b", "--mode", "inside_box", "--box", "0,0,9,9")
    _, shown = in_terminal(tmp_path / "data", "prompts", DEAL)
    for whole in ("negative_exemplar", "100.25,80.5,140.75,110.25", "100,80,140,110", "0,0,9,9"):
        assert whole in shown
    assert f"run {found.created_by}" in shown
    _, wide = in_terminal(tmp_path / "data", "prompts", DEAL, columns=160)
    line = (
        f"5ae76487-10  segment            100,80,140,110             model   run {found.created_by}"
    )
    assert line in wide


def test_drawing_the_same_again_adds_nothing(cli: Cli, store: DealStore) -> None:
    for _ in range(2):
        cli("prompt", DEAL, "a", "--box", "4,20,16,36", "--box", "4,20,16,36", "--text", " ring ")
    prompts = store.prompts.of_image(DEAL, "a")
    assert (len(prompts.annotations), prompts.generation, prompts.text) == (1, 1, "ring")


def test_clearing_leaves_what_runs_found_and_the_other_mode(cli: Cli, store: DealStore) -> None:
    found = Annotation(
        id="m1",
        mode=Mode.FIND_ALL,
        prompt_type=PromptType.SEGMENT,
        box=(0, 0, 1, 1),
        source=Source.MODEL,
        created_by="run-1",
    )
    store.prompts.edit_image(
        DEAL, "a", lambda _: ImagePrompts(image="a", text="ring", annotations=(found,))
    )
    cli("prompt", DEAL, "a", "--box", "1,1,2,2")
    cli("prompt", DEAL, "a", "--box", "3,3,4,4", "--mode", "inside_box")
    cli("prompt", DEAL, "a", "--clear", "--mode", "inside_box", "--box", "5,5,6,6")
    prompts = store.prompts.of_image(DEAL, "a")
    assert [each.box for each in prompts.annotations] == [(0, 0, 1, 1), (1, 1, 2, 2), (5, 5, 6, 6)]
    assert prompts.text == "ring"
    cleared = cli("prompt", DEAL, "a", "--clear")
    assert row(cleared, "m1", "model", "run-1")
    assert store.prompts.of_image(DEAL, "a").annotations == (found,)
    assert store.prompts.of_image(DEAL, "a").text is None


def test_with_no_option_the_prompts_are_shown_and_nothing_is_written(
    cli: Cli, store: DealStore
) -> None:
    assert "a.png: no prompts" in cli("prompt", DEAL, "a").stdout
    assert "all photos: no prompts" in cli("prompt", DEAL).stdout
    assert store.prompts.images(DEAL) == {}
    assert store.prompts.of_deal(DEAL).generation == 0


def test_a_text_for_all_photos_can_be_removed(cli: Cli, store: DealStore) -> None:
    for options in (("--text", ""), ("--clear",)):
        cli("prompt", DEAL, "--text", "coin")
        assert store.prompts.of_deal(DEAL).text == "coin"
        cli("prompt", DEAL, *options)
        assert store.prompts.of_deal(DEAL).text is None


def test_coordinates_are_those_of_the_upright_photo(cli: Cli, store: DealStore) -> None:
    assert cli("prompt", DEAL, "turned", "--box", "100,100,120,160").exit_code == 0
    lying = cli("prompt", DEAL, "turned", "--box", "100,100,160,120")
    assert lying.exit_code == 1
    assert "120 x 160" in lying.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nobody", "a", "--text", "x"), 1, "nobody"),
        ((DEAL, "c.png", "--text", "x"), 1, "it has a.png, b.png, turned.jpg"),
        ((DEAL, "a", "--box", "1,2,3"), 2, "'1,2,3' is not 4 numbers"),
        ((DEAL, "a", "--box", "1,2,x,4"), 2, "is not 4 numbers"),
        ((DEAL, "a", "--point", "1"), 2, "is not 2 numbers"),
        ((DEAL, "a", "--box", "nan,0,1,1"), 1, "finite"),
        ((DEAL, "a", "--box", "9,9,1,1"), 1, "a box needs finite x1 < x2 and y1 < y2"),
        ((DEAL, "a", "--box", "0,0,161,10"), 1, "160 x 120"),
        ((DEAL, "a", "--box=-1,0,5,5"), 1, "160 x 120"),
        ((DEAL, "a", "--point", "160,1"), 1, "160 x 120"),
        ((DEAL, "a", "--remove", "b7"), 1, "there is no annotation 'b7'"),
        ((DEAL, "a", "--all", "--text", "x"), 1, "either --all or the photo"),
        ((DEAL, "--box", "1,1,2,2"), 1, "of one photo"),
        ((DEAL, "--remove", "b1"), 1, "of one photo"),
        ((DEAL, "a", "--text", "x", "--mode", "inside_box"), 1, "reads no text"),
        ((DEAL, "a", "--negative", "--box", "1,1,2,2", "--mode", "inside_box"), 1, "negative box"),
        ((DEAL, "a", "--text", os.fsdecode(b"\xff")), 1, "half a character"),
    ],
)
def test_what_makes_no_sense_is_told_and_changes_nothing(
    cli: Cli, store: DealStore, arguments: tuple[str, ...], code: int, says: str
) -> None:
    cli("prompt", DEAL, "a", "--box", "1,1,2,2")
    before = store.prompts.images(DEAL)
    result = cli("prompt", *arguments)
    assert result.exit_code == code
    assert says in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.output
    assert store.prompts.images(DEAL) == before


def test_records_of_a_photo_that_was_removed_or_replaced_are_no_fault(
    cli: Cli, store: DealStore
) -> None:
    found = Annotation(
        id="m1",
        mode=Mode.FIND_ALL,
        prompt_type=PromptType.SEGMENT,
        box=(0, 0, 999, 999),
        source=Source.MODEL,
    )
    for image in ("a", "gone"):
        store.prompts.edit_image(
            DEAL, image, lambda own: own.model_copy(update={"annotations": (found,)})
        )
    assert cli("prompts", DEAL).exit_code == 0


def test_listing_names_every_file_that_cannot_be_used(
    cli: Cli, store: DealStore, tmp_path: Path
) -> None:
    cli("prompt", DEAL, "b", "--box", "1,1,2,2")
    folder = tmp_path / "data" / "deals" / DEAL / "prompts"
    (folder / "_deal.json").write_text('{"txt": "coin"}')
    (folder / "a.json").write_text("{")
    (folder / "gone.json").write_text('{"image": "gone", "text": "coin"}')
    outside = {"id": "x", "mode": "inside_box", "prompt_type": "segment", "box": [0, 0, 161, 9]}
    (folder / "turned.json").write_text(json.dumps({"image": "turned", "annotations": [outside]}))
    result = cli("prompts", DEAL)
    assert result.exit_code == 1
    assert row(result, "b1", "1,1,2,2"), "the good ones are shown all the same"
    for says in ("_deal.json", "a.json", "'gone'", "annotation 'x'"):
        assert says in result.stderr
    assert len(result.stderr.splitlines()) == 4


def test_bad_photos_hide_no_bad_prompts(cli: Cli, store: DealStore, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "deals" / DEAL
    (folder / "images" / "folder.jpg").mkdir()
    (folder / "prompts").mkdir()
    (folder / "prompts" / "a.json").write_text("{")
    result = cli("prompts", DEAL)
    assert result.exit_code == 1
    assert "prompts/a.json" in result.stderr
    assert "folder.jpg" in result.stderr


def coco(
    *boxes: tuple[str, list[float]], size: tuple[int, int] = (160, 120), **annotation: object
) -> str:
    names = list(dict.fromkeys(name for name, _ in boxes))
    return json.dumps(
        {
            "info": {},
            "categories": [{"id": 1, "name": "ring"}],
            "images": [
                {"id": index, "file_name": name, "width": size[0], "height": size[1]}
                for index, name in enumerate(names)
            ],
            "annotations": [
                {"id": 70 + index, "image_id": names.index(name), "bbox": box, "area": 1}
                | annotation
                for index, (name, box) in enumerate(boxes)
            ],
        }
    )


def test_boxes_are_taken_over_from_coco_once(cli: Cli, store: DealStore, tmp_path: Path) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text(
        coco(
            ("train/a.png", [4, 20, 12, 16]),
            ("train/a.png", [0, 0, 160.4, 9]),
            ("b.jpg", [1, 1, 2, 2]),
            ("other.png", [1, 1, 2, 2]),
        )
    )
    command = ("import-prompts", DEAL, str(labels), "--format", "coco")
    first = cli(*command)
    assert first.exit_code == 0
    assert "3 boxes for 2 photos; 3 are new" in first.stdout
    assert "'other.png'" in first.stderr
    prompts = store.prompts.of_image(DEAL, "a")
    assert [each.box for each in prompts.annotations] == [(4, 20, 16, 36), (0, 0, 160, 9)]
    assert {(each.prompt_type, each.mode, each.created_by) for each in prompts.annotations} == {
        (PromptType.SEGMENT, Mode.INSIDE_BOX, "ann")
    }
    assert "0 are new" in cli(*command).stdout
    assert store.prompts.of_image(DEAL, "a") == prompts

    examples = cli(*command, "--mode", "find_all")
    assert "3 are new" in examples.stdout
    types = {each.prompt_type for each in store.prompts.of_image(DEAL, "b").annotations}
    assert types == {PromptType.SEGMENT, PromptType.POSITIVE_EXEMPLAR}


def test_replacing_removes_what_the_labels_do_not_have(
    cli: Cli, store: DealStore, tmp_path: Path
) -> None:
    cli("prompt", DEAL, "a", "--mode", "inside_box", "--box", "4,20,16,36", "--box", "50,50,60,60")
    cli("prompt", DEAL, "a", "--mode", "inside_box", "--point", "5,5")
    cli("prompt", DEAL, "a", "--box", "50,50,60,60")
    before = store.prompts.of_image(DEAL, "a").annotations
    labels = tmp_path / "labels.json"
    labels.write_text(coco(("a.png", [4, 20, 12, 16]), ("a.png", [30, 20, 12, 16])))
    result = cli("import-prompts", DEAL, str(labels), "--format", "coco", "--replace")
    assert "1 is new" in result.stdout
    *kept, new = store.prompts.of_image(DEAL, "a").annotations
    assert tuple(kept) == (before[0], *before[2:])
    assert new.box == (30, 20, 42, 36)


def test_boxes_are_taken_over_from_yolo(cli: Cli, store: DealStore, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "a.txt").write_text("0 0.5 0.5 0.25 0.5\n\n1 0.25 0.25 0.125 0.25\n")
    (labels / "turned.txt").write_text("0 0.5 0.5 1.000002 1\n")
    (labels / "notes.txt").write_text("no label at all")
    (labels / "classes.txt").write_text("ring\nbracelet\n")
    result = cli("import-prompts", DEAL, str(labels), "--format", "YOLO")
    assert result.exit_code == 0
    assert "3 boxes for 2 photos; 3 are new" in result.stdout
    assert "'labels/notes.txt'" in result.stderr
    found = {
        image: [(each.box, each.category) for each in prompts.annotations]
        for image, prompts in store.prompts.images(DEAL).items()
    }
    assert found == {
        "a": [((60, 30, 100, 90), "ring"), ((30, 15, 50, 45), "bracelet")],
        "turned": [((0, 0, 120, 160), "ring")],
    }
    (labels / "a.txt").write_text("")
    cli("import-prompts", DEAL, str(labels / "a.txt"), "--format", "yolo", "--replace")
    assert store.prompts.of_image(DEAL, "a").annotations == ()


@pytest.mark.parametrize(
    ("labels", "label_format", "says"),
    [
        ("{", "coco", "labels.x is no JSON"),
        ("[]", "coco", "labels.x is no COCO file"),
        ('{"images": [], "annotations": [{}]}', "coco", "annotation number 1: image_id"),
        ('{"images": [], "annotations": [{"image_id": 1, "bbox": [1,1,1,1]}]}', "coco", "image 1"),
        (coco(("a.png", [1, 1, 0, 5])), "coco", "annotation 70: box (1, 1, 1, 6) is empty"),
        (coco(("a.png", [1, 1, -4, 5])), "coco", "annotation 70"),
        (
            coco(("a.png", [1, 1, 200, 5])),
            "coco",
            "annotation 70: box (1, 1, 201, 6) is not inside",
        ),
        (coco(("a.png", [1, 1, float("nan"), 5])), "coco", "finite"),
        (coco(("a.png", [1, 1, 2, 2]), size=(120, 160)), "coco", "a photo of 120 x 160"),
        (coco(("other.png", [1, 1, 2, 2])), "coco", "'other.png'"),
    ],
)
def test_labels_that_make_no_sense_are_named(
    cli: Cli, store: DealStore, tmp_path: Path, labels: str, label_format: str, says: str
) -> None:
    (tmp_path / "labels.x").write_text(labels)
    result = cli("import-prompts", DEAL, str(tmp_path / "labels.x"), "--format", label_format)
    assert result.exit_code == 1
    assert says in result.stderr
    assert store.prompts.images(DEAL) == {}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0 0.5 0.5 0.1", "4 numbers, where 'class x y w h' are 5"),
        ("0 0.5 0.5 0.1 x", "line 2"),
        ("0 0.5 0.5 nan 0.1", "finite"),
        ("0 0.5 0.5 1.2 0.1", "is not inside"),
        ("0 0.5 0.5 0 0.1", "is empty"),
        ("0 50 50 10 10", "is not inside"),
    ],
)
def test_one_bad_line_keeps_all_of_them_out(
    cli: Cli, store: DealStore, tmp_path: Path, line: str, says: str
) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (labels / "b.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    result = cli("import-prompts", DEAL, str(labels), "--format", "yolo")
    assert result.exit_code == 1
    assert "b.txt, line 2" in result.stderr
    assert says in result.stderr
    assert store.prompts.images(DEAL) == {}


def test_labels_that_are_not_there_and_prompts_that_cannot_be_read_stop_an_import(
    cli: Cli, store: DealStore, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for place, label_format in (("missing.json", "coco"), ("missing", "yolo"), ("empty", "yolo")):
        missing = cli("import-prompts", DEAL, str(tmp_path / place), "--format", label_format)
        assert missing.exit_code == 1
        assert place in missing.stderr
    folder = tmp_path / "data" / "deals" / DEAL / "prompts"
    folder.mkdir()
    (folder / "b.json").write_text("{")
    labels = tmp_path / "labels.json"
    labels.write_text(coco(("a.png", [1, 1, 2, 2]), ("b.png", [1, 1, 2, 2])))
    result = cli("import-prompts", DEAL, str(labels), "--format", "coco")
    assert result.exit_code == 1
    assert not (folder / "a.json").exists()


def test_outlines_are_taken_over_and_a_bad_path_is_named(
    cli: Cli, store: DealStore, tmp_path: Path
) -> None:
    labels = tmp_path / "outlines.json"
    good = {"image": "a.png", "path": "M0,0H1V.5Z", "bbox": [10, 20, 50, 60], "label": "ring"}
    labels.write_text(json.dumps([good]))
    result = cli("import-prompts", DEAL, str(labels), "--format", "svg")
    assert "1 box for 1 photo; 1 is new" in result.stdout
    (annotation,) = store.prompts.of_image(DEAL, "a").annotations
    assert (annotation.box, annotation.category) == ((10, 20, 50, 40), "ring")
    assert "10,20,50,40 ring" in cli("prompts", DEAL).stdout

    labels.write_text(json.dumps([good, good | {"path": "M0,0 A1,1"}]))
    result = cli("import-prompts", DEAL, str(labels), "--format", "svg")
    assert result.exit_code == 1
    assert "outlines.json, outline number 2: A is none of the commands" in result.stderr


def test_labels_that_may_be_of_two_photos_and_unknown_formats_are_told_in_a_line(
    cli: Cli, store: DealStore, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text(coco(("x/a.png", [1, 1, 2, 2]), ("y/a.png", [9, 9, 2, 2])))
    result = cli("import-prompts", DEAL, str(labels), "--format", "coco")
    assert result.exit_code == 1
    for says in (f"deal {DEAL!r}", "image 'a.png'", "'x/a.png' and 'y/a.png'", "ambiguous"):
        assert says in result.stderr
    result = cli("import-prompts", DEAL, str(labels), "--format", "voc")
    assert result.exit_code == 2
    assert "none of coco, yolo, yolo-seg, labelme, svg" in " ".join(
        result.stderr.replace("│", " ").split()
    )


def test_columns_say_what_a_line_holds(cli: Cli, store: DealStore, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.25 0.5 0.9 7\n")
    place = str(tmp_path / "a.txt")
    result = cli("import-prompts", DEAL, place, "--format", "yolo")
    assert result.exit_code == 1
    assert "--columns 'class x y w h conf id'" in result.stderr
    cli("import-prompts", DEAL, place, "--format", "yolo", "--columns", "class x y w h conf id")
    assert store.prompts.of_image(DEAL, "a").annotations[0].box == (60, 30, 100, 90)
