"""What is built now and then ends as what is built at once: the same findings and attempts, the same last words."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.incidents import looks
from pipeline.incidents.step import IncidentsState, step
from pipeline.model.facts import VOID, Fact
from pipeline.model.ids import rank
from pipeline.model.incident import Examined, Mark
from pipeline.model.source import Source
from pipeline.model.summary import Exposure
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks
from tests import build
from tests.unit.incidents.campaign import CLUSTER, DAY, T0, borrowed, cancel, examined, kill, record, slowed, tamper
from tests.unit.incidents.test_bounds import canonical
from tests.unit.incidents.test_step import CASE, fact, fresh

POOL = [
    *(make(day, f"{day}{who}", who, owner=owner) for make, day, who, owner in [
        (kill, 0, "u099", "u012"), (cancel, 1, "u099", "u012"), (kill, 2, "u098", "u013"), (tamper, 3, "u098", "u013"),
        (tamper, 4, "u099", "u014"), (kill, 6, "", "u012"), (cancel, 9, "u098", "u012"), (tamper, 30, "u050", "u015"),
    ]),
    borrowed(5, "u099"),
    *(msgspec.structs.replace(borrowed(day, "u099"), suspect="u051", effect=f"opened-{day}") for day in (7, 8)),  # incidents of their own
]  # fmt: skip
WORK: dict[str, Any] = {"owner": "u012", "task": "llm", "configuration": "c", "nodes": ("gpu-012",), "gpus": 8, "state": "FAILED"}
LOADED = [Exposure("/ckpt/a.pt", who, T0, record("written", f"w-{who}", T0), record("loaded", f"l-{who}", T0)) for who in ("u098", "u099")]
ENDED = [
    *(examined(str(number), number / 2, verdict="benign" if number % 3 else "unexplained") for number in range(8)),
    # What the findings are about, what went on from it, what stands beside it: by work, by loads, by pace.
    *(examined(f"{day}{who}", day, **WORK, saved=Mark(T0 + day * DAY - 600_000, f"s{day}")) for day, who in ((0, "u099"), (2, "u098"))),
    *(examined(f"{day}{who}", day, **WORK, exposures=(LOADED[who == "u099"],)) for day, who in ((3, "u098"), (4, "u099"), (30, "u050"))),
    *(examined(f"later-{day}", day, **WORK, exposures=(LOADED[day % 2],), pace=900.0 + day) for day in (5, 8, 12, 29)),
    *(
        examined(f"beside-{day}", day, **{**WORK, "owner": f"u01{day % 5}"}, pace=600.0, loads_told=day % 3 > 0)
        for day in (1, 6, 9, 14, 28)
    ),
    *(examined(f"resumed-{day}", day, **WORK, resumed=("0u099", Mark(T0 - 600_000, "s0"))) for day in (7, 11)),
]
ENDED += [msgspec.structs.replace(each, end=None, verdict="", state="") for each in ENDED[8:13]]  # while they run
PASSED = T0 + 100 * DAY
HOUR = 3_600_000


@pytest.fixture(scope="module")
def patient() -> Iterator[None]:
    """Campaigns of a few findings wait as if they were large."""
    patch = pytest.MonkeyPatch()
    for name, value in (("SHARE", 1), ("LASTED", 2), ("GROUPED_SHARE", 1), ("COST", 2)):
        patch.setattr(looks, name, value)
    yield
    patch.undo()


def words(state: IncidentsState, facts: list[Fact], time: int, heard: Iterable[int] = ()) -> dict[str, dict[str, Any]]:
    """What a step says, with all marks at a time, and all sources heard in those of these hours that have passed by then."""
    buckets = frozenset(bucket for hour in heard if (bucket := T0 + hour * HOUR) < time)
    now = Watermarks(
        {(CLUSTER, source): (time, time) for source in Source}, {(CLUSTER, source): buckets for source in Source}, build.BUCKET_MS
    )
    return {body["id"]: body for body in map(canonical, step(state, facts, now)[1])}


def standing(said: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Taken back equals never said."""
    return {name: body for name, body in sorted(said.items()) if body["status"] != "retracted"}


CHANGES = st.lists(
    st.tuples(st.integers(0, len(POOL) - 1), st.booleans()) | st.tuples(st.integers(0, len(ENDED) - 1), st.none()), min_size=1, max_size=30
)


@settings(max_examples=60, deadline=None)
@given(
    changes=CHANGES, size=st.integers(1, 4), days=st.integers(1, 5), restart=st.booleans(), hours=st.sets(st.integers(0, 23), max_size=2)
)
def test_what_waited_is_told_in_the_end(
    patient: None,
    changes: list[tuple[int, bool | None]],
    size: int,
    days: int,
    hours: set[int],
    *,
    restart: bool,
) -> None:
    """Findings told, taken back and told again, attempts between them, marks going on or far behind, sources heard now and then, a restart
    among it; and a restart afterwards says nothing new.
    """
    heard = [day * 24 + hour for day in range(32) for hour in hours]
    facts = []
    for revision, (place, holds) in enumerate(changes, start=1):
        if holds is None:
            facts.append(fact(ENDED[place], revision))
        else:
            finding = POOL[place]
            facts.append(fact(finding, revision) if holds else Fact(CASE, finding.id, rank(1, revision), VOID))
    state, time = fresh(), T0
    said: dict[str, dict[str, Any]] = {}
    for number, place in enumerate(range(0, len(facts), size)):
        time = T0 + number * days * DAY + HOUR
        said.update(words(state, facts[place : place + size], time, heard))
        if restart and number == 1:
            state = fresh(Cases(state.cases.facts()))
    for day in range((time - T0) // DAY + 1, 32):  # windows close, and the days go on
        said.update(words(state, [], T0 + day * DAY + HOUR, heard))
    said.update(words(state, [], PASSED, heard))
    last = {each.id: each for each in facts}
    assert standing(said) == standing(words(fresh(), list(last.values()), PASSED, heard))
    assert words(fresh(Cases(state.cases.facts())), [], PASSED, heard) == {}


@pytest.mark.parametrize("hour", [1, 12, 23])
def test_a_day_that_goes_on_after_a_window_has_closed_is_waited_for(hour: int) -> None:
    """Whether it was silent cannot be said before it is over: the last body, and that after a restart, are those of a replay."""
    state, said = fresh(), dict[str, dict[str, Any]]()
    told = [fact(kill(0, "1", "u099"))]
    for time in (T0 + 600_000, T0 + 2 * HOUR, T0 + 2 * DAY):
        said.update(words(state, told, time, [hour]))
    assert said == words(fresh(), told, T0 + 2 * DAY, [hour])
    assert not any("was not heard" in limit for body in said.values() for limit in body["limits"])
    assert words(fresh(Cases(state.cases.facts())), [], T0 + 2 * DAY, [hour]) == {}


NEAR = [
    kill(0, "killed", "u099"),
    tamper(2, "altered", "u098"),
    msgspec.structs.replace(tamper(2, "shared", "u097", path="/env/a.py", owner="u013"), detector="p04_environment_tamper"),
    slowed(1, "gpu-020", "u096"),
    borrowed(1, "u061"),
]
ALTERED = Exposure("/ckpt/a.pt", "u098", T0 + 2 * DAY, record("written", "w1", T0), record("loaded", "l1", T0 + 2 * DAY))
SHARED = msgspec.structs.replace(ALTERED, path="/env/a.py", writer="u097", write=record("written", "w2", T0))
SAVED = Mark(T0 + 3 * DAY, "saved")
THEIRS = [
    examined("killed", 0, **{**WORK, "owner": "u016"}, end=T0 + DAY // 24),
    examined("altered", 2, **WORK, exposures=(ALTERED,), end=T0 + 4 * DAY, saved=SAVED),
    examined("shared", 2, **{**WORK, "owner": "u013"}, exposures=(SHARED,), end=T0 + 4 * DAY, saved=SAVED),
    examined("slow", 1.02, **{**WORK, "nodes": ("gpu-020",), "task": ""}, pace=900.0),
    *(examined(f"beside-{day}", day, **{**WORK, "task": ""}, pace=600.0 + day) for day in (7, 9)),
]
LATER = [
    *THEIRS,
    examined("next", 0.3, **{**WORK, "owner": "u016"}),
    examined("killed", 0.3, **{**WORK, "owner": "u016", "task": "other"}),
    examined("load", 10, **{**WORK, "owner": "u014", "task": "vision"}, exposures=(SHARED,)),
    examined("resumed", 9, **{**WORK, "owner": "u015", "task": "other"}, resumed=("altered", SAVED)),
    examined("after", 9, **WORK, loads_told=False),
    examined("meanwhile", 2.5, **{**WORK, "owner": "u014"}, loads_told=False),
    examined("sibling", 20, **{**WORK, "task": ""}, pace=300.0),
    examined("cancelled", 1.2, owner="u061", nodes=("gpu-001",), state="CANCELLED"),
]


@pytest.mark.parametrize("late", LATER, ids=[f"{place}-{each.attempt.job}" for place, each in enumerate(LATER)])
def test_an_attempt_that_comes_last_is_reckoned_with(late: Examined) -> None:
    """However far from the acts: incidents that rest on it are built anew, whatever they had asked for it by."""
    told = [*map(fact, NEAR), *(fact(each) for each in THEIRS if each is not late)]
    state = fresh()
    before = words(state, told, PASSED)
    changed = words(state, [fact(late)], PASSED + DAY)
    assert changed, "nothing rests on it: the case shows nothing"
    assert len(changed) < len(before)
    assert standing(before | changed) == standing(words(fresh(), [*told, fact(late)], PASSED + DAY))
