"""Large campaigns: all is weighed and counted, what is told of it fits into one message, and is the same whatever the order."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.incidents import building
from pipeline.incidents.building import BODY_BYTES_MAX, Bounds, spread
from pipeline.incidents.step import step
from pipeline.model.facts import decode_fact, encode_fact
from pipeline.model.finding import Finding
from pipeline.model.outcome import Observed, Outcome, Publish, Read, Record, Tell
from pipeline.model.source import Source
from pipeline.runtime.guard import TOLD_BYTES_MAX
from pipeline.runtime.local import LocalRuntime
from pipeline.settings import Settings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks
from pipeline.topology import Stage, build_topology
from tests import build
from tests.unit.incidents.campaign import CLUSTER, DAY, T0, cancel, kill, record, tamper
from tests.unit.incidents.test_step import fact, fresh, run

MAKERS = (kill, cancel, tamper)


def campaign(size: int, days: float = 60, **changes: Any) -> list[Finding]:
    """One hand, three kinds of acts, forty victims."""
    return [
        MAKERS[number % 3](days * number / size, str(1000 + number), "u099", owner=f"u{number % 40:03d}", **changes)
        for number in range(size)
    ]


def built(findings: Sequence[Finding]) -> dict[str, Any]:
    """The one incident of these findings."""
    (said,) = run(fresh(), map(fact, findings)).values()
    return said


def test_a_large_campaign_fits_and_says_what_it_leaves_out() -> None:
    """Nothing is lost: members and others are all findings, detectors add up, and a reader is told."""
    findings = campaign(700)
    said = built(findings)
    assert {each["finding"] for each in said["members"]} | {each[0] for each in said["others"]} == {each.id for each in findings}
    assert len(said["members"]) == Bounds().members
    assert said["findings"] == len(findings) == sum(count for _, count, _ in said["detectors"])
    counted = Counter(said["detectors"][each[1]][0] for each in said["others"]) + Counter(each["detector"] for each in said["members"])
    assert counted == {detector: count for detector, count, _ in said["detectors"]}
    assert any(line.startswith("Of 700 findings 200 are listed") for line in said["limits"])
    assert (said["scope"]["affected"], len(said["scope"]["attempts"])) == (700, Bounds().names)


def test_long_texts_halve_what_is_told() -> None:
    """Whoever writes paths of many kilobytes into logs hides no incident by it."""
    texts = [tuple(record(f"r{place}", f"{number}{place}", T0, summary="x" * 9000) for place in range(3)) for number in range(250)]
    long = [msgspec.structs.replace(each, summary="s" * 50_000, evidence=cited) for each, cited in zip(campaign(250), texts, strict=True)]
    said = built(long)
    assert len(orjson.dumps(said)) <= BODY_BYTES_MAX
    assert len(said["members"]) < 200
    assert said["findings"] == 250


@pytest.mark.parametrize("seed", range(3))
def test_what_is_told_follows_from_the_set(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the order and the parts in which findings came, and with whatever was told on the way."""
    monkeypatch.setattr(building, "Bounds", lambda: Bounds(members=7, moments=9, others=11, aliases=5, artefacts=2, names=3))
    findings = [*campaign(30, 20), *(kill(number, f"x{number}", "u098", owner="u777") for number in range(5))]
    whole = run(fresh(), map(fact, findings))
    facts = list(map(fact, findings))
    random.Random(seed).shuffle(facts)
    state, last = fresh(), {}
    for place in range(0, len(facts), 6):
        last.update(run(state, facts[place : place + 6]))
    assert {name: body for name, body in last.items() if body["status"] != "retracted"} == whole


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=60), st.integers(1, 20))
def test_the_first_of_every_kind_and_the_last_are_listed(kinds: list[str], most: int) -> None:
    """As many as fit, each once, in order; kinds get their turn before any gets a second one."""
    places = spread(kinds, most)
    assert places == sorted(set(places))
    assert len(places) == min(most, len(kinds))
    assert places[-1] == len(kinds) - 1
    if most > len(set(kinds)):
        assert {kinds[place] for place in places} == set(kinds)
    shown = Counter(kinds[place] for place in places[:-1])
    left = Counter(kinds) - Counter(kinds[place] for place in places)
    assert all(shown[kind] >= max(shown.values(), default=0) - 1 for kind in left)


# --- how often --------------------------------------------------------------------------------------------------------------------


def test_a_campaign_that_goes_on_is_built_now_and_then() -> None:
    """A finding at a time: at first each is told at once, later they wait for one another; when marks have passed all are told."""
    findings = campaign(240, days=20)
    state = fresh()
    said: list[Outcome] = []
    for each in findings:
        said += step(state, [fact(each)], up_to(each.effect_time))[1]
    assert len(said) < len(findings) / 2
    assert [canonical(out)["findings"] for out in said[:20]] == list(range(1, 21))
    passed = up_to(findings[-1].effect_time + DAY)
    said += step(state, [], passed)[1]
    (at_once,) = step(fresh(), [*map(fact, findings)], passed)[1]
    assert canonical(said[-1]) == canonical(at_once)
    assert canonical(at_once)["findings"] == len(findings)


def test_a_new_incident_beside_a_large_one_is_told_at_once() -> None:
    """Who waits is the large one, for its own next finding."""
    state = fresh()
    findings = campaign(240, days=20)
    now = up_to(findings[-1].effect_time)
    step(state, [*map(fact, findings)], now)
    assert step(state, [fact(kill(20, "more", "u099"))], now)[1] == []
    (said,) = step(state, [fact(kill(20, "other", "u050", owner="u900"))], now)[1]
    assert canonical(said)["findings"] == 1


def test_what_ties_a_large_campaign_to_another_is_told_at_once() -> None:
    """A merge changes who is accused of what."""
    state = fresh()
    findings = campaign(240, days=20)
    other = tamper(10, "other", "", "/ckpt/other.pt", owner="u900")
    now = up_to(findings[-1].effect_time)
    assert len(step(state, [*map(fact, [*findings, other])], now)[1]) == 2
    said = step(state, [fact(tamper(20, "tie", "u099", "/ckpt/other.pt"))], now)[1]
    assert len(said) == 2  # one has both now, one says into which it was merged


def canonical(out: Outcome) -> dict[str, Any]:
    """The body that was published."""
    assert isinstance(out, Publish)
    body: dict[str, Any] = orjson.loads(out.value)["unmapped"]["trainwatch"]["canonical"]
    return body


def up_to(time: int) -> Watermarks:
    """All sources have come so far."""
    return Watermarks({(CLUSTER, source): (time, time) for source in Source}, {}, build.BUCKET_MS)


# --- through a runtime ------------------------------------------------------------------------------------------------------------


class Nothing:
    """State of a stage that remembers nothing."""

    def __init__(self, _: Settings, cases: Cases) -> None:
        self.cases = cases


def _hand_on(state: Nothing, batch: Sequence[Record], _: Watermarks) -> tuple[Nothing, list[Outcome]]:
    """Records that hold facts about findings in; the facts, and how far they have come, out."""
    facts = [decode_fact(each.value or b"") for each in batch]
    outcomes: list[Outcome] = [Tell("incidents", each) for each in facts]
    return state, [
        *outcomes,
        Read(batch[-1].timestamp, final=False),
        *(Observed(CLUSTER, source, batch[-1].timestamp, ()) for source in Source),
    ]


def test_five_thousand_findings_pass_through_the_local_runtime() -> None:
    """One campaign over two months: no dead letter, no message that a broker refuses, and the last word has all of them."""
    findings = campaign(5000)
    settings = build.settings()
    whole = build_topology(settings)
    (last,) = [stage for stage in whole.stages if stage.name == "incidents"]
    inputs = ("logs.access",)
    first = Stage("ingest", inputs, "records", Nothing, _hand_on, tells=("incidents",))
    runtime = LocalRuntime(settings, topology=whole._replace(stages=(first, last._replace(upstream=inputs))))
    for place in range(0, len(findings), 500):
        part = findings[place : place + 500]
        runtime.feed(
            Record(topic="logs.access", partition=0, offset=0, timestamp=each.effect_time, value=encode_fact(fact(each))) for each in part
        )
        runtime.checkpoint()
    results = runtime.finish()
    assert results.dead_letters == []
    (body,) = results.canonical_incidents().values()
    said = orjson.loads(body)
    assert len(body) <= BODY_BYTES_MAX < TOLD_BYTES_MAX
    assert said["findings"] == 5000 == len(said["members"]) + len(said["others"])
    assert results.published["incidents"] <= 12
