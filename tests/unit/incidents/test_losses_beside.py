"""What is claimed of attempts that no finding names: beside a node, a queue or an account, and behind altered bytes."""

from typing import Any

import msgspec
import pytest

from pipeline.incidents.attempts import Attempts
from pipeline.incidents.losses import loss_of
from pipeline.incidents.losses_beside import victims
from pipeline.incidents.losses_lineage import lineage
from pipeline.loss import claims as claim
from pipeline.model.finding import Evidence, Finding, Subject
from pipeline.model.incident import Examined, Loss, Mark, Range
from pipeline.model.told import Attempt
from tests.unit.incidents.campaign import CLUSTER, T0, finding, record, tamper
from tests.unit.incidents.test_losses import FAILED, HOUR, MINUTE, PRICING, about, exposed, kinds, run, worked

NODE = "gpu-001"
SMALL: dict[str, Any] = {"gpus": 8, "nodes": (NODE,)}


def on(kind: str, name: str, detector: str, **changes: Any) -> Finding:
    """A finding about something else than a job, at T0."""
    value = finding(detector, 0, "0", "u099", owner="", **changes)
    return msgspec.structs.replace(value, attempt=None, subject=Subject(kind, CLUSTER, name))


SILENCED = on("host", NODE, "p18_telemetry_tamper")
SLOWED = on("host", NODE, "p14_node_degraded")
LASTED = msgspec.structs.replace(SLOWED, evidence=(*SLOWED.evidence, record("before", "undone", T0 + 2 * HOUR, "training")))
ENTERED = on("identity", "u012", "p17_borrowed_account", effect="access_after_end", evidence=(record("cause", "login", T0, "sshd"),))
BORROWED = on("identity", "u012", "p17_borrowed_account", effect_time=T0)
BURST = run("20", ran=2, start=T0 + 10 * MINUTE, owner="u099", state="COMPLETED", verdict="benign", **SMALL)
CITED = Evidence("cause", BURST.record, "", "slurm_jobcomp", BURST.end or 0, "job 20 of the burst")
FLOOD = on("cohort", "queue/batch", "p13_queue_flooding", evidence=(CITED,))
LIKE_IT = msgspec.structs.replace(BURST, attempt=Attempt(CLUSTER, "24", BURST.attempt.submit + 50 * MINUTE, T0 + MINUTE), record="another")
LATER = msgspec.structs.replace(LIKE_IT, attempt=Attempt(CLUSTER, "25", BURST.attempt.submit + 70 * MINUTE, T0 + MINUTE))
OTHER_WORK = msgspec.structs.replace(LIKE_IT, task="evaluation")
DISPLACED = run("21", start=T0 - 50 * MINUTE + 9 * MINUTE, ran=50 / 60, state="PREEMPTED", verdict="benign", **SMALL)
ELSEWHERE = msgspec.structs.replace(DISPLACED, attempt=Attempt(CLUSTER, "22", T0 - 2 * HOUR, T0 - 41 * MINUTE), nodes=("gpu-009",))
WORKED = msgspec.structs.replace(BURST, attempt=Attempt(CLUSTER, "23", T0, T0 + MINUTE), last_step=Mark(T0 + HOUR, "s"))
QUICK = [run(f"3{n}", start=T0 - 9 * HOUR, state="COMPLETED", configuration="c", pace=1000.0, gpus=8, nodes=("gpu-002",)) for n in "12"]
SLOW = run("30", start=T0 - 30 * MINUTE, state="COMPLETED", configuration="c", pace=2000.0, **SMALL)
AS_SLOW = [
    msgspec.structs.replace(SLOW, attempt=Attempt(CLUSTER, name, T0, T0 + begun * HOUR), end=T0 + (begun + 1) * HOUR)
    for name, begun in (("33", 1), ("34", 3))
]


def elsewhere(each: Examined) -> Examined:
    return msgspec.structs.replace(each, nodes=("gpu-009",))


UNSEEN = run("40", start=T0 + HOUR, verdict="unexplained", missing=(f"auditd on {NODE}",), **SMALL)
TABLE = [
    ("a burst held its GPUs", FLOOD, [BURST], {"held": (16.0, 16.0, 16.0)}),
    ("another of the same hour and work as well", FLOOD, [BURST, elsewhere(LIKE_IT)], {"held": (33.2, 33.2, 33.2)}),
    ("one that came later in high alone", FLOOD, [BURST, elsewhere(LATER)], {"held": (16.0, 16.0, 33.2)}),
    ("and other work that failed", FLOOD, [BURST, elsewhere(OTHER_WORK)], {"held": (16.0, 16.0, 33.2)}),
    ("whoever it displaced lost progress", FLOOD, [BURST, DISPLACED], {"held": (16.0, 16.0, 16.0), "lost_progress": (0.0, 4.0, 6.7)}),
    ("preempted on another node is another matter", FLOOD, [BURST, ELSEWHERE], {"held": (16.0, 16.0, 16.0)}),
    ("a job that wrote steps did work", FLOOD, [WORKED], {}),
    ("a node was slowed: half of the time, against siblings elsewhere", SLOWED, [SLOW, *QUICK], {"slowdown": (0.0, 4.0, 4.0)}),
    ("others that began there are slow as well", SLOWED, [SLOW, *AS_SLOW, *QUICK], {"slowdown": (0.0, 4.0, 12.0)}),
    ("who held it when slow steps are cited", LASTED, [SLOW, *AS_SLOW, *QUICK], {"slowdown": (0.0, 8.0, 12.0)}),
    ("without siblings it may have stood still", SLOWED, [SLOW], {"slowdown": (0.0, 0.0, 4.0)}),
    ("and of one that began later nobody can tell", SLOWED, AS_SLOW[:1], {}),
    ("a bad end while nothing was recorded", SILENCED, [run("40", start=T0, **SMALL)], {"lost_progress": (0.0, 0.0, 8.0)}),
    ("no record explains one, and the log that would have is missing there", SILENCED, [UNSEEN], {"lost_progress": (0.0, 4.0, 8.0)}),
    ("the same below the gate", msgspec.structs.replace(SILENCED, alert=False), [UNSEEN], {"lost_progress": (0.0, 0.0, 8.0)}),
    ("it is missing on another of its nodes", SILENCED, [msgspec.structs.replace(UNSEEN, missing=("auditd on gpu-009",))],
     {"lost_progress": (0.0, 0.0, 8.0)}),
    ("within the hour", SILENCED, [run("40", start=T0 - 15 * MINUTE, verdict="unexplained", **SMALL)], {"lost_progress": (0.0, 4.0, 8.0)}),
    ("an error of its own explains it", SILENCED, [msgspec.structs.replace(UNSEEN, verdict="benign")], {"lost_progress": (0.0, 0.0, 8.0)}),
    ("its owner cancelled it, as the scheduler tells", SILENCED, [run("40", start=T0, state="CANCELLED", verdict="benign", **SMALL)], {}),
    ("a good end", SILENCED, [run("40", start=T0, state="COMPLETED", **SMALL)], {}),
    ("a bad end of the suspect's own", SILENCED, [run("40", start=T0, owner="u099", **SMALL)], {}),
    ("a bad end two days later", SILENCED, [run("40", start=T0 + 48 * HOUR, **SMALL)], {}),
    ("the owner's job was cancelled within hours", BORROWED, [run("50", start=T0, state="CANCELLED", **SMALL)],
     {"lost_progress": (0.0, 0.0, 8.0)}),
    ("it failed by itself", BORROWED, [run("50", start=T0, **SMALL)], {}),
    ("the account of one who had left: what anybody's was cancelled within the hour", ENTERED,
     [run("50", start=T0 - 30 * MINUTE, state="CANCELLED", owner="u013", **SMALL)], {"lost_progress": (0.0, 0.0, 8.0)}),
    ("and not what was later", ENTERED, [run("50", start=T0 + HOUR, state="CANCELLED", owner="u013", **SMALL)], {}),
    ("another owner's was cancelled", BORROWED, [run("50", start=T0, state="CANCELLED", owner="u013", **SMALL)], {}),
]  # fmt: skip


@pytest.mark.parametrize(("said", "attempts", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_findings_about_no_attempt(said: Finding, attempts: list[Examined], expected: dict[str, tuple[float, float, float]]) -> None:
    """By nodes, accounts and times of the attempts' own records; what nothing but these ties to the act counts in high alone."""
    assert kinds(worked([said], attempts)) == expected


@pytest.mark.parametrize(
    ("said", "attempts", "expected"),
    [
        (FLOOD, [BURST, DISPLACED], {DISPLACED}),
        (SLOWED, [SLOW, *AS_SLOW, *QUICK], {SLOW}),
        (msgspec.structs.replace(SLOWED, alert=False), [SLOW, *QUICK], set()),
        (SILENCED, [UNSEEN], set()),
    ],
    ids=["whom a burst displaced, not the burst", "who ran on the slowed node then", "below the gate", "a bad end that nobody saw"],
)
def test_victims_lose_hours_by_what_an_alert_says(said: Finding, attempts: list[Examined], expected: set[Examined]) -> None:
    """Of a queue or a node: the scope calls them affected, though no finding is about them."""
    held = Attempts({each.attempt.name: each for each in attempts})
    assert victims([said], held, PRICING) == {each.attempt.name for each in expected}


LOADED = exposed("u099", T0 - 30 * MINUTE, T0 - 20 * MINUTE)
TAMPERED = run("7", start=T0 - 30 * MINUTE, state="COMPLETED", exposures=(LOADED,), saved=Mark(T0, "save"), **SMALL)
SAID = about(tamper(0, "7", "u099", evidence=(LOADED.write, LOADED.load), cause_time=T0 - HOUR), TAMPERED)
MODULE = msgspec.structs.replace(SAID, detector="p04_environment_tamper")
BAD = msgspec.structs.replace(TAMPERED, state="FAILED", saved=None)


def high_of(loss: Loss, job: str) -> float:
    """GPU-hours of one attempt, in the high reading alone."""
    mine = [line.gpu_hours for line in loss.lines if line.attempt and line.attempt.job == job]
    assert all(each.low == each.middle == 0 for each in mine)
    return round(sum(each.high for each in mine), 1)


LINEAGE = [
    ("went on from it, by record", {"resumed": ("7", Mark(T0, "save"))}, 8.0),
    ("from what had been saved before the load", {"resumed": ("7", Mark(T0 - HOUR, "save"))}, 0.0),
    ("from another job", {"resumed": ("6", Mark(T0, "save"))}, 0.0),
    ("at the same work later, no record says from what", {"loads_told": False}, 8.0),
    ("at the same work later, and it tells what it loads", {}, 0.0),
    ("at other work", {"task": "other"}, 0.0),
    ("of another owner, whose loads are told", {"owner": "u013"}, 0.0),
    ("of another owner, of whose loads no record tells", {"owner": "u013", "loads_told": False}, 8.0),
    ("the same long after", {"owner": "u013", "loads_told": False, "attempt": Attempt(CLUSTER, "60", 0, T0 + 72 * HOUR),
                             "end": T0 + 73 * HOUR}, 0.0),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "hours"), [row[1:] for row in LINEAGE], ids=[row[0] for row in LINEAGE])
def test_who_may_have_built_on_altered_bytes(changes: dict[str, Any], hours: float) -> None:
    """In the high reading: nothing shows that the results are wrong, and nothing excludes it."""
    later = msgspec.structs.replace(run("60", start=T0 + 2 * HOUR, state="COMPLETED", **SMALL), **changes)
    assert high_of(worked([MODULE], [TAMPERED, later]), "60") == hours


def test_who_went_on_by_record_counts_as_what_it_went_on_from() -> None:
    """In the middle reading, too, and so on from there; not behind a module.  Below its gate two things are open: nothing is counted."""
    later = run("60", start=T0 + 2 * HOUR, state="COMPLETED", resumed=("7", Mark(T0, "save")), saved=Mark(T0 + 150 * MINUTE, "s"), **SMALL)
    last = run("61", start=T0 + 4 * HOUR, state="COMPLETED", resumed=("60", Mark(T0 + 150 * MINUTE, "s")), **SMALL)
    for said, middle in ((SAID, 8.0), (MODULE, 0.0)):
        loss = worked([said], [TAMPERED, later, last])
        of = {line.attempt.job: line.gpu_hours for line in loss.lines if line.attempt}
        assert (of["60"], of["61"]) == (Range(0.0, middle, 8.0), Range(0.0, middle, 8.0))
    below = worked([msgspec.structs.replace(SAID, alert=False)], [TAMPERED, later, last])
    assert {line.attempt.job for line in below.lines if line.attempt} == {"7"}


HARMED = msgspec.structs.replace(TAMPERED, cause="killed_from_inside")


@pytest.mark.parametrize(
    ("said", "changes", "hours"),
    [
        (MODULE, {"resumed": ("7", Mark(T0, "save"))}, 0.0),
        (MODULE, {"loads_told": False, "state": "COMPLETED"}, 0.0),
        (MODULE, {"loads_told": False, "saved": Mark(T0 + 150 * MINUTE, "s")}, 4.0),
        (MODULE, {"loads_told": False, "unexplained": False}, 0.0),
        (msgspec.structs.replace(MODULE, alert=False), {"loads_told": False}, 0.0),
    ],
    ids=["went on from it", "may have loaded it, and ended well", "and broke down", "as a record explains", "below the gate"],
)
def test_behind_code_that_killed_nobody_but_who_broke_down_lost(said: Finding, changes: dict[str, Any], hours: float) -> None:
    """What it does was seen: it spoils no results.  Whoever may have loaded it and broke down lost what had not been saved, in high."""
    anchored = msgspec.structs.replace(said, anchor=LOADED.path)
    later = msgspec.structs.replace(run("60", start=T0 + 2 * HOUR, **SMALL), **changes)
    assert high_of(worked([anchored], [HARMED, later]), "60") == hours


@pytest.mark.parametrize(("pace", "share"), [(2000.0, 0.5), (1000.0, 0.0), (None, 0.0)], ids=["slow", "quick", "nobody can tell"])
def test_behind_slow_code_high_counts_who_was_slow(pace: float | None, share: float) -> None:
    """By the share of its time that siblings did not need, and not all of it: whoever loaded it without a finding of its own, and of whom
    no record tells what it loaded."""
    slow = [
        run(job, start=T0 - 30 * MINUTE, state="COMPLETED", exposures=(LOADED,), configuration="c", pace=2000.0, gpus=8, nodes=(node,))
        for job, node in (("7", "gpu-001"), ("8", "gpu-003"), ("9", "gpu-004"))
    ]
    untold = run("60", start=T0, state="COMPLETED", configuration="c", pace=pace, loads_told=False, gpus=8, nodes=("gpu-005",))
    said = about(msgspec.structs.replace(MODULE, anchor=LOADED.path), slow[0])
    loss = worked([said], [*slow, untold, *QUICK])
    of = {(line.kind, line.attempt.job): round(line.gpu_hours.high, 2) for line in loss.lines if line.attempt}
    assert of == {("slowdown", job): round(8 * 50 / 60 / 2, 2) for job in "789"} | ({("slowdown", "60"): 8 * share} if share else {})


@pytest.mark.parametrize(
    ("detector", "changes", "hours"),
    [("p11_dataset_tamper", {}, 8.0), ("p11_dataset_tamper", {"configuration": "c9"}, 0.0), ("p04_environment_tamper", {}, 0.0)],
    ids=["data", "of another configuration", "a module"],
)
def test_two_conjectures_need_more_than_one_does(detector: str, changes: dict[str, Any], hours: float) -> None:
    """Job 60 may have loaded the bytes; who may have gone on from it must be of its size and configuration.  Behind a module that is one
    open thing too many, since those seldom spoil results."""
    first = run("60", start=T0 + HOUR, state="COMPLETED", owner="u013", loads_told=False, saved=Mark(T0 + 2 * HOUR, "untold"), **SMALL)
    after = msgspec.structs.replace(first, attempt=Attempt(CLUSTER, "61", T0, T0 + 30 * HOUR), end=T0 + 31 * HOUR, saved=None, **changes)
    loss = worked([msgspec.structs.replace(SAID, detector=detector)], [TAMPERED, first, after])
    assert (high_of(loss, "60"), high_of(loss, "61")) == (8.0, hours)


def test_who_saved_nothing_leaves_nothing() -> None:
    """Of a job that died of what it had loaded nobody goes on."""
    later = run("60", start=T0 + 2 * HOUR, state="COMPLETED", **SMALL)
    assert high_of(worked([SAID], [BAD, later]), "60") == 0.0


def test_a_job_that_died_behind_its_load_may_have_lost_all_it_had_done() -> None:
    """Not only the time since the load: ten minutes before it, in the high reading."""
    hours = worked([SAID], [BAD]).direct_gpu_hours
    assert (round(hours.middle, 2), round(hours.high, 2)) == (round(8 * 50 / 60, 2), 8.0)


def test_who_may_have_built_on_it_is_looked_for_once() -> None:
    """Six hundred attempts at one work, all of which saved: their cost grows with their number, and not with its square."""
    sweep = [
        msgspec.structs.replace(
            run(str(n), start=T0 + n * MINUTE, state="COMPLETED", loads_told=False, **SMALL), saved=Mark(T0 + n * MINUTE + 1, "save")
        )
        for n in range(100, 700)
    ]
    attempts = Counting({each.attempt.name: each for each in [TAMPERED, *sweep]})
    loss = loss_of([SAID], attempts, PRICING, ())
    assert len([line for line in loss.lines if line.attempt and line.attempt.job != "7"]) > 0
    assert loss.gpus == 8
    assert attempts.asked <= 2


def test_many_writes_claim_each_attempt_once() -> None:
    """Forty modules, each loaded by one attempt, and sixty attempts of which nobody knows what they loaded: sixty claims, and not 2,400."""
    loads = [exposed("u099", T0 - 30 * MINUTE, T0 + n, path=f"/env/{n}.py") for n in range(40)]
    told = [run(f"1{n:02}", start=T0, owner=f"u{n:03}", exposures=(load,), **SMALL) for n, load in enumerate(loads)]
    untold = [run(f"2{n:02}", start=T0 + n * MINUTE, owner="u300", loads_told=False, **SMALL) for n in range(60)]
    said = [
        about(msgspec.structs.replace(MODULE, anchor=load.path, evidence=(load.write, load.load)), each)
        for each, load in zip(told, loads, strict=True)
    ]
    made = list(lineage(said, [], Attempts({each.attempt.name: each for each in [*told, *untold]}), PRICING, {}))
    assert sorted(each.attempt.job for each in made) == sorted(each.attempt.job for each in untold)


class Counting(Attempts):
    """How often the same work was asked for."""

    asked = 0

    def untold_after(self, like: Examined, since: int, *, alike: bool) -> list[Examined]:
        self.asked += 1
        return super().untold_after(like, since, alike=alike)


def test_whoever_saved_first_leaves_most() -> None:
    """In whatever order they loaded: job 60 began behind the save of job 7 alone, job 61 behind both."""
    second = run("8", start=T0 - 30 * MINUTE, ran=9, state="COMPLETED", exposures=(LOADED,), saved=Mark(T0 + 8 * HOUR, "late"), **SMALL)
    after = [run(job, start=T0 + hour * HOUR, state="COMPLETED", loads_told=False, **SMALL) for job, hour in (("60", 2), ("61", 10))]
    for name in ("1", "9"):
        first = msgspec.structs.replace(TAMPERED, attempt=Attempt(CLUSTER, name, T0 - HOUR, T0 - 30 * MINUTE))
        loss = worked([about(SAID, first)], [first, second, *after])
        assert (high_of(loss, "60"), high_of(loss, "61")) == (8.0, 8.0)


def test_a_burst_that_still_runs_is_said() -> None:
    """Nothing can be counted of it yet."""
    unknown = worked([FLOOD], [msgspec.structs.replace(BURST, end=None)]).unknown
    assert "Nothing is counted for 1 attempt of its findings: running, or no longer held." in unknown


def test_what_a_note_says_goes_when_it_is_settled() -> None:
    """An attempt that is claimed by a finding of its own needs no excuse."""
    (line,) = worked([SAID], [TAMPERED]).lines
    assert claim.DERIVED not in line.note
    assert FAILED.attempt != TAMPERED.attempt
