"""Names of files by templates: what they give, and that no two items can have the same."""

from pathlib import PurePosixPath

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from segpipe.errors import ConfigError
from segpipe.formats.item_names import DEFAULT_ITEM_NAME, ItemName, ItemNameTemplate
from segpipe.store.ids import check_file_name, is_id

GEM = ItemName(deal="lot", image="a", n=2, detection=7, label="gold ring")


@pytest.mark.parametrize(
    ("template", "name"),
    [
        (DEFAULT_ITEM_NAME, "a/0007"),
        ("{deal}_{image}_{n}", "lot_a_2"),
        ("{deal}/{image}-{n:03}", "lot/a-002"),
        ("{label}/{image}_{n}", "gold-ring/a_2"),
        ("{image}_{n}_{label}", "a_2_gold-ring"),
        ("n° {n} of {image}", "n° 2 of a"),
        ("{image}/{image}_{detection}", "a/a_7"),
    ],
)
def test_a_template_is_filled(template: str, name: str) -> None:
    assert ItemNameTemplate(template).name(GEM) == name


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        ("{deal}_{photo}_{n}", "no field 'photo'; there are: deal, image, n, detection, label"),
        ("{}_{image}_{n}", "no field ''"),
        ("{image.__class__}_{n}", "no field 'image.__class__'"),
        ("{image[0]}_{n}", r"no field 'image\[0\]'"),
        ("{image!r}_{n}", "takes no such format"),
        ("{image:>9}_{n}", "takes no such format"),
        ("{image}_{n:>9}", "takes no such format"),
        ("{image}_{n:3}", "takes no such format"),
        ("{image", "is not closed or opened"),
        ("{image}}_{n}", "is not closed or opened"),
        ("", "no part of a path is empty"),
        ("/{image}_{n}", "no part of a path is empty"),
        ("{image}//{n}", "no part of a path is empty"),
        ("../{image}_{n}", "starts with a dot"),
        ("{image}/../{n}", "starts with a dot"),
        (".{image}_{n}", "starts with a dot"),
        ("{image}_{n}.", "ends with a dot"),
        ("{image}_{n} ", "ends with a dot or space"),
        (r"{image}\{n}", "holds no"),
        ("C:{image}_{n}", "holds no"),
        ("{image}\n{n}", "nothing invisible"),
        ("{image}\u202e{n}", "nothing invisible"),
        ("{image}{{{n}", "holds no"),
        ("{n}", "two items could have one name"),
        ("{image}", "two items could have one name"),
        ("crop", "two items could have one name"),
        ("{image}{n}", "put an underscore between {image} and {n}"),
        ("{image}_1{n}", "put an underscore between {image} and {n}"),
        ("{n}{image}", "put an underscore between {n} and {image}"),
        ("{image}-{label}_{n}", "put an underscore between {image} and {label}"),
        ("{label}-{image}_{n}", "put an underscore between {label} and {image}"),
        ("{image}_{n}_{image}", "stands twice"),
    ],
)
def test_what_cannot_name_files_is_refused_and_said(template: str, fault: str) -> None:
    with pytest.raises(ConfigError, match="names no files") as caught:
        ItemNameTemplate(template)
    assert caught.value.field == "file_name"
    with pytest.raises(ConfigError, match=fault):
        ItemNameTemplate(template)


separators = st.sampled_from(["_", "/", "_", "-", "._", "", "1", "a", " ", "_1"])


@st.composite
def templates(draw: st.DrawFn) -> ItemNameTemplate | None:
    """A template of fields in any order, with anything between them; None for one refused."""
    number = draw(st.sampled_from(["{n}", "{n:02}", "{detection}", "{detection:04}"]))
    more = draw(st.lists(st.sampled_from(["{deal}", "{label}", "{n}"]), max_size=2))
    parts = draw(st.permutations(["{image}", number, *more]))
    text = parts[0] + "".join(draw(separators) + part for part in parts[1:])
    try:
        return ItemNameTemplate(text)
    except ConfigError:
        return None


ids = st.text("a1_-.é ", min_size=1, max_size=6).filter(is_id)
items = st.builds(
    ItemName,
    deal=st.just("lot"),
    image=ids,
    n=st.integers(1, 120),
    detection=st.integers(0, 120),
    label=st.text("a1_-./ é", max_size=5),
)


@given(templates(), st.lists(items, min_size=2, max_size=6))
def test_no_two_items_have_one_name_and_no_name_leaves_its_folder(
    names: ItemNameTemplate | None, found: list[ItemName]
) -> None:
    assume(names is not None)
    assert names
    # Number and detection of an item of a photo are each its own.
    each = {(item.image, item.n): item for item in found}
    each = {(item.image, item.detection): item for item in each.values()}
    given_names = [names.name(item) for item in each.values()]
    assert len(set(given_names)) == len(given_names)
    for name in given_names:
        assert check_file_name(name) == name
        assert not PurePosixPath(name).is_absolute()


def test_names_that_are_too_long_are_cut_and_stay_apart() -> None:
    names = ItemNameTemplate("{deal}_{image}_{n}_{label}")
    long = [ItemName("ל" * 60, "y" * 128, n, n - 1, "טבעת" * 40) for n in range(1, 30)]
    made = {names.name(item) for item in long}
    assert len(made) == len(long)
    assert all(len(name.encode()) <= 200 for name in made)
