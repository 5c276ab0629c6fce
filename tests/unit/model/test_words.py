"""Numbers and their nouns."""

import pytest

from pipeline.model.words import many


@pytest.mark.parametrize(("count", "said"), [(0, "0 jobs"), (1, "1 job"), (2, "2 jobs"), (12_345, "12,345 jobs")])
def test_a_noun_goes_with_its_number(count: int, said: str) -> None:
    assert many(count, "job") == said


def test_a_plural_of_its_own() -> None:
    assert [many(count, "entry", "entries") for count in (1, 2)] == ["1 entry", "2 entries"]
