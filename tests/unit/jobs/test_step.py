"""The jobs stage: provisional, final, revised, retracted; each word once, and the same last word in every order.

scheduler    start@0     end@100           grace 120, coverage gap 3600
access             kill@97
joint mark                 ..150          220           220 + 3600 + a bucket
                           provisional    final         a second look
"""

from collections.abc import Iterable, Sequence
from itertools import permutations
from typing import Any

import orjson
import pytest

from pipeline.jobs.step import UNSEEN_MAX, JobsState, build_state, step
from pipeline.model.facts import VOID, Fact, job_case
from pipeline.model.ids import rank
from pipeline.model.outcome import Publish, Tell
from pipeline.model.source import Source
from pipeline.settings import DetectSettings, RetentionSettings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks, bucket_of
from tests import build
from tests.build import (
    CLUSTER,
    COLLEAGUE,
    DAY,
    JOB,
    OWNER,
    allocation,
    cancel_request,
    coverage,
    fact,
    iteration,
    job_end,
    job_record,
    kill,
    ms,
    now,
    rank_failed,
    touch,
)

KEY = job_case(CLUSTER, JOB)
HEARD = [fact(coverage(source, -DAY, 2 * DAY)) for source in (Source.AUDITD, Source.KERNEL, Source.SSHD)]
KILLED = [fact(each) for each in (allocation(), touch(kill(97)), rank_failed(98), job_end(100))] + HEARD


class Jobs:
    """One partition, driven by hand; remembers the last canonical body under each id."""

    def __init__(self, facts: Iterable[Fact] = (), cases: Cases | None = None, **settings: Any) -> None:
        self.cases = cases if cases is not None else Cases(facts)
        self.state: JobsState = build_state(build.settings(**settings), self.cases)
        self.last: dict[str, dict[str, Any]] = {}
        self.values: dict[tuple[str, str], set[bytes]] = {}  # content, ce_id -> values under it
        self.count = 0

    def take(self, *facts: Fact, until: float | Watermarks = 0) -> list[dict[str, Any]]:
        """Fold facts; canonical bodies of findings and verdicts that came out, in order."""
        view = until if isinstance(until, Watermarks) else now(until)
        self.state, outcomes = step(self.state, facts, view)
        said = []
        for out in outcomes:
            if isinstance(out, Tell):  # to cohorts and incidents: tests/unit/jobs/test_told.py
                continue
            assert isinstance(out, Publish)
            self.count += 1
            self.values.setdefault((out.content, out.id), set()).add(out.value)
            value = orjson.loads(out.value)
            if out.content != "enriched":
                body = value["canonical"] if out.content == "verdicts" else value["unmapped"]["trainwatch"]["canonical"]
                self.last[body["id"]] = body
                said.append(body)
        return said


def last_words(facts: Sequence[Fact], *, one_by_one: bool = True) -> dict[str, bytes]:
    """Last canonical body of each id, retracted ones left out, after all windows have closed."""
    jobs = Jobs()
    if one_by_one:
        for each in facts:
            jobs.take(each, until=150)
    else:
        jobs.take(*facts, until=150)
    jobs.take(until=2 * DAY)
    return {name: orjson.dumps(body) for name, body in sorted(jobs.last.items()) if body["status"] != "retracted"}


# --- from provisional to final ----------------------------------------------------------------------------------------------------


def test_a_finding_is_provisional_until_its_window_closes() -> None:
    """Evidence at once, the final word when the joint mark has passed end and grace, without a further fact."""
    jobs = Jobs()
    assert [(body["status"], body.get("effect", body.get("verdict"))) for body in jobs.take(*KILLED, until=150)] == [
        ("provisional", "ranks_killed"),
        ("provisional", "interference"),
    ]
    assert jobs.take(until=219.999) == []
    assert [body["status"] for body in jobs.take(until=220)] == ["final", "final"]
    assert jobs.take(until=221) == []


def test_a_late_fact_revises_a_closed_case() -> None:
    """sacct comes hours later and adds evidence: a further revision, final at once."""
    jobs = Jobs()
    jobs.take(fact(cancel_request(98)), fact(job_end(100, "CANCELLED")), *HEARD, until=2 * DAY)
    (finding,) = jobs.take(fact(job_end(100, "CANCELLED", source=Source.SACCT, cancelled_by_uid=COLLEAGUE)), until=2 * DAY)
    assert (finding["status"], len(finding["evidence"])) == ("final", 3)


def test_a_late_fact_retracts_a_finding() -> None:
    """The controller's line shows that the owner asked first."""
    jobs = Jobs()
    (finding, verdict) = jobs.take(fact(cancel_request(98)), fact(job_end(100, "CANCELLED")), *HEARD, until=2 * DAY)
    assert verdict["findings"] == [finding["id"]]
    said = jobs.take(fact(cancel_request(97, OWNER)), until=2 * DAY)
    assert [(body["id"], body["status"]) for body in said] == [(verdict["id"], "final"), (finding["id"], "retracted")]
    assert (jobs.last[verdict["id"]]["verdict"], jobs.last[verdict["id"]]["cause"]) == ("benign", "owner_cancel")


def test_a_retracted_finding_is_raised_again_when_the_facts_support_it() -> None:
    """A touch is voided and told anew: revisions count on, the body is as if nothing had happened."""
    jobs = Jobs()
    told = touch(kill(97))
    named = [fact(told, "touch", rank=rank(number)) for number in (1, 3)]
    (finding, _) = jobs.take(fact(allocation()), fact(rank_failed(98)), fact(job_end(100)), *HEARD, named[0], until=DAY)
    assert jobs.take(Fact(KEY, "touch", rank(2), VOID), until=DAY)[-1]["status"] == "retracted"
    assert jobs.take(named[1], until=DAY)[0] == finding


def test_an_attempt_that_proves_to_be_another_takes_its_verdict_back() -> None:
    """sacct does not know the start of a job that was cancelled while it waited; jobcomp does: one verdict, in either order."""
    sacct = fact(job_end(100, "CANCELLED", source=Source.SACCT, start=None, cancelled_by_uid=OWNER))
    jobcomp = fact(job_end(100, "CANCELLED", start=100, nodes=()))
    assert len(last_words([sacct, jobcomp])) == 1
    assert last_words([sacct, jobcomp]) == last_words([jobcomp, sacct])


def test_a_verdict_on_an_attempt_that_is_none_by_now_is_taken_back() -> None:
    """By a later record that says when it started; after a restart, too, and once."""
    waiting = fact(job_end(100, "CANCELLED", source=Source.SACCT, start=None, cancelled_by_uid=OWNER))
    ran = fact(job_end(100, "CANCELLED", start=50))
    jobs = Jobs()
    (first,) = jobs.take(waiting, until=DAY)
    again = Jobs(cases=jobs.cases)
    said = again.take(ran, until=DAY)
    assert [(body["id"] == first["id"], body["status"]) for body in said] == [(False, "final"), (True, "retracted")]
    kept = ("attempt", "owner", "owner_uid", "state", "end", "gpus", "closes_at")
    assert [said[1][name] for name in kept] == [first[name] for name in kept]
    assert (said[1]["findings"], said[1]["by"], said[1]["checklist"]) == ([], None, [])
    assert last_words([waiting, ran]) == last_words([ran, waiting])
    assert again.take(ran, until=2 * DAY) == []


def test_a_second_look_follows_when_the_sources_that_prove_an_absence_have_had_their_time() -> None:
    """The controller's log is heard again an hour and a bucket behind the end: not checked turns into excluded without a further fact."""

    def view(until: float, heard: Sequence[float]) -> Watermarks:
        families = (Source.SLURMCTLD, Source.AUDITD, Source.KERNEL)
        buckets = frozenset(bucket_of(ms(at), build.BUCKET_MS) for at in heard)
        return Watermarks({(CLUSTER, each): (ms(until), ms(until)) for each in families}, {(CLUSTER, Source.SLURMCTLD): buckets}, 600_000)

    jobs = Jobs()
    jobs.take(*KILLED, until=view(150, [-600]))
    (first, _) = jobs.take(until=view(220, [-600]))
    assert (first["status"], first["alert"], first["gate"]) == ("final", False, "not checked: scheduler_cancel")
    assert jobs.take(until=view(220 + 3600, [-600])) == []
    (second,) = [body for body in jobs.take(until=view(220 + 3600 + 600, [-600, 3700])) if "alert" in body]
    assert (second["alert"], second["actor"]) == (True, "u099")


# --- once -------------------------------------------------------------------------------------------------------------------------


def test_only_changes_are_published() -> None:
    """All facts again, one by one or together, say nothing new."""
    jobs = Jobs()
    jobs.take(*KILLED, until=DAY)
    published = jobs.count
    jobs.take(*KILLED, until=DAY)
    for each in reversed(KILLED):
        jobs.take(each, until=DAY)
    assert jobs.count == published


def test_after_a_restart_nothing_is_published_twice() -> None:
    """What was published is a fact of the case; enriched events may come again, under their ids."""
    jobs = Jobs()
    jobs.take(*KILLED, until=DAY)
    again = Jobs(jobs.cases.facts())
    assert again.take(*KILLED, until=DAY) == []
    assert again.take(until=2 * DAY) == []


def test_a_restart_before_the_window_closes_finishes_the_case() -> None:
    """What was due is due again."""
    jobs = Jobs()
    jobs.take(*KILLED, until=150)
    again = Jobs(jobs.cases.facts())
    assert {body["status"] for body in again.take(until=DAY)} == {"final"}


def test_enriched_events_come_once_per_body() -> None:
    """With owner and relation, which a later record may complete."""
    jobs = Jobs()
    jobs.take(fact(touch(kill(97))), until=150)
    assert jobs.count == 0  # nobody knows yet whose job it was
    jobs.take(fact(allocation()), until=150)
    assert jobs.count == 2
    jobs.take(fact(rank_failed(50)), until=150)
    assert jobs.count == 3
    jobs.take(until=150)
    assert jobs.count == 3


def test_one_id_is_one_value() -> None:
    """Consumers drop what comes again by its ce_id: what is corrected must not look like it."""
    jobs = Jobs()
    jobs.take(fact(allocation()), fact(job_end(100)), fact(touch(kill(97), matched="owner")), until=150)
    jobs.take(*KILLED, until=150)
    jobs.take(*HEARD, until=DAY)
    jobs.take(until=2 * DAY)
    corrected = [name for content, name in jobs.values if content == "enriched"]
    assert len(corrected) > len({name.partition("/")[0] for name in corrected})
    assert all(len(values) == 1 for values in jobs.values.values())


def test_of_the_steps_of_an_hour_the_last_is_published_when_the_hour_is_over() -> None:
    """Nobody is judged by a step, and a job prints thousands an hour."""
    jobs = Jobs()
    jobs.take(fact(allocation()), until=150)
    before = jobs.count
    for number in range(50, 60):
        jobs.take(fact(iteration(number, number), "iteration/1", rank=rank(number)), until=150)
    assert jobs.count == before
    jobs.take(until=150 + 3600)
    assert jobs.count == before + 1


def test_what_befell_the_nodes_after_the_end_is_never_published_of_the_job() -> None:
    """While a job runs, hosts take all that happens on its nodes for a touch; people would read it as done to this job."""
    jobs = Jobs()
    later = fact(touch(kill(5_000), matched="owner"))
    jobs.take(fact(allocation()), fact(touch(kill(97), matched="owner")), later, until=150)
    assert jobs.count == 1  # the allocation: whether the others fell into its time is not known yet
    jobs.take(fact(job_end(100)), until=150)
    published = jobs.state.indexes[KEY].enriched
    assert len(published) == 3  # allocation, end, and the kill before the end


# --- any order --------------------------------------------------------------------------------------------------------------------


def test_the_last_words_do_not_depend_on_arrival() -> None:
    """Every order of the sides, folded together or one by one."""
    sides = [*KILLED[:4], fact(job_end(100, source=Source.SACCT))]
    base = last_words([*sides, *HEARD])
    assert len(base) == 2
    for order in permutations(sides):
        assert last_words([*order, *HEARD], one_by_one=False) == base
        assert last_words([*HEARD, *order]) == base


def test_facts_may_come_after_the_windows_have_closed() -> None:
    """Late by days: revised to the same last words."""
    jobs = Jobs()
    for each in reversed(KILLED):
        jobs.take(each, until=2 * DAY)
    assert {name: orjson.dumps(body) for name, body in sorted(jobs.last.items())} == last_words(KILLED)


def test_requeues_and_reused_ids_are_jobs_of_their_own() -> None:
    """Two attempts, two verdicts; the kill is the first one's."""
    jobs = Jobs()
    second = [fact(each) for each in (allocation(300, submit=200), job_end(400, "COMPLETED", submit=200, start=300))]
    said = {(body["attempt"][2], body.get("verdict", body.get("effect"))) for body in jobs.take(*KILLED, *second, until=DAY)}
    assert said == {(ms(-60), "ranks_killed"), (ms(-60), "interference"), (ms(200), "benign")}


def test_a_full_case_still_judges() -> None:
    """A flood of one kind is bounded, in memory and in the state, and takes nothing from the others."""
    jobs = Jobs(retention=RetentionSettings(case_facts_max=100))
    flood = [fact(rank_failed(at / 10, pid=1, signal=None)) for at in range(200)]
    jobs.take(*flood, *KILLED, until=DAY)
    assert {body.get("effect", body.get("verdict")) for body in jobs.last.values()} == {"ranks_killed", "interference"}
    assert len(jobs.cases.of(KEY)) < 120
    assert jobs.cases.left_out == {"full": 101}


def test_a_long_job_does_not_fill_its_case() -> None:
    """A fact that is told again with every step, as the newest of its hour, is one fact."""
    jobs = Jobs(retention=RetentionSettings(case_facts_max=100))
    for number in range(250):
        jobs.take(fact(iteration(number, number), "iteration/1", rank=rank(number)), until=0)
    jobs.take(*KILLED, until=DAY)
    assert "iteration/1" in jobs.cases.of(KEY)


# --- forgetting -------------------------------------------------------------------------------------------------------------------

KEEP = 45 * DAY


def test_after_the_retention_a_tombstone_is_left() -> None:
    """Forgotten by observed time only; what was said stays said."""
    jobs = Jobs()
    jobs.take(*KILLED, until=DAY)
    assert jobs.take(until=now(200 + KEEP, observed=DAY)) == []
    assert len(jobs.cases.of(KEY)) > 1
    assert jobs.take(until=200 + KEEP) == []  # a day later it is looked at again
    assert len(jobs.cases.of(KEY)) > 1
    assert jobs.take(until=200 + KEEP + DAY) == []
    assert set(jobs.cases.of(KEY)) == {"tombstone"}


def test_late_facts_of_a_forgotten_attempt_are_not_judged_and_not_kept() -> None:
    """Half the evidence is no evidence, and it must not pile up behind the tombstone."""
    jobs = Jobs()
    jobs.take(*KILLED, until=100 + KEEP)
    assert jobs.take(fact(cancel_request(98)), until=100 + KEEP) == []
    assert KEY not in jobs.state.indexes
    assert jobs.cases.left_out == {"late": 1}
    for _ in range(2):
        assert jobs.take(*KILLED, fact(cancel_request(98)), until=100 + KEEP) == []
        assert set(jobs.cases.of(KEY)) == {"tombstone"}
        jobs = Jobs(jobs.cases.facts())


def test_a_reused_id_is_not_swallowed_by_a_tombstone() -> None:
    """Raw ids wrap: the tombstone names the attempts that were forgotten, and a new one is judged, and forgotten in its turn."""
    jobs = Jobs()
    jobs.take(*KILLED, until=100 + KEEP)
    later = 50 * DAY
    new = job_end(later + 100, submit=later - 60, start=later, derived_signal=None)
    (verdict,) = jobs.take(fact(new), until=later + DAY)
    assert (verdict["attempt"][2], verdict["cause"]) == (ms(later - 60), "app_error")
    jobs.take(until=later + 100 + KEEP)
    assert set(jobs.cases.of(KEY)) == {"tombstone"}
    assert jobs.take(*KILLED, fact(new), until=later + 100 + KEEP) == []


def test_lines_of_a_job_that_the_scheduler_never_spoke_of_are_forgotten_too() -> None:
    """Nothing is judged, and nothing is kept for ever."""
    jobs = Jobs()
    jobs.take(fact(rank_failed(50)), until=DAY)
    jobs.take(until=50 + KEEP)
    assert KEY not in jobs.cases


def test_a_settled_case_is_sealed_until_its_retention_ends() -> None:
    """Packed, without an index; a late fact revises it as ever, and it is sealed again."""
    jobs = Jobs()
    started, touched, failed, ended, *heard = KILLED
    jobs.take(started, failed, *heard, until=DAY)
    assert not jobs.cases.sealed(KEY)  # its end is not known
    assert jobs.take(ended, until=DAY)
    assert jobs.cases.sealed(KEY) == ms(100 + KEEP)
    assert KEY not in jobs.state.indexes
    assert jobs.take(ended, until=2 * DAY) == []
    assert KEY not in jobs.state.indexes, "what is told again as it was opens nothing"
    assert "interference" in {body.get("verdict") for body in jobs.take(touched, until=2 * DAY)}
    assert jobs.cases.sealed(KEY)
    assert jobs.take(until=100 + KEEP) == []
    assert set(jobs.cases.of(KEY)) == {"tombstone"}


def test_a_case_is_open_until_nothing_more_is_expected() -> None:
    """The sources that prove an absence have had their time."""
    jobs = Jobs()
    jobs.take(*KILLED, until=100 + 120)
    assert {body["status"] for body in jobs.last.values()} == {"final"}
    assert not jobs.cases.sealed(KEY)


@pytest.mark.parametrize("changed", [False, True])
def test_sealed_cases_are_looked_at_after_a_restart_only_by_another_judge(changed: bool) -> None:
    """A hundred thousand of them must not be judged before the worker goes on; other settings may judge otherwise."""
    jobs = Jobs()
    jobs.take(*KILLED, until=DAY)
    detect = DetectSettings(kill_window_seconds=2000) if changed else DetectSettings()
    again = Jobs(cases=jobs.cases, detect=detect)
    assert list(again.state.stale) == ([KEY] if changed else [])
    again.take(until=DAY)
    assert not again.state.stale
    assert list(Jobs(cases=again.cases, detect=detect).state.stale) == []


def test_open_cases_are_looked_at_some_a_step_after_a_restart() -> None:
    """What watermarks have closed meanwhile is judged, and nothing waits for all of it."""
    jobs = Jobs()
    for number in range(3 * UNSEEN_MAX):
        jobs.take(*[Fact(job_case(CLUSTER, str(number)), each.id, each.rank, each.body) for each in KILLED[:2]], until=150)
    again = Jobs(jobs.cases.facts())
    left = []
    for _ in range(3):
        again.take(until=150)
        left.append(len(again.state.unseen))
    assert left == [2 * UNSEEN_MAX, UNSEEN_MAX, 0]


def test_a_running_job_is_kept() -> None:
    """However long it runs."""
    jobs = Jobs()
    jobs.take(fact(allocation()), until=DAY)
    jobs.take(until=400 * DAY)
    assert len(jobs.cases.of(KEY)) == 1


# --- settings ---------------------------------------------------------------------------------------------------------------------


def test_windows_are_settings() -> None:
    """A shorter kill window explains less."""
    short = Jobs(detect=DetectSettings(kill_window_seconds=2))
    said = short.take(fact(allocation()), fact(touch(kill(97))), fact(job_end(100)), *HEARD, until=DAY)
    assert [body["verdict"] for body in said] == ["unexplained"]


def test_a_pending_record_alone_is_no_end() -> None:
    """A job that waits has no verdict."""
    assert Jobs().take(fact(job_record(-60, "other", state="PENDING", start=None)), until=DAY) == []


def test_a_new_suppression_revises_what_was_said_and_its_end_brings_it_back() -> None:
    """After the restart that another digest takes; a finding that is held back is the same finding, never taken back."""
    jobs = Jobs()
    (alert, verdict) = jobs.take(*KILLED, until=DAY)
    assert (alert["alert"], alert["actor"], verdict["verdict"]) == (True, "u099", "interference")
    excuse = {"detector": alert["detector"], "subject": JOB, "because": "a test of the kill switch"}
    held, ended = (DetectSettings.model_validate({"suppressions": [{**excuse, "until": ms(until) / 1000}]}) for until in (DAY, 0))
    (said, without) = Jobs(cases=jobs.cases, detect=held).take(until=DAY)
    assert (said["id"], said["status"], said["alert"], said["actor"]) == (alert["id"], "final", False, "")
    assert said["gate"].endswith("a test of the kill switch")
    assert (without["id"], without["verdict"], without["findings"]) == (verdict["id"], "unexplained", [said["id"]])
    assert Jobs(cases=jobs.cases, detect=ended).take(until=DAY) == [alert, verdict]
