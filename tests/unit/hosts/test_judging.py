"""Hosts that are judged: acts in, findings out; and whom preemption made room for, told to identities."""

import random
from collections.abc import Iterable
from itertools import permutations
from typing import Any

import orjson
import pytest

from pipeline.hosts.index import LATEST, Changes, HostIndex
from pipeline.hosts.room import Room
from pipeline.hosts.step import build_state, step
from pipeline.model.events import Event, SignalSent
from pipeline.model.facts import Fact
from pipeline.model.outcome import Outcome, Publish, Tell
from pipeline.model.source import Source
from pipeline.model.told import Displaced, Heard, Worked, decode_told
from pipeline.settings import IdentitySettings, Role
from pipeline.stream.cases import Cases
from tests import build
from tests.build import BUCKET_MS, CLUSTER, COLLEAGUE, DAY, HOST, allocation, audit, heard, job_end, kill_parts, to_host
from tests.build_subjects import HOUR, command, now, sudo, switched_off
from tests.build_subjects import step as pace

AT = 7200
HUM = [heard(at, source) for source in (Source.AUDITD, Source.SSHD, Source.KERNEL) for at in range(0, 4 * HOUR, 600)]
QUIET = [heard(at, Source.AUDITD) for at in (*range(0, AT + 1, 600), *range(AT + 6000, 4 * HOUR, 600))]
QUIET += [heard(at, source) for source in (Source.SSHD, Source.KERNEL) for at in range(0, 4 * HOUR, 600)]


def run(*facts: Fact, until: float = DAY, cases: Cases | None = None) -> list[Outcome]:
    return step(build_state(build.settings(), cases if cases is not None else Cases()), facts, now(until))[1]


def paces() -> list[Fact]:
    """Steps of the owner's job, slower behind the act."""
    made = [pace(at, 2000 if at < AT else 4000) for at in range(0, 3 * AT, 300)]
    return [build.fact(each, f"pace/{each.job}/{each.event_time}", case=to_host(each).case) for each in made]


def found(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """Effect -> last canonical body."""
    bodies = [orjson.loads(out.value)["unmapped"]["trainwatch"]["canonical"] for out in outcomes if isinstance(out, Publish)]
    return {body["effect"]: body for body in bodies}


SLOWED = [to_host(allocation(0)), to_host(sudo(AT, "/usr/bin/nvidia-smi -pl 200")), to_host(command(AT + 1, "nvidia-smi", "-pl", "200"))]
STORY = [*HUM, *SLOWED, *paces(), to_host(switched_off(AT + 60))]


def test_acts_become_findings_about_the_host() -> None:
    """The slowed node and the silenced audit; the logs of the host alone name nobody."""
    bodies = found(run(*STORY))
    assert {effect: (body["alert"], body["actor"], body["subject"]) for effect, body in bodies.items()} == {
        "node_slowed": (True, "", ["host", "main", "gpu-001"]),
        "telemetry_silenced": (True, "", ["host", "main", "gpu-001"]),
    }


@pytest.mark.parametrize("seed", range(8))
def test_any_order_leaves_the_same_last_bodies(seed: int) -> None:
    """Facts displaced, repeated and cut anywhere."""
    dice = random.Random(seed)
    story = [*STORY, *dice.sample(STORY, 40)]
    dice.shuffle(story)
    state, outcomes, size = build_state(build.settings(), Cases()), [], dice.randrange(1, 30)
    for at in range(0, len(story), size):
        state, more = step(state, story[at : at + size], now(-DAY))
        outcomes += more
    state, more = step(state, [], now(DAY))
    assert found([*outcomes, *more]) == found(run(*STORY))


def test_absence_is_judged_when_the_window_closes() -> None:
    """The gap behind a command proves its effect once the source has passed; until then it stays below the gate."""
    story = [*QUIET, to_host(sudo(AT, "/usr/sbin/auditctl -e 0"))]
    cases = Cases()
    state, first = step(build_state(build.settings(), cases), story, now(AT + 600))
    assert not found(first)["telemetry_touched"]["alert"]
    _, then = step(state, [], now(DAY))
    assert found(then)["telemetry_silenced"]["alert"]
    assert found(then)["telemetry_touched"]["status"] == "retracted"
    _, restarted = step(build_state(build.settings(), Cases(cases.facts())), [], now(DAY))
    assert restarted == []


def test_after_a_restart_windows_close_all_the_same() -> None:
    """The marks passed while nobody looked."""
    cases = Cases()
    step(build_state(build.settings(), cases), [*QUIET, to_host(sudo(AT, "/usr/sbin/auditctl -e 0"))], now(AT + 600))
    _, then = step(build_state(build.settings(), Cases(cases.facts())), [], now(DAY))
    assert found(then)["telemetry_silenced"]["status"] == "final"


def test_what_was_said_stands_when_its_host_is_packed() -> None:
    """Days later the act is not at hand any more: nothing is said again, nothing taken back."""
    cases = Cases()
    state, first = step(build_state(build.settings(), cases), STORY, now(DAY))
    assert len(found(first)) == 2
    for day in (5, 10):
        state, more = step(state, [heard(day * DAY)], now(day * DAY))
        assert found(more) == {}
    _, restarted = step(build_state(build.settings(), Cases(cases.facts())), [heard(10 * DAY + 600)], now(10 * DAY))
    assert restarted == []


def restored(cases: Cases) -> Cases:
    """As the state log has them: what is packed stays packed."""
    again = Cases(Fact(case, fact_id, *known) for case in cases for fact_id, known in cases.open(case).items())
    for pack in (pack for case in cases for pack in cases.packs(case)):
        again.put(pack)
    return again


@pytest.mark.parametrize("days", [1, 10])
def test_a_corrected_map_judges_the_whole_past_of_a_host(days: int) -> None:
    """The account proves to be a service's; the same map, or one that says the same of it, takes nothing back."""
    cases = Cases()
    state, first = step(build_state(build.settings(), cases), STORY, now(DAY))
    for day in range(2, days + 1):
        state, _ = step(state, [heard(day * DAY)], now(day * DAY))
    people = build.settings().identities
    service = [each.model_copy(update={"role": Role.SERVICE}) if each.uid == COLLEAGUE else each for each in people]
    told = {}
    for name, identities in (("as it was", people), ("one more", (*people, IdentitySettings(id="u300", uid=5300))), ("corrected", service)):
        again = build_state(build.settings(identities=tuple(identities)), restored(cases))
        told[name] = {effect: body["status"] for effect, body in found(step(again, [heard(days * DAY + 600)], now(days * DAY))[1]).items()}
    assert told == {"as it was": {}, "one more": {}, "corrected": dict.fromkeys(found(first), "retracted")}


def over_days(story: Iterable[Fact], days: int, size: int) -> dict[str, Any]:
    """The last bodies when `size` facts are folded at a time, and the marks follow them."""
    facts = sorted(story, key=begins_at)
    facts += [heard(day * DAY + 13 * HOUR) for day in range(int(begins_at(facts[-1]) // DAY) + 1, days)]
    state, outcomes = build_state(build.settings(), Cases()), []
    for at in range(0, len(facts), size):
        batch = facts[at : at + size]
        state, more = step(state, batch, now(begins_at(batch[-1])))
        outcomes += more
    return found([*outcomes, *step(state, [], now(days * DAY))[1]])


def begins_at(fact: Fact) -> float:
    """Seconds."""
    told = decode_told(fact.body)
    return ((told.bucket if isinstance(told, Heard) else told.event_time if isinstance(told, Event) else 0) - build.T0) / 1000


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_faults_of_last_week_explain_a_slow_node_although_they_are_packed(size: int) -> None:
    """Else whoever sets a limit on a node that fails by itself is named as soon as the node's past is packed."""
    faults = [to_host(build.xid(-number * DAY)) for number in (9, 7)]
    body = over_days([*faults, *HUM, *SLOWED, *paces()], 8, size)["node_slowed"]
    assert (body["status"], body["alert"], body["actor"], body["gate"]) == ("final", False, "", "not checked: lemon_node")


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("day", [0, 3])
def test_who_was_slowed_may_be_told_when_the_job_ends(day: int, *, restarted: bool) -> None:
    """Nobody was known to hold the host when the act was told: after a restart, or when it is packed, it is judged all the same."""
    cases = Cases()
    state, first = step(build_state(build.settings(), cases), [*HUM, *SLOWED[1:], *paces()], now(DAY / 2))
    state, more = step(state, [heard(day * DAY + 13 * HOUR)], now(day * DAY + 13 * HOUR))
    assert found([*first, *more]) == {}
    if restarted:
        state = build_state(build.settings(), Cases(cases.facts()))
    _, then = step(state, [to_host(job_end(day * DAY + 14 * HOUR, "COMPLETED", start=0))], now(day * DAY + 15 * HOUR))
    assert found(then)["node_slowed"]["alert"]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_two_acts_of_one_day_stay_together(size: int) -> None:
    """The earlier is packed sooner than the later."""
    acts = [to_host(switched_off(at)) for at in (HOUR, 20 * HOUR)]
    body = over_days([*HUM, *acts], 8, size)["telemetry_silenced"]
    assert [item["event_time"] for item in body["evidence"]] == [build.ms(HOUR), build.ms(20 * HOUR)]


@pytest.mark.parametrize("by", [None, build.SERVICE])
def test_the_system_and_services_make_no_host_to_watch(by: int | None) -> None:
    """A health check sets clocks on every node."""
    assert found(run(to_host(allocation(0)), to_host(command(AT, "nvidia-smi", "-pl", "200", by=by)), *paces())) == {}


def test_a_daemon_that_is_killed_by_its_number_makes_a_host_to_watch() -> None:
    """The kernel says what was called so, whoever tells of the signal; what is forgotten of it is forgotten once."""
    body = SignalSent(signal=9, target_pid=812, success=True, serial=7, uid=0, auid=COLLEAGUE, target_uid=0, target_comm="auditd")
    named = audit(AT, "OBJ_PID", host=HOST, serial=round(AT * 10), opid="812", ouid="0", ocomm="auditd")
    for events in ([kill_parts(AT, uid=0, target=812)[0], named], [build.event(AT, Source.TETRAGON, body, host=HOST)]):
        assert list(found(run(*map(to_host, events)))) == ["telemetry_touched"]
        index = HostIndex(CLUSTER, HOST, BUCKET_MS, Room(100))
        new = Changes()
        for each in events:
            index.add(each.id, each, new)
        for key in new.audit:
            index.assembled(key)
        assert set(index.horizon(LATEST)) >= {each.id for each in events}
        assert list(index.naming(812, 0)) == []


# --- what identities are told ---------------------------------------------------------------------------------------------------


def told(*facts: Fact) -> dict[str, list[Any]]:
    """Account -> last words."""
    last = {
        (out.fact.case.decode().partition("\x1f")[2], out.fact.id): out.fact.body
        for out in run(*facts)
        if isinstance(out, Tell) and out.stage == "identities"
    }
    by: dict[str, list[Any]] = {}
    for (case, _), body in sorted(last.items()):
        if body:
            by.setdefault(case, []).append(decode_told(body))
    return by


def victim(end: float = 1000) -> Event:
    return job_end(end, "PREEMPTED", start=0)


@pytest.mark.parametrize(("start", "expected"), [(1000, True), (1120, True), (995, True), (1121, False), (994, False)])
def test_who_began_in_the_room_of_a_preempted_attempt(start: float, expected: bool) -> None:
    """Within two minutes on the same host; the scheduler's clock has whole seconds."""
    mine = allocation(start, job="8", submit=start - 60, owner_uid=COLLEAGUE, owner="u099")
    facts = [to_host(victim()), to_host(mine)]
    for story in (facts, facts[::-1]):
        displaced = [each for each in told(*story).get("u099", []) if isinstance(each, Displaced)]
        assert [(each.victim.job, each.by.job) for each in displaced] == ([("7", "8")] if expected else [])


def test_the_own_next_job_displaces_nobody() -> None:
    """Nor does one that follows an ordinary end."""
    assert told(to_host(victim()), to_host(allocation(1000, job="8", submit=900))) == {}
    other = allocation(1000, job="8", submit=900, owner_uid=COLLEAGUE)
    assert told(to_host(job_end(1000, "COMPLETED", start=0)), to_host(other)) == {}


@pytest.mark.parametrize(
    ("start", "submit", "owner", "expected"),
    [
        (1000, -1700, COLLEAGUE, True),
        (1120, -1580, COLLEAGUE, True),
        (1121, -1700, COLLEAGUE, False),
        (1000, -1699, COLLEAGUE, False),
        (1000, -1700, build.OWNER, False),
    ],
)
def test_who_had_waited_and_began_behind_anothers_attempt(start: float, submit: float, owner: int, expected: bool) -> None:
    """For 45 minutes and more, and within two minutes on the same host; told to whose attempt ended."""
    waited = allocation(start, job="8", submit=submit, owner_uid=owner, owner=f"u{owner - 5000:03d}")
    facts = [to_host(job_end(1000, "COMPLETED", start=0)), to_host(waited)]
    for story in (facts, facts[::-1]):
        kept = [each for each in told(*story).get("u012", []) if isinstance(each, Displaced)]
        assert [(each.victim.job, each.by.job, each.waited) for each in kept] == ([("8", "7", True)] if expected else [])


@pytest.mark.parametrize("corrected", [1060, 1400])
def test_an_end_that_proves_to_be_later_takes_back_who_waited_for_it(corrected: float) -> None:
    """Two sources name different ends of one attempt: in whatever order they come, room is made at the later one."""
    waited = allocation(1000, job="8", submit=-1700, owner_uid=COLLEAGUE, owner="u099")
    later = job_end(corrected, "COMPLETED", start=0, source=Source.SACCT)
    for story in permutations([to_host(job_end(1000, "COMPLETED", start=0)), to_host(waited), to_host(later)]):
        cases, last = Cases(), Cases()
        state = build_state(build.settings(), cases)
        for each in story:
            state, outcomes = step(state, [each], now(-DAY))
            for out in outcomes:
                if isinstance(out, Tell) and out.stage == "identities":
                    last.merge(out.fact)
        assert [body for name in last for _, body in last.of(name).values() if body] == []


def test_an_attempt_that_writes_steps_is_at_work() -> None:
    """Its first step that is known, told to its owner, whichever comes first."""
    story = [*paces()[5:], *paces()[:5], to_host(allocation(0))]
    (worked,) = told(*story)["u012"]
    assert isinstance(worked, Worked)
    assert (worked.attempt.job, worked.event.event_time) == ("7", build.ms(0))
