"""How incidents live: split by a corrected finding, together again under ids that people know, judged anew by another identity map."""

from typing import Any

import msgspec
import pytest

from pipeline.cohorts.step import build_state as build_cohorts
from pipeline.cohorts.step import step as judge_cohorts
from pipeline.incidents.step import step
from pipeline.model.facts import VOID, Fact
from pipeline.model.finding import Finding
from pipeline.model.ids import rank
from pipeline.model.incident import Mark, incident_id
from pipeline.model.outcome import Tell
from pipeline.model.summary import Exposure
from pipeline.stream.cases import Cases
from tests import build
from tests.unit.cohorts.test_step import MEMBERS
from tests.unit.cohorts.test_step import fact as of_cohort
from tests.unit.detect.cohorts import FILE
from tests.unit.incidents.campaign import CLUSTER, attempt_of, borrowed, cancel, entered, examined, kill, marks, record, removal, tamper
from tests.unit.incidents.test_bounds import canonical
from tests.unit.incidents.test_step import CASE, STORY, fact, fresh, run

ONE = tamper(0, "1", "u099")
TIE = tamper(25, "3", "u099", "/ckpt/b.pt", owner="u014")
OTHER = tamper(50, "2", "u099", "/ckpt/b.pt", owner="u013")  # too long behind the first for one campaign, were there nothing between
CORRECTED = msgspec.structs.replace(TIE, suspect="u098", actor="u098")  # it was another's account


def of(finding: Finding) -> str:
    """The incident that it founds."""
    return incident_id(CLUSTER, finding.id)


def test_a_title_says_by_what() -> None:
    """A checkpoint that is gone was not altered."""
    gone, altered = removal(0, "1", "u099", "/ckpt/a"), tamper(0.1, "1", "u099", "/ckpt/a/b.pt")
    assert {body["title"] for body in run(fresh(), [fact(gone)]).values()} == {"checkpoints removed: 1 finding"}
    both = run(fresh(), map(fact, [gone, altered]))[of(gone)]["title"]
    assert both == "checkpoints removed, files altered: 2 findings"


def test_what_was_refused_cancelled_nothing() -> None:
    """And says so in the title."""
    (refused,) = run(fresh(), [fact(msgspec.structs.replace(cancel(0, "1", "u099"), effect="cancel_refused"))]).values()
    assert refused["title"] == "orders refused: 1 finding"


def test_a_corrected_finding_splits_what_it_had_tied() -> None:
    """Whom it suspects was corrected: three incidents, under ids that they had before they were merged."""
    state = fresh()
    run(state, map(fact, [ONE, OTHER]))
    merged = run(state, [fact(TIE)])
    assert (merged[of(ONE)]["findings"], merged[of(OTHER)]["merged_into"]) == (3, of(ONE))
    assert {of(OTHER), of(TIE)} == set(merged[of(ONE)]["aliases"])
    split = run(state, [fact(CORRECTED, revision=2)])
    for each in (ONE, TIE, OTHER):
        assert [member["finding"] for member in split[of(each)]["members"]] == [each.id]
        assert split[of(each)]["aliases"] == []
    assert {body["status"] for body in split.values()} == {"final"}


def test_what_was_split_comes_together_again_under_the_same_ids() -> None:
    """Whoever knew either id is led on each time."""
    state = fresh()
    run(state, map(fact, [ONE, OTHER, TIE]))
    run(state, [fact(CORRECTED, revision=2)])
    again = run(state, [fact(TIE, revision=3)])
    assert again[of(ONE)]["findings"] == 3
    assert (again[of(OTHER)]["status"], again[of(OTHER)]["merged_into"]) == ("retracted", of(ONE))
    assert run(fresh(), map(fact, [ONE, OTHER, TIE]))[of(ONE)] == again[of(ONE)]


@pytest.mark.parametrize(
    ("identities", "named", "why"),
    [
        ([{"id": "u099", "uid": 5099, "login": "u099"}], "u099", ""),
        ([{"id": "u099", "uid": 5099, "login": "u099", "role": "service"}], "", "several people"),
        ([{"id": "u050", "uid": 5050, "login": "u050"}], "", "by the identity map nobody had the account then"),
    ],
    ids=["a person", "it proves to be a service", "it proves to be unknown"],
)
def test_a_corrected_identity_map_judges_anew(identities: list[dict[str, Any]], named: str, why: str) -> None:
    """After the restart that a correction needs, without another word on any finding; under the same id."""
    state = fresh()
    (before,) = step(state, list(map(fact, STORY)), marks(60))[1]
    assert canonical(before)["attribution"]["named"] == "u099"
    after = step(fresh(Cases(state.cases.facts()), identities=identities), [], marks(60))[1]
    said = canonical((after or [before])[0])
    assert said["id"] == of(STORY[0])
    assert said["attribution"]["named"] == named
    assert why in said["attribution"]["withheld"]


@pytest.mark.parametrize(
    ("login", "told", "named"),
    [("u099", "login:u099", "u090"), ("u099", "u099", "u090"), ("u099", "login:u098", ""), ("u050", "u050", "")],
    ids=["unknown", "by an old id", "of another account", "by an id that somebody has"],
)
def test_logins_told_before_a_correction_count_for_whoever_has_the_account_now(login: str, told: str, named: str) -> None:
    """They are not told again under the id that the corrected map gives; another account's are not his, whatever its id."""
    map_now = [{"id": "u090", "uid": 5099, "login": login}, {"id": "u050", "uid": 5050, "login": "u051"}]
    cases = Cases()
    for each in entered(told):
        cases.merge(each)
    story = [msgspec.structs.replace(each, suspect="u090", actor="u090") for each in STORY]
    (said,) = map(canonical, step(fresh(cases, identities=map_now), list(map(fact, story)), marks(60))[1])
    assert said["attribution"]["named"] == named


@pytest.mark.parametrize("told", ["u090", "login:u099", "u099"], ids=["by the id of now", "unknown", "by an old id"])
def test_a_borrowed_account_stays_borrowed_under_a_corrected_map(told: str) -> None:
    """What befell the account was told under the id of then, and is not told again; another account's is not held for his."""
    cases = Cases()
    for each in entered("u090"):
        cases.merge(each)
    map_now = [{"id": "u090", "uid": 5099, "login": "u099"}]
    story = [msgspec.structs.replace(each, suspect="u090", actor="u090") for each in STORY]
    for account, named in ((told, ""), ("login:u050", "u090")):
        state = fresh(Cases(cases.facts()), identities=map_now)
        found = map(canonical, step(state, [*map(fact, story), fact(borrowed(1, account))], marks(60))[1])
        assert {body["attribution"]["named"] for body in found if body["id"] == of(STORY[0])} == {named}


def test_artefacts_are_traced_to_what_was_derived_from_them() -> None:
    """In the incident itself: a job that went on from the checkpoint of one that had loaded altered bytes is in doubt, not unaffected."""
    write = STORY[2].evidence[0]
    start = attempt_of("73", 19.99).start
    exposure = Exposure("/ckpt/a.pt", "u099", write.event_time, write, record("loaded", "late", start, "probe"))
    saved = Mark(start + 600_000, "save-73")
    told = [
        examined("73", 19.99, project="audio", owner="u061", exposures=(exposure,), saved=saved),
        examined("74", 20, project="speech", owner="u060", resumed=("73", saved)),
        examined("75", 19),
    ]
    said = run(fresh(), [*map(fact, STORY), *map(fact, told)])[of(STORY[0])]
    assert [(each["attempt"], each["event_id"], each["loaded_by"]) for each in said["derived"]] == [
        (attempt_of("73", 19.99).name, "save-73", [attempt_of("74", 20).name])
    ]
    assert (said["scope"]["exposed"], said["scope"]["derived"], said["scope"]["unaffected"]) == (1, 1, 1)
    assert said["scope"]["unaffected_projects"] == ["vision"]


def test_a_victim_whom_two_harm_keeps_their_incidents_apart_for_good() -> None:
    """Also when the earlier hand is found later."""
    state = fresh()
    later = [kill(5, "5", "u098"), kill(6, "6", "u098")]
    run(state, map(fact, later))
    said = run(state, map(fact, [kill(0, "1", "u099"), kill(1, "2", "u099")]))
    assert [body["findings"] for body in said.values()] == [2]


def test_a_borrowed_account_in_another_incident_takes_the_name_back_at_once() -> None:
    """Whoever used the account has an incident of his own; what is said of its holder is judged anew all the same."""
    state = fresh()
    (named,) = step(state, list(map(fact, STORY)), marks(60))[1]
    assert canonical(named)["attribution"]["named"] == "u099"
    thefts = [msgspec.structs.replace(borrowed(day, "u099"), suspect="u050", effect=f"opened-{day}") for day in (1, 2)]
    said = {body["id"]: body for body in map(canonical, step(state, list(map(fact, thefts)), marks(60))[1])}
    assert len(said) == 2
    assert said[of(STORY[0])]["attribution"]["named"] == ""
    gone = [Fact(CASE, each.id, rank(1, 2), VOID) for each in thefts]
    again = {body["id"]: body for body in map(canonical, step(state, gone, marks(60))[1])}
    assert again[of(STORY[0])]["attribution"]["named"] == "u099"


def test_what_a_cohort_shows_becomes_an_incident_that_is_traced() -> None:
    """The stage before tells a finding on attempts that loaded somebody's bytes; these attempts are told by jobs."""
    state = build_cohorts(build.settings(), Cases())
    told = [out for out in judge_cohorts(state, [of_cohort(each) for each in MEMBERS], build.now())[1] if isinstance(out, Tell)]
    ended = [
        examined(each.attempt.job, 0, attempt=each.attempt, end=each.end, owner=each.owner, exposures=each.exposures) for each in MEMBERS
    ]
    (said,) = run(fresh(), [*(each.fact for each in told), *map(fact, ended)]).values()
    exposed = sorted(each.attempt.name for each in MEMBERS if each.exposures)
    assert [(each["path"], each["loaded_by"]) for each in said["traced"]] == [(FILE, exposed)]
    assert (said["scope"]["exposed"], said["scope"]["affected"]) == (3, 0)
    assert said["title"] == "files altered: 1 finding"
