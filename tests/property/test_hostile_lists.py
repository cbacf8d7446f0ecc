"""Lists of photographs that make no sense, or mean harm, are refused in a line, and write nothing outside of --out."""

from tests.hostile import try_case
from tests.hostile.lists import make_cases, read


def test_hostile_lists_are_refused_in_one_line_or_harmless() -> None:
    outcomes = [try_case(case, read) for case in make_cases(seed=0, count=300)]
    assert 0 < sum(outcome == "accepted" for outcome in outcomes) < len(outcomes)


def test_the_same_seed_makes_the_same_lists() -> None:
    first, second = ([case.name for case in make_cases(seed=1, count=300)] for _ in range(2))
    assert first == second
