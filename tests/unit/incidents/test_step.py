"""Stage incidents: findings and ended attempts in, incidents out, whatever the order; merged, split, taken back, forgotten."""

from collections.abc import Iterable
from itertools import permutations
from typing import Any

import msgspec
import orjson
import pytest

from pipeline.incidents.step import IncidentsState, build_state, step
from pipeline.model.facts import VOID, Fact, incidents_case
from pipeline.model.finding import Finding
from pipeline.model.ids import rank
from pipeline.model.incident import LOGINS, Examined, Found, LoggedIn, account_of, encode_in_case, entered_id, incident_id
from pipeline.model.outcome import Publish
from pipeline.model.source import Source
from pipeline.model.summary import Exposure
from pipeline.stream.cases import Cases
from tests import build
from tests.unit.incidents.campaign import CLUSTER, DAY, T0, attempt_of, borrowed, cancel, entered, examined, kill, marks, record, tamper

CASE = incidents_case(CLUSTER)
UNTIL = 60 * build.DAY
STORY = [kill(0, "1", "u099"), cancel(10, "2", "u099"), tamper(20, "3", "u099", owner="u013")]


def fact(told: Finding | Examined, revision: int = 1) -> Fact:
    """What stages tell, the epoch of the claim before the revision."""
    if isinstance(told, Finding):
        return Fact(CASE, told.id, rank(1, revision), encode_in_case(Found(told)))
    return Fact(CASE, told.attempt.name, rank(1, revision), encode_in_case(told))


def fresh(cases: Cases | None = None, **settings: Any) -> IncidentsState:
    """A state in which everybody whom these stories suspect was logged in all the time."""
    if cases is None:
        cases = Cases()
        for each in entered("u050", "u096", "u097", "u098", "u099"):
            cases.merge(each)
    return build_state(build.settings(**settings), cases)


def run(state: IncidentsState, facts: Iterable[Fact], until: float = UNTIL) -> dict[str, dict[str, Any]]:
    """Id -> canonical body of what a step publishes."""
    _, outcomes = step(state, list(facts), build.now(until=until))
    values = [orjson.loads(out.value) for out in outcomes if isinstance(out, Publish)]
    return {value["unmapped"]["trainwatch"]["canonical"]["id"]: value["unmapped"]["trainwatch"]["canonical"] for value in values}


def last_words(parts: Iterable[Iterable[Fact]]) -> dict[str, bytes]:
    """What is left after all of it; taken back equals never said."""
    state, last = fresh(), {}
    for part in parts:
        last.update(run(state, part))
    return {name: orjson.dumps(body) for name, body in sorted(last.items()) if body["status"] != "retracted"}


def test_a_campaign_is_one_incident_said_once() -> None:
    """Founded by its earliest finding; told again it says nothing new."""
    state = fresh()
    (said,) = run(state, map(fact, STORY)).values()
    assert said["id"] == incident_id(CLUSTER, STORY[0].id)
    assert [member["finding"] for member in said["members"]] == [each.id for each in STORY]
    assert said["status"] == "final"
    assert run(state, map(fact, STORY)) == {}


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_order_does_not_matter(order: tuple[int, ...]) -> None:
    """The last bodies are the same, however findings came, and however incidents were merged on the way."""
    told = [*map(fact, STORY), fact(examined("77", 5)), fact(examined("78", 6, verdict="unexplained"))]
    assert last_words([[told[place]] for place in (*order, 3, 4)]) == last_words([told])
    assert last_words([[told[place]] for place in (4, 3, *order)]) == last_words([told])


def test_an_earlier_finding_takes_the_incident_over() -> None:
    """Its id becomes an alias, and who knew it is led on."""
    state = fresh()
    (before,) = run(state, [fact(STORY[1])])
    said = run(state, [fact(STORY[0])])
    now = incident_id(CLUSTER, STORY[0].id)
    assert before in said[now]["aliases"]
    assert (said[before]["status"], said[before]["merged_into"]) == ("retracted", now)


def test_a_finding_taken_back_splits() -> None:
    """What it tied stands apart again."""
    tie = [tamper(0, "1", "u099"), tamper(50, "2", "u099", "/ckpt/b.pt", owner="u013"), tamper(25, "3", "u099", "/ckpt/b.pt", owner="u014")]
    state = fresh()
    assert len(run(state, map(fact, tie))) == 1
    said = run(state, [Fact(CASE, tie[2].id, rank(1, 2), VOID)])
    assert {name for name, body in said.items() if body["status"] != "retracted"} == {incident_id(CLUSTER, each.id) for each in tie[:2]}


def test_the_last_finding_taken_back_takes_the_incident_back() -> None:
    """Once."""
    state = fresh()
    run(state, [fact(STORY[0])])
    void = [Fact(CASE, STORY[0].id, rank(1, 2), VOID)]
    (said,) = run(state, void).values()
    assert (said["status"], said["merged_into"]) == ("retracted", "")
    assert run(state, void) == {}


def test_a_restart_says_nothing_new() -> None:
    """What was said stands in the cases, and so do the days on which logins were heard."""
    state = fresh()
    run(state, map(fact, STORY))
    assert run(fresh(Cases(state.cases.facts())), []) == {}


def test_a_former_owner_of_the_partition_is_late() -> None:
    """The epoch of the claim comes before the revision."""
    state = fresh()
    run(state, map(fact, STORY))
    assert run(state, [Fact(CASE, STORY[0].id, rank(0, 99), VOID)]) == {}


def test_scope_tells_affected_unaffected_and_untold() -> None:
    """Projects of which all ended well in the window are called unaffected; who loaded suspect bytes is traced, whatever came of it."""
    write = STORY[2].evidence[0]
    exposure = Exposure("/ckpt/a.pt", "u099", write.event_time, write, record("loaded", "late", write.event_time + 9, "probe"))
    others = [
        examined("70", 5),
        examined("71", 6, project="speech", owner="u060", verdict="unexplained", missing=("auditd",)),
        examined("72", 45),
        examined("73", 19.99, project="audio", owner="u061", exposures=(exposure,)),
    ]
    (said,) = run(fresh(), [*map(fact, STORY), *map(fact, others)]).values()
    scope = said["scope"]
    assert (scope["examined"], scope["unaffected"], scope["unexplained"], scope["exposed"]) == (3, 1, 1, 1)
    assert (scope["unaffected_projects"], scope["unaffected_users"]) == (["vision"], ["u050"])
    assert scope["projects"] == ["audio"]
    assert {"source": "auditd", "what": "attempts", "amount": 1, "examples": [attempt_of("71", 6).name]} in scope["unjudged"]
    (traced,) = said["traced"]
    assert (traced["path"], traced["loads"]) == ("/ckpt/a.pt", 2)


def test_whoever_is_not_named_stands_nowhere() -> None:
    """Neither by id nor by login or uid, in no summary and on no timeline."""
    cited = (
        record("cause", "k", T0, "auditd", "signal 9 by login uid 5099"),
        record("effect", "e", T0 + 1000, "slurm_jobcomp", "u099 again"),
    )
    (said,) = run(fresh(), [fact(kill(0, "1", "u099", evidence=cited, summary="u099 killed job 1 of u012"))]).values()
    text = orjson.dumps(said).decode()
    assert said["attribution"]["named"] == ""
    assert "u099" not in text
    assert "5099" not in text
    assert "u012" in text


def test_nor_in_what_the_site_wrote_of_it() -> None:
    """Why the site puts up with something is free text, and stands where a finding says why it is no alert and names nobody."""
    gate = "suppressed until 2026-12-31: agreed with u099"
    below = kill(0, "1", "u099", actor="", alert=False, gate=gate, actor_withheld=f"below the gate: {gate}")
    (said,) = run(fresh(), [fact(below)]).values()
    assert "agreed with person-" in said["members"][0]["gate"]
    assert "agreed with person-" in said["attribution"]["withheld"]
    assert "u099" not in orjson.dumps(said).decode()


def test_nor_as_what_a_finding_is_about() -> None:
    """That an account was borrowed is a finding about the account, and of the campaign of which it is suspected."""
    (said,) = run(fresh(), [fact(kill(0, "1", "u099")), fact(borrowed(1, "u099"))]).values()
    assert said["findings"] == 2
    assert said["attribution"]["named"] == ""
    assert "u099" not in orjson.dumps(said).decode()


def test_who_was_borrowed_long_before_may_be_still() -> None:
    """One finding tells of all uses of a foreign key, and one of all after the owner had left: the first may lie months before the acts."""
    acts = [fact(each) for each in (kill(50, "1", "u099"), cancel(52, "2", "u099"), kill(54, "3", "u099"))]
    again = msgspec.structs.replace(borrowed(1, "u099"), closes_at=T0 + 53 * DAY)
    left = msgspec.structs.replace(borrowed(1, "u099"), effect="access_after_end")
    before = borrowed(1, "u099")
    said = [step(fresh(), [*acts, fact(each)], marks(60))[1] for each in (again, left, before)]
    bodies = [[canonical(out) for out in outcomes if isinstance(out, Publish)] for outcomes in said]
    attributions = [next(body["attribution"] for body in found if body["findings"] == len(acts)) for found in bodies]
    assert [each["named"] for each in attributions] == ["", "", "u099"]
    assert all("was borrowed" in each["withheld"] for each in attributions[:2])
    assert all(each["leader"].startswith("borrowed/") for each in attributions[:2])


def test_whoever_acted_at_the_same_artefact_counts_at_once() -> None:
    """A name must not stand for hours when somebody else turns out to have been there before."""
    state, mine = fresh(), [tamper(day, str(day), "u099") for day in range(40)]
    run(state, map(fact, mine), until=39.1 * build.DAY)
    said = run(state, [fact(tamper(0.5, "90", "u098", owner="u013"))], until=39.1 * build.DAY)
    assert said[incident_id(CLUSTER, mine[0].id)]["attribution"]["candidates"] == 2


def test_logins_once_heard_stay_heard() -> None:
    """Coverage is forgotten sooner than a campaign: a name that was given for good reasons is not lost by it, nor by a restart."""
    state = fresh()
    named = step(state, list(map(fact, STORY)), marks(30))[1]
    again = fresh(Cases(state.cases.facts()))
    later = step(again, [fact(kill(25, "9", "u099"))], marks(60, silent=[Source.SSHD]))[1]
    assert [_named(out) for out in named if isinstance(out, Publish)] == ["u099"]
    assert [_named(out) for out in later if isinstance(out, Publish)] == [""]  # of the new day nothing is known
    assert {f"heard/sshd/{T0 + day * 86_400_000}" for day in (0, 10, 19)} <= again.index(CASE).heard


def test_a_name_waits_for_a_login_of_the_account() -> None:
    """Logins were heard and none was of the account: a timer, or root, may have acted under it; until one is known, however late."""
    state = fresh(Cases())
    told = [list(map(fact, STORY)), entered("u098"), entered("u099")]
    said = [[canonical(out) for out in step(state, each, marks(60 + day))[1] if isinstance(out, Publish)] for day, each in enumerate(told)]
    assert [[body["attribution"]["named"] for body in each] for each in said] == [[""], [], ["u099"]]
    assert "none of this account" in said[0][0]["attribution"]["withheld"]
    assert said[0][0]["attribution"]["leader"].startswith("did/")


def test_a_name_is_taken_back_when_a_colleague_proves_to_work_there() -> None:
    """However late it is heard of: who has a key may have a copy of it where he works himself."""
    state = fresh(Cases())
    told = [
        [*map(fact, STORY), *entered("u099", days=(-1, 9, 19), place="room")],
        entered("u098", place="hall"),
        entered("u098", place="room"),
    ]
    said = [[_named(out) for out in step(state, each, marks(60 + day))[1] if isinstance(out, Publish)] for day, each in enumerate(told)]
    assert said == [["u099"], [], [""]]


def test_logins_that_a_release_before_told_count() -> None:
    """In one fact for all days, under the account alone."""
    days = tuple(T0 // DAY + day for day in range(-1, 60))
    old = Fact(CASE, f"{LOGINS}u099", rank(days[-1], len(days)), encode_in_case(LoggedIn(days)))
    said = step(fresh(Cases()), [old, *map(fact, STORY)], marks(60))[1]
    assert [_named(out) for out in said if isinstance(out, Publish)] == ["u099"]


def test_an_account_may_be_called_anything() -> None:
    """What is no block is the name's."""
    for account in ("u099", "arn:aws:iam::1:user/u099/5", "entered/3/u099"):
        assert account_of(entered_id(account, 700)) == account_of(f"{LOGINS}{account}") == account


def _named(out: Publish) -> str:
    return str(canonical(out)["attribution"]["named"])


def canonical(out: Publish) -> dict[str, Any]:
    """The body that is published."""
    body: dict[str, Any] = orjson.loads(out.value)["unmapped"]["trainwatch"]["canonical"]
    return body


def test_a_gap_in_telemetry_is_said() -> None:
    """Days without a source, in the scope and among the limits; of what tells who acted also where the site ships none at all."""
    (said,) = run(fresh(), map(fact, STORY), until=1).values()
    for source in ("sshd", "auditd"):
        assert any(each["source"] == source and each["what"] == "days" for each in said["scope"]["unjudged"])
        assert any(line.startswith(f"{source} was not heard") for line in said["limits"])
    assert said["attribution"]["named"] == ""


def test_retention_forgets_whole_incidents_and_takes_nothing_back() -> None:
    """A campaign stays whole while its newest finding is young."""
    state = fresh()
    run(state, map(fact, [*STORY, kill(100, "9", "u098")]))
    assert run(state, [], until=(20 + 179) * build.DAY) == {}
    assert len(state.index(CASE).findings) == 4
    assert run(state, [], until=(20 + 185) * build.DAY) == {}
    assert [each.finding.suspect for each in state.index(CASE).findings.values()] == ["u098"]


def test_a_full_case_keeps_the_newest_attempts() -> None:
    """By their ends, whatever the order."""
    told = [fact(examined(str(number), number)) for number in range(105)]
    for order in (told, told[::-1]):
        state = fresh(retention={"case_facts_max": 100})
        run(state, order)
        assert min(int(each.attempt.job) for each in state.index(CASE).attempts.within(T0, T0 + 200 * DAY)) == 5


def test_who_became_the_user_of_an_account_is_named_for_that_in_no_incident() -> None:
    """Also where other acts name him: of the account that was used nobody is told, as the finding itself tells nobody."""
    entered_it = msgspec.structs.replace(borrowed(1, "u012"), effect="entered_by_other", suspect="u099")
    outcomes = step(fresh(), [*map(fact, [*STORY, entered_it])], marks(60))[1]
    (said,) = (orjson.loads(out.value)["unmapped"]["trainwatch"]["canonical"] for out in outcomes if isinstance(out, Publish))
    assert said["attribution"]["named"] == "u099"
    assert {member["who"] for member in said["members"] if member["detector"] == "p17_borrowed_account"} == {""}
