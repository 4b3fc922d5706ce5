"""What a comparison has shown: sums, a Parquet table, and a page that opens without the studio."""

import base64
import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from segpipe.flow.compare import PhotoComparison, TruthScore

COMPARISON_SCHEMA = pa.schema(
    [
        ("deal", pa.string()),
        ("image", pa.string()),
        ("items_a", pa.int32()),
        ("items_b", pa.int32()),
        ("matched", pa.int32()),
        ("only_a", pa.int32()),
        ("only_b", pa.int32()),
        ("mean_iou", pa.float64()),
        ("disagreement", pa.float64()),
        ("seconds_a", pa.float64()),
        ("seconds_b", pa.float64()),
        ("calls_a", pa.int32()),
        ("calls_b", pa.int32()),
        ("cost_a", pa.float64()),
        ("cost_b", pa.float64()),
        ("fault_a", pa.string()),
        ("fault_b", pa.string()),
    ]
)
"""One row a photo; where a side failed, what is of both is null."""


@dataclass(frozen=True, slots=True)
class SideScore:
    """A side beside what people decided, over all photos about which they decided.

    Attributes:
        photos: How many those are.
        precision: The part of the side's items that people have, 0 to 1.
        recall: The part of people's items that the side has, 0 to 1.
        f1: The harmonic mean of both.
        boundary_iou: The mean over matched items.
    """

    photos: int
    precision: float
    recall: float
    f1: float
    boundary_iou: float | None


@dataclass(frozen=True, slots=True)
class ComparisonTotals:
    """A comparison in numbers, over the photos that both sides have answered.

    Attributes:
        photos: How many those are.
        failed: How many there are besides.
        items_a: Items of the one.
        items_b: Items of the other.
        matched: Items that both have.
        only_a: Items that the one has alone.
        only_b: Items that the other has alone.
        mean_iou: Over the matched ones; None when there are none.
        seconds_a: What the one took.
        seconds_b: What the other took.
        calls_a: Paid calls of the one.
        calls_b: Paid calls of the other.
        cost_a: What the one cost, in credits.
        cost_b: What the other cost.
        score_a: The one beside what people decided; None without reviewed photos.
        score_b: The other.
    """

    photos: int
    failed: int
    items_a: int
    items_b: int
    matched: int
    only_a: int
    only_b: int
    mean_iou: float | None
    seconds_a: float
    seconds_b: float
    calls_a: int
    calls_b: int
    cost_a: float
    cost_b: float
    score_a: SideScore | None
    score_b: SideScore | None


def totals_of(compared: Sequence[PhotoComparison]) -> ComparisonTotals:
    """The sums of a comparison."""
    whole = [photo for photo in compared if photo.is_whole]
    matched = sum(len(photo.matched) for photo in whole)
    overlap = sum((photo.mean_iou or 0.0) * len(photo.matched) for photo in whole)
    return ComparisonTotals(
        photos=len(whole),
        failed=len(compared) - len(whole),
        items_a=sum(len(photo.a.masks) for photo in whole),
        items_b=sum(len(photo.b.masks) for photo in whole),
        matched=matched,
        only_a=sum(photo.only_a for photo in whole),
        only_b=sum(photo.only_b for photo in whole),
        mean_iou=overlap / matched if matched else None,
        seconds_a=sum(photo.a.seconds for photo in whole),
        seconds_b=sum(photo.b.seconds for photo in whole),
        calls_a=sum(photo.a.calls for photo in whole),
        calls_b=sum(photo.b.calls for photo in whole),
        cost_a=sum(photo.a.cost for photo in whole),
        cost_b=sum(photo.b.cost for photo in whole),
        score_a=_score([photo.truth_a for photo in whole if photo.truth_a]),
        score_b=_score([photo.truth_b for photo in whole if photo.truth_b]),
    )


def rows_of(compared: Sequence[PhotoComparison]) -> pa.Table:
    """A row of each photo, those first in which the sides differ most."""
    return pa.Table.from_pylist(list(map(_row, by_disagreement(compared))), COMPARISON_SCHEMA)


def by_disagreement(compared: Sequence[PhotoComparison]) -> list[PhotoComparison]:
    """Those first at which a side failed, then those in which the sides differ most."""
    return sorted(compared, key=lambda photo: (photo.is_whole, -photo.disagreement))


def report_page(
    names: tuple[str, str],
    totals: ComparisonTotals,
    rows: Sequence[dict[str, Any]],
    pictures: Sequence[bytes | None],
) -> str:
    """One page of HTML with all in it.

    Args:
        names: What the sides are called.
        totals: The sums.
        rows: Those of :func:`rows_of`, as they are shown.
        pictures: The difference of each, a JPEG.
    """
    a, b = map(html.escape, names)
    said = "".join(
        f"<tr><th>{key}</th><td>{one}</td><td>{other}</td></tr>"
        for key, one, other in facts_of(totals)
    )
    photos = "".join(map(_section, rows, pictures))
    return _PAGE.format(
        a=a,
        b=b,
        facts=said,
        photos=photos,
        both=totals.matched,
        only_a=totals.only_a,
        only_b=totals.only_b,
        failed=totals.failed,
        count=totals.photos,
        iou=_number(totals.mean_iou),
    )


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{a} beside {b}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; }}
table {{ border-collapse: collapse; }} th, td {{ padding: .2rem 1rem .2rem 0; text-align: left; }}
img {{ max-width: 100%; }} .a {{ color: rgb(214 96 30); }} .b {{ color: rgb(50 90 210); }}
.both {{ color: rgb(40 160 90); }}
</style>
<h1><span class="a">A: {a}</span><br><span class="b">B: {b}</span></h1>
<p>{count} photos, {failed} failed. <span class="both">{both} items in both</span> (mean IoU {iou}),
<span class="a">{only_a} only in A, hatched upward</span>,
<span class="b">{only_b} only in B, hatched downward</span>.</p>
<table><tr><th></th><th>A</th><th>B</th></tr>{facts}</table>
{photos}
</html>
"""


def facts_of(totals: ComparisonTotals) -> Iterator[tuple[str, str, str]]:
    """What there is to say of each side, for people."""
    yield "items", str(totals.items_a), str(totals.items_b)
    yield "seconds", f"{totals.seconds_a:.1f}", f"{totals.seconds_b:.1f}"
    yield "paid calls", str(totals.calls_a), str(totals.calls_b)
    yield "credits", f"{totals.cost_a:.4g}", f"{totals.cost_b:.4g}"
    if totals.score_a and totals.score_b:
        one, other = totals.score_a, totals.score_b
        yield "reviewed photos", str(one.photos), str(other.photos)
        yield "precision", _number(one.precision), _number(other.precision)
        yield "recall", _number(one.recall), _number(other.recall)
        yield "F1", _number(one.f1), _number(other.f1)
        yield "boundary IoU", _number(one.boundary_iou), _number(other.boundary_iou)


def _section(row: dict[str, Any], picture: bytes | None) -> str:
    title = html.escape(f"{row['deal']} / {row['image']}")
    faults = [
        html.escape(f"{side.upper()}: {row[f'fault_{side}']}")
        for side in "ab"
        if row[f"fault_{side}"]
    ]
    said = "; ".join(faults) or (
        f"{row['matched']} in both (mean IoU {_number(row['mean_iou'])}), "
        f"{row['only_a']} only in A, {row['only_b']} only in B"
    )
    data = base64.b64encode(picture).decode("ascii") if picture else ""
    drawn = (
        f'<img alt="{title}" loading="lazy" src="data:image/jpeg;base64,{data}">' if data else ""
    )
    return f"<h2>{title}</h2><p>{said}</p>{drawn}"


def _row(photo: PhotoComparison) -> dict[str, Any]:
    whole = photo.is_whole
    return {
        "deal": photo.sampled.deal,
        "image": photo.sampled.photo.image,
        "items_a": None if photo.a.fault else len(photo.a.masks),
        "items_b": None if photo.b.fault else len(photo.b.masks),
        "matched": len(photo.matched) if whole else None,
        "only_a": photo.only_a if whole else None,
        "only_b": photo.only_b if whole else None,
        "mean_iou": photo.mean_iou,
        "disagreement": photo.disagreement if whole else None,
        **{
            f"{name}_{side}": getattr(answer, name)
            for side, answer in (("a", photo.a), ("b", photo.b))
            for name in ("seconds", "calls", "cost", "fault")
        },
    }


def _score(found: Sequence[TruthScore]) -> SideScore | None:
    if not found:
        return None
    matched = sum(each.matched for each in found)
    missed, extra = sum(each.missed for each in found), sum(each.extra for each in found)
    edges = sum((each.boundary_iou or 0.0) * each.matched for each in found)
    return SideScore(
        len(found),
        precision=matched / (matched + extra) if matched + extra else 1.0,
        recall=matched / (matched + missed) if matched + missed else 1.0,
        f1=2 * matched / (2 * matched + missed + extra) if matched + missed + extra else 1.0,
        boundary_iou=edges / matched if matched else None,
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
