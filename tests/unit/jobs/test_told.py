"""What jobs tell behind: findings with whom they suspect, ended attempts, and summaries, each once per change."""

from collections.abc import Iterable
from typing import Any

import orjson

from pipeline.jobs.step import JobsState, build_state, step
from pipeline.model.facts import VOID, Fact, incidents_case
from pipeline.model.incident import Examined, Found, decode_in_case
from pipeline.model.outcome import Publish, Tell
from pipeline.model.source import Source
from pipeline.stream.cases import Cases
from tests import build
from tests.build import CLUSTER, DAY, allocation, fact, job_end, kill, now, rank_failed, touch

KILLED = [fact(allocation()), fact(touch(kill(97)), "touch"), fact(rank_failed(98)), fact(job_end(100))]


def fresh() -> JobsState:
    return build_state(build.settings(), Cases())


def told(state: JobsState, facts: Iterable[Fact], until: float = 150) -> tuple[dict[str, Any], list[Any]]:
    """(what incidents are told by fact id, findings that are published)."""
    _, outcomes = step(state, list(facts), now(until))
    facts_told = [out.fact for out in outcomes if isinstance(out, Tell) and out.stage == "incidents"]
    assert all(each.case == incidents_case(CLUSTER) for each in facts_told)
    said = [orjson.loads(out.value) for out in outcomes if isinstance(out, Publish) and out.content == "findings"]
    return {each.id: decode_in_case(each.body) if each.body else VOID for each in facts_told}, said


def test_a_finding_is_told_with_whom_it_suspects() -> None:
    """The value that is published has no such field."""
    facts, said = told(fresh(), KILLED)
    (found,) = [each for each in facts.values() if isinstance(each, Found)]
    assert found.finding.suspect == "u099"
    assert "suspect" not in said[0]["unmapped"]["trainwatch"]["canonical"]


def test_an_ended_attempt_is_told_with_its_verdict() -> None:
    """Whatever came of it: the scope of an incident needs those that are fine."""
    facts, _ = told(fresh(), [fact(allocation()), fact(job_end(100, "COMPLETED"))], until=2 * DAY)
    (ended,) = facts.values()
    assert isinstance(ended, Examined)
    assert (ended.owner, ended.verdict, ended.end) == ("u012", "benign", build.ms(100))


def test_a_running_attempt_is_not_told() -> None:
    """It loaded nothing that others wrote, and nobody can say how it will end."""
    facts, _ = told(fresh(), [fact(allocation())])
    assert facts == {}


def last_words(*batches: Iterable[Fact]) -> dict[tuple[str, bytes, str], bytes]:
    """What cohorts and incidents hold in the end."""
    state, words = fresh(), {}
    for batch in batches:
        state, outcomes = step(state, list(batch), now(2 * DAY))
        tells = [out for out in outcomes if isinstance(out, Tell)]
        words.update({(out.stage, out.fact.case, out.fact.id): out.fact.body for out in tells})
    return {name: body for name, body in words.items() if body}


def test_what_was_told_of_an_attempt_that_is_none_by_now_is_taken_back() -> None:
    """Accounting says hours later that it had nodes, and so began; told in the other order there never was another attempt."""
    bare = [fact(job_end(100, "FAILED", nodes=(), gpus=512))]
    whole = [fact(job_end(100, "FAILED", source=Source.SACCT, gpus=512))]
    one, other = last_words(bare, whole), last_words(whole, bare)
    assert len({name for _, _, name in other}) == 1
    assert one.keys() == other.keys()
    assert last_words(bare, whole, whole).keys() == other.keys()


def test_a_finding_taken_back_is_void() -> None:
    """Incidents let go of it."""
    state = fresh()
    facts, _ = told(state, KILLED)
    (name,) = [name for name, each in facts.items() if isinstance(each, Found)]
    facts, said = told(state, [Fact(KILLED[1].case, "touch", b"\xfe", VOID)])
    assert facts[name] == VOID
    assert said[0]["status_detail"] == "retracted"


def test_nothing_is_told_twice() -> None:
    """The same facts again say nothing new."""
    state = fresh()
    told(state, KILLED, until=2 * DAY)
    assert told(state, KILLED, until=2 * DAY) == ({}, [])
