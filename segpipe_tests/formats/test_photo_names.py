"""Labels find their photo, or are told to be ambiguous."""

from pathlib import PurePosixPath
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.errors import PromptError
from segpipe.formats.labels import PhotoBoxes, PhotoLabels
from segpipe.formats.photo_names import flat_name, match_photos, photo_path, short_flat_name
from segpipe.store.ids import image_id_of
from segpipe.store.inputs import Photo


def photos(*names: str) -> list[Photo]:
    return [Photo(image_id_of(name), name, 1, 0) for name in names]


def labels(name: str, deal: str | None = None) -> PhotoLabels:
    return PhotoLabels("labels.json", photo_path(name), lambda: PhotoBoxes(()), deal)


def matched(deal: str, names: list[str], *of_labels: str | PhotoLabels) -> dict[str, str]:
    """What the labels call each photo that they are of."""
    given = [labels(each) if isinstance(each, str) else each for each in of_labels]
    found = match_photos(deal, photos(*names), given)
    return {photo.name: str(of_photo.photo) for photo, of_photo in found.of_photos}


NFD, NFC = (normalize(form, "Café.jpg") for form in ("NFD", "NFC"))


@pytest.mark.parametrize(
    ("photo", "name"),
    [
        ("a.jpg", "a.jpg"),
        ("a.jpg", "images/train/a.jpg"),
        ("a.jpg", "C:\\photos\\a.jpg"),
        ("a.jpg", "a.png"),
        ("a.jpg", "labels/a.txt"),
        ("IMG_1.JPG", "img_1.jpg"),
        (NFD, NFC),
        (NFC, NFD),
        ("a.jpg", "1a2b3c4d-a.jpg"),
        ("a.jpg", "images/1a2b3c4d-a.txt"),
        ("my photo (1).jpg", "/data/upload/3/1a2b3c4d-my_photo_1.jpg"),
        ("my photo.jpg", "upload/1/1a2b3c4d-my%20photo.jpg"),
        ("a.jpg", "a_jpg.rf.0f1e2d3c4b5a69788796a5b4c3d2e1f0.jpg"),
        ("a.JPG", "a_JPG.rf.0f1e2d3c4b5a69788796.txt"),
        ("my photo (1).jpeg", "my-photo-1-_jpeg.rf.0f1e2d3c4b5a69788796.jpg"),
        ("a.jpg", "1a2b3c4d-a_jpg.rf.0f1e2d3c4b5a69788796.jpg"),
        ("1a2b3c4d-a.jpg", "1a2b3c4d-a.jpg"),
    ],
)
def test_a_photo_is_found_whatever_tools_put_around_its_name(photo: str, name: str) -> None:
    assert list(matched("lot", [photo, "other.jpg"], name)) == [photo]


def test_the_very_name_comes_first() -> None:
    names = ["a.jpg", "1a2b3c4d-a.jpg"]
    assert matched("lot", names, "1a2b3c4d-a.jpg") == {"1a2b3c4d-a.jpg": "1a2b3c4d-a.jpg"}
    assert matched("lot", ["a.jpg"], "a.png", "a.jpg", "A.jpg") == {"a.jpg": "a.jpg"}


@pytest.mark.parametrize("name", ["b.jpg", "deadbeef_a.jpg", "a.jpg.rf.x.jpg", "", ".", "/", "a/"])
def test_a_name_of_no_photo_is_unknown(name: str) -> None:
    if name != "a/":
        assert matched("lot", ["a.jpg"], name) == {}
    found = match_photos("lot", photos("c.jpg"), [labels(name)])
    assert found.unknown == (str(PurePosixPath(name)),)


def test_labels_of_two_folders_are_matched_by_the_deal() -> None:
    both = ("pa/a.jpg", "pb/a.jpg")
    assert matched("pa", ["a.jpg"], *both) == {"a.jpg": "pa/a.jpg"}
    assert matched("pb", ["a.jpg"], *both) == {"a.jpg": "pb/a.jpg"}
    with pytest.raises(PromptError, match=r"'pa/a.jpg' and 'pb/a.jpg' are both") as caught:
        matched("lot", ["a.jpg"], *both)
    assert caught.value.image == "a.jpg"
    # Labels of another deal are none of this one's, if no other has the name.
    assert matched("pa", ["a.jpg", "b.jpg"], "pa/a.jpg", "pb/b.jpg") == {"a.jpg": "pa/a.jpg"}


def test_a_deal_that_labels_name_counts_more_than_folders() -> None:
    mine, other = labels("x/a.jpg", "lot"), labels("lot/a.jpg", "sale")
    assert matched("lot", ["a.jpg"], mine, other) == {"a.jpg": "x/a.jpg"}


def test_a_name_that_may_be_two_photos_is_ambiguous() -> None:
    names = ["IMG.jpg", "img.jpg"]
    assert matched("lot", names, "img.jpg") == {"img.jpg": "img.jpg"}
    with pytest.raises(PromptError, match=r"'Img.jpg' is ambiguous"):
        matched("lot", names, "Img.jpg")


def test_names_of_a_folder_of_all_deals_are_found_again() -> None:
    # The second of two that would be called alike has a hash; so has one that is too long.
    short = short_flat_name("a", "b__c", 200)
    labels_of_both = ("labels/a__b__c.txt", f"labels/{short}.txt")
    assert matched("a", ["b__c.jpg"], *labels_of_both) == {"b__c.jpg": labels_of_both[1]}
    assert matched("a__b", ["c.jpg"], *labels_of_both) == {"c.jpg": labels_of_both[0]}


@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=200))
def test_every_photo_has_a_flat_name_that_leads_back(deal: str, stem: str) -> None:
    name = f"{stem}.jpg".replace("/", "_")
    image = image_id_of(name)
    deal = image_id_of(f"{deal}.x")
    for flat in (flat_name(deal, image), short_flat_name(deal, image, 120)):
        found = match_photos(deal, photos(name), [labels(f"labels/{flat.replace('/', '_')}.txt")])
        assert [photo.name for photo, _ in found.of_photos] == [name]
