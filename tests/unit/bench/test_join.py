"""The stage of the interval join that is measured, without servers: what it finds, and what it keeps in its state."""

import orjson
import pytest

from pipeline.bench import join
from pipeline.bench.join_ours import JoinState, step
from pipeline.model.facts import Fact, decode_fact
from pipeline.model.outcome import Tell
from pipeline.settings import Settings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks

NOW = Watermarks({}, {}, 60_000)
SETTINGS = Settings()
BATCH = 100


def found(state: JoinState, facts: list[Fact]) -> list[tuple[int, str]]:
    """The pairs of some facts, batch by batch."""
    pairs = []
    for start in range(0, len(facts), BATCH):
        state, outcomes = step(state, facts[start : start + BATCH], NOW)
        pairs += [orjson.loads(told.fact.body) for told in outcomes if isinstance(told, Tell)]
    return [(serial, job) for serial, job in pairs]


@pytest.mark.parametrize("disordered", [False, True], ids=["in order", "disordered"])
def test_a_restart_in_the_middle_loses_no_pair(disordered: bool) -> None:
    """Each pair is found once, also when its sides come before and behind a take-over; what is behind the horizon is forgotten."""
    load = join.build(3, 2000, disordered=disordered)
    facts = [decode_fact(each.value) for each in load.facts]
    cases = Cases()
    pairs = found(JoinState(SETTINGS, cases), facts[:1000])
    known = Cases(cases.facts())
    pairs += found(JoinState(SETTINGS, known), facts[1000:])
    assert sorted(pairs) == sorted(load.pairs)
    hosts = {fact.case for fact in facts}
    assert 0 < len(list(known.facts())) < len(hosts) * len(facts) / BATCH / 2
