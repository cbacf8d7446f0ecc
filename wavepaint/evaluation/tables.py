"""Tables of an evaluation for the terminal."""

from collections.abc import Iterator, Sequence
from typing import Any

from wavepaint.evaluation.fill_metrics import METRICS

Row = tuple[str, ...]

_HOLE = ("psnr_hole_db", "ssim_hole", "l1_hole", "l2_hole", "lpips_hole")
_WHOLE = ("psnr_db", "ssim", "l1", "l2", "lpips")

_IDS = (("u_ids", "U-IDS", ".1%"), ("p_ids", "P-IDS", ".1%"))
"""Key in the summary, title and form."""


def make_tables(summary: dict[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    """Yield title and rows, the header first, of each table.

    Each subject has a table of the scores in the hole, by set and by the hole's share of the image, and one of those
    over the whole image. The comparison of two subjects follows.

    Args:
        summary: See :func:`wavepaint.evaluation.summary.summarise`.
    """
    sets = summary["results"]
    titles = list(next(iter(sets.values())))
    hole, whole = ([name for name in names if name in summary["metrics"]] for names in (_HOLE, _WHOLE))
    for title in titles:
        rows = [*_make_rows(sets, title, hole), *_make_rows(summary["by_hole_share"], title, hole)]
        yield f"{title}, in the hole", [("holes", "fills", *map(_shorten, hole)), *rows]
        header, rows = ("holes", "fills", *map(_shorten, whole)), list(_make_rows(sets, title, whole))
        for column, name, form in (("frechet", summary["frechet"], ".3f"), *(_IDS if summary["has_ids"] else ())):
            if name:
                header = (*header, name)
                values = [by_title[title].get(column) for by_title in sets.values()]
                pairs = zip(rows, values, strict=True)
                rows = [(*row, "" if value is None else f"{value:{form}}") for row, value in pairs]
        yield f"{title}, over the whole image", [header, *rows]
    if summary["comparison"]:
        yield f"{titles[0]} minus {titles[1]}, in the hole", _make_comparison(summary["comparison"], hole)


def _make_rows(groups: dict[str, Any], title: str, metrics: Sequence[str]) -> Iterator[Row]:
    for label, by_title in groups.items():
        one = by_title[title]
        yield (label, str(one["num_fills"]), *(_format(one[name], name) for name in metrics))


def _make_comparison(comparison: dict[str, Any], metrics: Sequence[str]) -> list[Row]:
    rows: list[Row] = [("holes", "", "difference", "fills won")]
    for label, compared in comparison.items():
        for name in metrics:
            rows.append(
                (label, _shorten(name), _format(compared[name], name, "+"), f"{compared[name]['share_won']:.0%}")
            )
            label = ""
    return rows


def _shorten(name: str) -> str:
    return METRICS[name].title.replace(" in the hole", "")


def _format(estimate: dict[str, float | None], name: str, sign: str = "") -> str:
    form = METRICS[name].form
    mean, low, high = (estimate[key] for key in ("mean", "low", "high"))
    interval = "" if low is None or high is None else f" [{low:{sign}{form}}, {high:{sign}{form}}]"
    return f"{mean:{sign}{form}}{interval}"
