"""``wp eval``: fills against ground truth, with intervals, by set and by share of the hole, and compared pairwise."""
