"""Each hostile list of photos is refused with one line, or is harmless: nothing is written outside --out."""

from tests.hostile import count_examples, try_case
from tests.hostile.lists import make_cases, read


def test_hostile_lists_are_refused_in_one_line_or_harmless() -> None:
    outcomes = [try_case(case, read) for case in make_cases(seed=0, count=count_examples(300))]
    assert 0 < sum(outcome == "accepted" for outcome in outcomes) < len(outcomes)


def test_the_same_seed_makes_the_same_lists() -> None:
    first, second = ([case.name for case in make_cases(seed=1, count=300)] for _ in range(2))
    assert first == second
