"""Score the answers of a study: the share that prefers A, its confidence interval, and tallies.

Sources: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (1927), for the interval;
L. D. Brown, T. T. Cai and A. DasGupta, "Interval Estimation for a Binomial Proportion" (2001), who recommend it. The
exact interval of Clopper and Pearson is wider than its level asks for, above all for few answers.
"""

import csv
import io
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavepaint.errors import StudyError, printable

COLUMNS = ("study", "participant", "trial", "image", "left", "choice", "seconds", "answered", "method_a", "method_b")
"""The columns of the page's CSV; others are ignored."""

LEVEL = 0.95


@dataclass(frozen=True)
class Answer:
    """One row of the page's CSV."""

    participant: str
    image: str
    prefers_a: bool
    chose_left: bool
    seconds: float


@dataclass(frozen=True)
class Answers:
    """The answers to one study, and the names of its methods A and B."""

    methods: tuple[str, str]
    rows: tuple[Answer, ...]


def read_answers(paths: Sequence[Path]) -> Answers:
    """Read the answers of one study from the files that its page made, one or more for each participant.

    Raises:
        StudyError: A file is missing or no such CSV, a row is damaged or names no choice, a participant answered for an
            image twice, or the files belong to different studies.
    """
    rows: list[Answer] = []
    places: dict[tuple[str, str], str] = {}
    studies: dict[tuple[str, str, str], str] = {}
    for path in paths:
        for place, row in _read_rows(path):
            answer = _parse_row(row, place)
            study = (row["study"], row["method_a"], row["method_b"])
            first_place = next(iter(studies.values()), place)
            if study not in studies and studies:
                raise StudyError(f"{place} belongs to another study than {first_place}: score each study by itself.")
            studies.setdefault(study, place)
            former = places.setdefault((answer.participant, answer.image), place)
            if former is not place:
                raise StudyError(
                    f"{place} answers for {printable(answer.image)} again: participant {answer.participant} did so in "
                    f"{former}. Keep the last file of each participant, and give each participant a code of their own."
                )
            rows.append(answer)
    if not rows:
        names = ", ".join(map(printable, paths))
        raise StudyError(f"{names} has no answers: expected the CSV that the study's page makes.")
    _, *methods = next(iter(studies))
    return Answers((methods[0], methods[1]), tuple(rows))


def _read_rows(path: Path) -> Iterable[tuple[str, dict[str, str]]]:
    """Yield the place and the columns of each row."""
    name = printable(path)
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise StudyError(f"the answers {name} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        missing = [column for column in COLUMNS if column not in header]
        if missing:
            raise StudyError(f"{name} lacks the column {missing[0]}: expected the CSV that the study's page makes.")
        for values in reader:
            place = f"line {reader.line_num} of {name}"
            if len(values) != len(header):
                raise StudyError(f"{place} has {len(values)} columns: expected {len(header)}. The file is damaged.")
            yield place, dict(zip(header, values, strict=True))
    except csv.Error as error:
        raise StudyError(f"line {reader.line_num} of {name} is not CSV: {error}.") from error


def _parse_row(row: dict[str, str], place: str) -> Answer:
    for column in ("study", "participant", "image", "method_a", "method_b"):
        if not row[column]:
            raise StudyError(f"{place} has no {column}: the file is damaged.")
    for column in ("left", "choice"):
        if row[column] not in ("A", "B"):
            tie = " A forced choice has no ties." if column == "choice" else ""
            raise StudyError(f"{place} has {row[column]!r} as {column}: expected A or B.{tie}")
    try:
        seconds = float(row["seconds"])
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise StudyError(f"{place} has {row['seconds']!r} as seconds: expected 0 or more.")
    chose_left = row["choice"] == row["left"]
    return Answer(row["participant"], row["image"], row["choice"] == "A", chose_left, seconds)


def compute_wilson_interval(successes: int, total: int, level: float = LEVEL) -> tuple[float, float]:
    """Return Wilson's score interval of a share, without continuity correction.

    Args:
        successes: 0 to ``total``.
        total: 1 or more.
        level: Confidence, above 0 and below 1.
    """
    z = statistics.NormalDist().inv_cdf((1 + level) / 2)
    share, weight = successes / total, z * z / total
    centre = (share + weight / 2) / (1 + weight)
    margin = z * math.sqrt(share * (1 - share) / total + weight / total / 4) / (1 + weight)
    # At the ends rounding may leave a little of what is exactly 0 or 1.
    return (0.0 if successes == 0 else centre - margin), (1.0 if successes == total else centre + margin)


def compute_binomial_p(successes: int, total: int) -> float:
    """Return the two-sided p value of the exact binomial test against a share of one half.

    Args:
        successes: 0 to ``total``.
        total: 1 or more.
    """
    tail, term = 0, 1
    for index in range(min(successes, total - successes) + 1):
        tail += term
        term = term * (total - index) // (index + 1)
    # Integers, because a float has no 2 ** 1100.
    return min(1.0, float(2 * tail / 2**total))


def score_answers(answers: Answers) -> dict[str, Any]:
    """Return the result of a study: overall, by participant and by image, as JSON has it."""
    rows, total = answers.rows, len(answers.rows)
    prefers_a = sum(row.prefers_a for row in rows)
    low, high = compute_wilson_interval(prefers_a, total)
    return {
        "methods": {"A": answers.methods[0], "B": answers.methods[1]},
        "answers": total,
        "prefers_a": prefers_a,
        "share": prefers_a / total,
        "interval": {"kind": "Wilson", "level": LEVEL, "low": low, "high": high},
        "p_value": compute_binomial_p(prefers_a, total),
        "left_share": sum(row.chose_left for row in rows) / total,
        "median_seconds": statistics.median(row.seconds for row in rows),
        "participants": _tally(rows, lambda row: row.participant),
        "images": _tally(rows, lambda row: row.image),
    }


def _tally(rows: Iterable[Answer], pick: Callable[[Answer], str]) -> list[dict[str, Any]]:
    """Count the answers of each participant or image, those that prefer A most first."""
    groups: dict[str, list[Answer]] = {}
    for row in rows:
        groups.setdefault(pick(row), []).append(row)
    tallies: list[dict[str, Any]] = [
        {
            "name": name,
            "answers": len(group),
            "prefers_a": sum(row.prefers_a for row in group),
            "share": sum(row.prefers_a for row in group) / len(group),
            "left_share": sum(row.chose_left for row in group) / len(group),
            "median_seconds": statistics.median(row.seconds for row in group),
        }
        for name, group in groups.items()
    ]
    return sorted(tallies, key=lambda tally: (-tally["share"], tally["name"]))


def format_scores(scores: dict[str, Any]) -> str:
    """Return the result as text."""
    first, second = scores["methods"].values()
    interval, shares = scores["interval"], [tally["share"] for tally in scores["images"]]
    above, below = sum(share > 0.5 for share in shares), sum(share < 0.5 for share in shares)
    lines = [
        f"{first} (A) against {second} (B): {_count(scores['answers'], 'answer')} by "
        f"{_count(len(scores['participants']), 'participant')} for {_count(len(shares), 'image')}",
        f"prefer A         {scores['share']:.1%} ({scores['prefers_a']} of {scores['answers']}), "
        f"{interval['level']:.0%} interval {interval['low']:.1%} to {interval['high']:.1%} ({interval['kind']})",
        f"two-sided p      {scores['p_value']:.3g} (exact binomial test against 50%)",
        f"images           most prefer A in {above}, B in {below}; {len(shares) - above - below} are even",
        f"chose the left   {scores['left_share']:.1%}",
        f"median time      {scores['median_seconds']:.1f} s",
    ]
    for title in ("participants", "images"):
        tallies = scores[title]
        width = max(len(title), *(len(printable(tally["name"])) for tally in tallies))
        lines += ["", f"{title:{width}}  answers  prefer A          left   time"]
        for tally in tallies:
            counts = f"{tally['prefers_a']} ({tally['share']:.0%})"
            lines.append(
                f"{printable(tally['name']):{width}}  {tally['answers']:7}  {counts:12}  "
                f"{tally['left_share']:8.0%}  {tally['median_seconds']:3.1f} s"
            )
    return "\n".join(lines)


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
