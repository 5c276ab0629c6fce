"""Who leads in an incident, who was named, and whether its loss holds what was wasted."""

from collections.abc import Sequence
from io import StringIO
from itertools import zip_longest
from math import inf
from typing import Any, NamedTuple

import msgspec
import pytest
from rich.console import Console

from pipeline.cli.score import show_incidents
from pipeline.model.incident import label_of
from pipeline.score.incidents import Judged, OfActor, hours_of, is_attributable, judged
from pipeline.score.match import Found
from pipeline.score.seed import SeedScore
from pipeline.score.table import Rate, Spread, incident_table
from pipeline.score.truth import Act, LookAlike, Truth, Wasted
from tests.unit.score.test_match import MODULE, T0, act, finding, harmed
from tests.unit.score.test_table import period

HOUR = 3_600_000
KEY = b"a key for tests alone"
ACTOR, VICTIM, COLLEAGUE = "u099", "u012", "u098"


def wasted(act_id: str, start: float, hours: float, *, gpus: int = 8, job: str = "7", share: float = 1.0) -> Wasted:
    """A stretch of an attempt."""
    return Wasted(act_id, "ended", job, T0, gpus, T0 + round(start * HOUR), T0 + round((start + hours) * HOUR), share)


def seen(act_: Act, **changes: Any) -> Act:
    """Audit records tell of it."""
    return msgspec.structs.replace(act_, **{"shows": {"auditd": "a write"}, **changes})


def incident(
    name: str,
    *findings: str,
    leader: str = "",
    named: str = "",
    hours: tuple[float, float, float] = (0, 0, 0),
    who: Sequence[str] = (),
    order: Sequence[str] = (),
) -> dict[str, Any]:
    """As far as it is compared.  `who`: whom each finding suspects; `order`: hypotheses, the leading one first."""
    hypotheses = [dict(zip(("kind", "_", "who"), each.partition("/"), strict=True)) for each in (order or [leader])]
    return {
        "id": name, "cluster": "main", "status": "final", "alert": True, "findings": len(findings),
        "members": [{"finding": each, "who": suspect} for each, suspect in zip_longest(findings, who, fillvalue="")], "others": [],
        "attribution": {"leader": leader, "named": named, "hypotheses": hypotheses}, "loss": {"direct_gpu_hours": hours},
    }  # fmt: skip


ONE = seen(act())
FOUND = finding()
TRUTH = Truth((ONE,), (), (), (wasted(ONE.id, 0, 2),))


class Row(NamedTuple):
    """What stands in an incident, and how it is judged."""

    name: str
    leader: str
    named: str
    judged: tuple[str, str]


TABLE = [
    Row("the actor, by name", f"did/{ACTOR}", ACTOR, ("right", "right")),
    Row("the actor, under a label", f"did/{label_of('main', ACTOR, KEY)}", "", ("right", "withheld")),
    Row("a label under another key", f"did/{label_of('main', ACTOR, b'')}", "", ("wrong", "withheld")),
    Row("a colleague leads", f"did/{label_of('main', COLLEAGUE, KEY)}", "", ("wrong", "withheld")),
    Row("a colleague is named", f"did/{COLLEAGUE}", COLLEAGUE, ("wrong", "wrong")),
    Row("the victim is named", f"did/{VICTIM}", VICTIM, ("wrong", "wrong")),
    Row("the actor's account in others' hands", f"borrowed/{label_of('main', ACTOR, KEY)}", "", ("borrowed", "withheld")),
    Row("the victim's account in others' hands", f"borrowed/{label_of('main', VICTIM, KEY)}", "", ("borrowed", "withheld")),
    Row("a colleague's account in others' hands", f"borrowed/{label_of('main', COLLEAGUE, KEY)}", "", ("wrong", "withheld")),
    Row("nobody", "nobody", "", ("open", "withheld")),
]


@pytest.mark.parametrize("row", TABLE, ids=[row.name for row in TABLE])
def test_who_leads_and_who_is_named(row: Row) -> None:
    """Labels are read by the site's key."""
    (said,) = judged([incident("i", FOUND.id, leader=row.leader, named=row.named)], [FOUND], TRUTH, KEY)
    assert (said.leader, said.named, said.attributable, said.acts) == (*row.judged, True, (ONE.id,))


def test_an_act_belongs_to_one_incident() -> None:
    """To that which holds most of its own findings; the other is a fragment, and its name is judged all the same."""
    more = [finding(name="8"), finding(name="7", detector="p06_checkpoint_tamper")]
    known = [incident("a", FOUND.id, more[0].id, leader=f"did/{ACTOR}"), incident("b", more[1].id, leader="did/x", named="x")]
    home, fragment = judged(known, [FOUND, *more], TRUTH, KEY)
    assert (home.acts, fragment.acts, fragment.leader, fragment.named) == ((ONE.id,), (), "wrong", "wrong")


OTHER_ACT = seen(act("p06", actor=COLLEAGUE, victims=(harmed("9"), harmed("7")), exposed=()))
BOTH = Truth((ONE, OTHER_ACT), (), ())
RESTORED = finding(detector="p06_checkpoint_tamper", id="r")  # of a job that both harmed
THEIRS = finding(name="9", detector="p06_checkpoint_tamper")
A, C = f"did/{ACTOR}", f"did/{COLLEAGUE}"


@pytest.mark.parametrize(
    ("findings", "who", "order", "leaders"),
    [
        ((FOUND, THEIRS), (ACTOR, COLLEAGUE), (A, C, "nobody/"), {ACTOR: "right", COLLEAGUE: "right"}),
        ((FOUND, THEIRS), (ACTOR, ""), (A, "nobody/"), {ACTOR: "right", COLLEAGUE: "open"}),
        ((FOUND, THEIRS), (ACTOR, ACTOR), (A, "nobody/"), {ACTOR: "right", COLLEAGUE: "wrong"}),
        ((RESTORED, FOUND, THEIRS), ("", ACTOR, COLLEAGUE), (A, C, "nobody/"), {ACTOR: "right", COLLEAGUE: "right"}),
        ((FOUND, THEIRS), (ACTOR, VICTIM), (A, f"borrowed/{VICTIM}", f"did/{VICTIM}"), {ACTOR: "right", COLLEAGUE: "borrowed"}),
        ((FOUND, THEIRS), (ACTOR, "u044"), (A, f"borrowed/{COLLEAGUE}", "did/u044"), {ACTOR: "right", COLLEAGUE: "wrong"}),
    ],
    ids=["each leads for the own", "one is not seen", "one stands for both", "a finding nearer to another's act says nothing of one",
         "the victim's account in others' hands", "somebody else"],
)  # fmt: skip
def test_everybody_who_acted_is_judged(
    findings: Sequence[Found], who: Sequence[str], order: Sequence[str], leaders: dict[str, str]
) -> None:
    """By the findings about the own acts, in the order of the incident's hypotheses."""
    body = incident("i", *(each.id for each in findings), leader=order[0], who=who, order=order)
    (said,) = judged([body], findings, BOTH, KEY)
    assert {each.actor: each.leader for each in said.by_actor} == leaders
    assert said.leader == "right"  # which tells nothing of the second


WRITTEN_BY_COLLEAGUE = T0 + 9 * HOUR
AGAIN = seen(act("p09", actor=COLLEAGUE, victims=(), exposed=(harmed("7"),), times_ms=(WRITTEN_BY_COLLEAGUE,)))
EDITED = LookAlike("harmless_edit", "u044", WRITTEN_BY_COLLEAGUE, artefact=MODULE, pattern="p04")


@pytest.mark.parametrize(
    ("truth", "acts"),
    [
        (Truth((ONE, AGAIN), (), ()), (AGAIN.id,)),
        (Truth((ONE,), (EDITED,), ()), ()),
        (Truth((ONE,), (msgspec.structs.replace(EDITED, time_ms=T0 + HOUR),), ()), (ONE.id,)),
        (Truth((ONE,), (msgspec.structs.replace(EDITED, artefact="/shared/other.py"),), ()), (ONE.id,)),
    ],
    ids=["of another act", "harmless", "harmless, at another time", "harmless, of another file"],
)
def test_a_finding_is_about_the_write_that_it_cites(truth: Truth, acts: tuple[str, ...]) -> None:
    """The job loaded what two people had written; the finding cites the write of one of them."""
    found = finding(anchor=MODULE, cited=(MODULE,), written=(WRITTEN_BY_COLLEAGUE + 900,))
    (said,) = judged([incident("i", found.id, leader=f"did/{COLLEAGUE}")], [found], truth, KEY)
    assert said.acts == acts


def test_a_flood_is_told_by_its_jobs() -> None:
    """Two floods of one hour, of which one cost the other a job, are two acts of two people, and each incident is about its own."""
    acts = [
        seen(act("p13", id=name, actor=who, artefacts=(), victims=(), exposed=())) for name, who in (("one", ACTOR), ("two", COLLEAGUE))
    ]
    held = (("one", "20"), ("one", "21"), ("two", "30"), ("two", "31"))
    waste = tuple(Wasted(each, "held", job, T0, 8, T0, T0 + HOUR, 1.0) for each, job in held)
    cited = (("job 20 of the burst", "job 21 of the burst"), ("job 20 preempted", "job 30 of the burst", "job 31 of the burst"))
    found = [
        finding("cohort", "queue/batch", "p13_queue_flooding", id=each.id, cited=texts) for each, texts in zip(acts, cited, strict=True)
    ]
    bodies = [incident(each.id, each.id, leader=f"did/{each.actor}") for each in acts]
    said = judged(bodies, found, Truth(tuple(acts), (), (), waste), KEY)
    assert [(each.acts, each.leader, each.wasted) for each in said] == [(("one",), "right", 16.0), (("two",), "right", 16.0)]


@pytest.mark.parametrize(
    ("act_", "can_be_told"),
    [
        (ONE, True),
        (seen(ONE, shows={"training": "a rank ends"}), False),
        (seen(ONE, attributable=False), False),
        (seen(act("p13"), shows={"jobcomp": "jobs of one user"}), True),
        (seen(act("p04"), shows={"jobcomp": "jobs fail"}), False),
    ],
    ids=["audit tells", "training alone", "by the truth nobody can", "a flood by the scheduler", "a module by the scheduler"],
)
def test_who_can_be_told_follows_from_the_sources(act_: Act, can_be_told: bool) -> None:
    """From what arrives, never from what was found."""
    assert is_attributable(act_) is can_be_told


@pytest.mark.parametrize(
    ("waste", "hours"),
    [
        ([wasted("a", 0, 2)], 16.0),
        ([wasted("a", 0, 2), wasted("b", 1, 2)], 24.0),
        ([wasted("a", 0, 2, share=0.25), wasted("b", 0, 2, share=0.5)], 12.0),
        ([wasted("a", 0, 2, share=0.75), wasted("b", 0, 2, share=0.5)], 16.0),
        ([wasted("a", 0, 1), wasted("a", 0, 1, job="8", gpus=4)], 12.0),
        ([], 0.0),
    ],
    ids=["one", "no hour twice", "shares add up", "never more than all", "two attempts", "none"],
)
def test_gpu_hours_are_counted_once(waste: list[Wasted], hours: float) -> None:
    """By attempt and moment."""
    assert hours_of(waste) == pytest.approx(hours)


@pytest.mark.parametrize(
    ("hours", "is_inside"),
    [((10, 16, 20), True), ((16.2, 17, 20), True), ((17, 18, 20), False), ((0, 1, 15), False), ((0, 0, 15.9), True)],
    ids=["between", "rounding", "low is too high", "high is too low", "rounding of the high one"],
)
def test_the_loss_holds_what_was_wasted(hours: tuple[float, float, float], is_inside: bool) -> None:
    """16 GPU-hours, give or take what whole seconds and late stamps make of them."""
    (said,) = judged([incident("i", FOUND.id, hours=hours)], [FOUND], TRUTH, KEY)
    assert (said.wasted, said.inside) == (16.0, is_inside)


@pytest.mark.parametrize(
    ("hours", "width"), [((10, 16, 20), 2.0), ((0, 16, 20), inf), ((0, 0, 0), 1.0)], ids=["twice", "low says nothing", "nothing at all"]
)
def test_how_wide_a_reading_is(hours: tuple[float, float, float], width: float) -> None:
    """What says nothing in low is as wide as can be."""
    (said,) = judged([incident("i", FOUND.id, hours=hours)], [FOUND], TRUTH, KEY)
    assert said.width == width


def test_quantiles_know_the_infinite() -> None:
    """Of ten readings three without a low: three quarters have no bound."""
    spread = Spread.of([*range(1, 8), inf, inf, inf])
    assert spread == Spread(10, 1.0, 3.0, 5.0, None, None)
    assert Spread.of([]) == Spread(0)


def test_incidents_are_added_up() -> None:
    """Above the gate alone; a wrong name counts wherever it stands."""
    acted = OfActor(ACTOR, ("a",), True, 3, "right")
    unseen = OfActor(COLLEAGUE, ("b",), True, 1, "open")
    base = Judged("i", True, ("a",), (ACTOR,), True, "right", "right", 3, 1.0, 2.0, 3.0, 2.0, (acted,))
    rest = [
        msgspec.structs.replace(base, leader="open", named="withheld", wasted=9.0, by_actor=(acted, unseen)),
        msgspec.structs.replace(base, attributable=False, leader="open", named="withheld", by_actor=()),
        msgspec.structs.replace(base, alert=False, named="wrong"),
        msgspec.structs.replace(base, acts=()),
    ]
    scores: list[SeedScore] = [msgspec.structs.replace(period(1), incidents=[base, *rest])]
    table = incident_table(scores)
    assert (table.incidents, table.acts, table.fragments) == (3, 3, 1)
    assert (table.leading, table.named, table.loss_inside) == (Rate(1, 2), Rate(1, 2), Rate(2, 3))
    assert (table.actors, table.actors_together) == (Rate(2, 3), Rate(1, 2))
    assert (table.width.median, table.middle_over_wasted.nine_tenths, table.high_over_wasted.tenth) == (3.0, 1.0, 0.333)
    assert (table.named_wrongly, table.reached) == (1, False)
    assert incident_table([period(1)]).reached


def test_they_are_shown_with_their_bars() -> None:
    """What misses its bar says so."""
    base = Judged("i", True, ("a",), (ACTOR,), True, "wrong", "withheld", 3, 1.0, 2.0, 3.0, 2.0)
    console = Console(file=StringIO(), width=160)
    show_incidents(console, incident_table([msgspec.structs.replace(period(1), incidents=[base])]))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert ["high / low", "1", "3", "3", "3", "3", "3"] in [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines()]
    assert "below 0.9" in shown
    assert "1 act in 1 incident, 0 fragments; leaders: wrong 1; named wrongly: 0" in shown
