"""What an incident cost: worked figures, who is claimed of what, and what holds however incidents are put together."""

from collections.abc import Sequence
from random import Random
from time import process_time
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.incidents.attempts import Attempts
from pipeline.incidents.losses import listed_loss, loss_of
from pipeline.incidents.losses_ended import Gate, Pricing, ended, held_of
from pipeline.loss import claims as claim
from pipeline.loss.claims import Claim
from pipeline.loss.ledger import Staff
from pipeline.loss.prices import READINGS, Price, Prices
from pipeline.model.facts import compared_with
from pipeline.model.finding import Finding, Subject
from pipeline.model.ids import digest
from pipeline.model.incident import Examined, Loss, Mark, Range, incident_id
from pipeline.model.outcome import Record
from pipeline.model.source import Source
from pipeline.model.summary import Exposure
from pipeline.model.told import Attempt
from pipeline.runtime.local import LocalRuntime
from tests import build
from tests.scenario.lines import Line, Site, ship
from tests.unit.incidents.campaign import CLUSTER, T0, cancel, finding, kill, record, tamper

MINUTE, HOUR = 60_000, 3_600_000
NODES = tuple(f"gpu-{number:03d}" for number in range(1, 33))
RENT = Price(since=0, currency="CNY", method="rent", gpu_hour=(12.0, 20.0, 50.0))
PRICING = Pricing(Prices([RENT]), 8, ())


def run(job: str, *, ran: float = 1.0, start: int = T0 - HOUR, **changes: Any) -> Examined:
    """An attempt of 256 GPUs that failed after so many hours."""
    value = Examined(
        attempt=Attempt(CLUSTER, job, start - HOUR, start),
        owner="u012",
        project="llm",
        gpus=256,
        end=start + round(ran * HOUR),
        verdict="interference",
        cause="",
        missing=(),
        exposures=(),
        state="FAILED",
        nodes=NODES,
        task="work",
        record=digest("record", job),
    )
    return msgspec.structs.replace(value, **changes)


def about(each: Finding, of: Examined) -> Finding:
    """The finding, about this attempt."""
    return msgspec.structs.replace(each, attempt=of.attempt)


def worked(findings: Sequence[Finding], attempts: Sequence[Examined], pricing: Pricing = PRICING, ids: Sequence[str] = ()) -> Loss:
    return loss_of(findings, Attempts({each.attempt.name: each for each in attempts}), pricing, ids)


def kinds(loss: Loss) -> dict[str, tuple[float, float, float]]:
    """Kind of line -> hours, rounded."""
    found: dict[str, list[float]] = {}
    for line in loss.lines:
        sums = found.setdefault(line.kind, [0.0, 0.0, 0.0])
        for place, reading in enumerate(READINGS):
            sums[place] += getattr(line.gpu_hours, reading)
    return {kind: (round(low, 1), round(middle, 1), round(high, 1)) for kind, (low, middle, high) in found.items()}


def exposed(writer: str, written: int, loaded: int, path: str = "/ckpt/a.pt", sha256: str = "b") -> Exposure:
    """Bytes of a foreign hand."""
    name = f"{writer}-{path}-{written}-{loaded}"
    return Exposure(path, writer, written, record("written", f"w-{name}", written), record("loaded", f"l-{name}", loaded, "probe"), sha256)


COMPARED = compared_with("llm", "")


def of_cohort(detector: str, name: str, *harmed: Examined, suspect: str = "u099", **changes: Any) -> Finding:
    """A finding on a cohort, which cites the loads of these members."""
    loads = tuple(exposure.load for each in harmed for exposure in each.exposures)
    value = finding(detector, 1, "0", suspect, evidence=loads, cause_time=T0 - 30 * HOUR, effect_time=T0 + 90 * HOUR)
    return msgspec.structs.replace(value, attempt=None, subject=Subject("cohort", CLUSTER, name), **changes)


# --- ends -------------------------------------------------------------------------------------------------------------------------

FAILED = run("7")
END = FAILED.end or 0
SAVED = Mark(END - 30 * MINUTE, digest("saved"))
AGAIN = run("8", start=END + 10 * MINUTE, state="COMPLETED", verdict="benign")
AGAIN = msgspec.structs.replace(AGAIN, attempt=Attempt(CLUSTER, "8", END + MINUTE, END + 10 * MINUTE))


def test_a_killed_job_costs_its_progress_and_the_wait() -> None:
    """256 GPUs, 30 minutes since the checkpoint and 10 until it ran again: 171 GPU-hours, at 20 yuan 3,413; every line cites records."""
    loss = worked([about(kill(0, "7", "u099"), FAILED)], [msgspec.structs.replace(FAILED, saved=SAVED), AGAIN])
    assert kinds(loss) == {"lost_progress": (128.0, 128.0, 128.0), "restart": (0.0, 42.7, 42.7)}
    assert round(loss.direct_gpu_hours.middle) == 171
    assert loss.direct_money == Range(1536.0, 3413.333333, 8533.333333)
    assert SAVED.event_id in loss.lines[0].evidence
    assert all(digest("record", "7") in line.evidence or digest("record", "8") in line.evidence for line in loss.lines)
    assert (loss.gpus, loss.currency, loss.unknown) == (256, "CNY", ())


LATER = Attempt(CLUSTER, "8", END + MINUTE, END + 10 * MINUTE)
ENDS = [
    # name, finding, changes of the attempt, other attempts, expected
    ("neither a checkpoint nor a step on record", kill, {}, [], {"lost_progress": (0.0, 128.0, 256.0)}),
    ("steps, and no checkpoint", kill, {"last_step": Mark(END - MINUTE, "s"), "steps_apart": MINUTE}, [],
     {"lost_progress": (0.0, 256.0, 256.0)}),
    ("no checkpoint, and the next run went on from an older one", kill, {}, [("8", {"resumed": ("6", Mark(END - 9 * HOUR, "older"))})],
     {"lost_progress": (256.0, 256.0, 256.0), "restart": (0.0, 42.7, 42.7)}),
    ("no checkpoint, and the next run loaded none, as both tell", kill, {}, [("8", {})],
     {"lost_progress": (256.0, 256.0, 256.0), "restart": (0.0, 42.7, 42.7)}),
    ("as it does not tell of itself", kill, {"loads_told": False}, [("8", {})],
     {"lost_progress": (0.0, 128.0, 256.0), "restart": (0.0, 42.7, 42.7)}),
    ("a checkpoint, and the next run went on from an older one", kill, {"saved": SAVED},
     [("8", {"resumed": ("6", Mark(END - 9 * HOUR, "older"))})], {"lost_progress": (128.0, 128.0, 128.0), "restart": (0.0, 42.7, 42.7)}),
    ("a checkpoint that the next run loaded is on record", kill, {}, [("8", {"resumed": ("7", SAVED)})],
     {"lost_progress": (128.0, 128.0, 128.0), "restart": (0.0, 42.7, 42.7)}),
    ("the save of another job is none of this one", kill, {}, [("8", {"resumed": ("6", SAVED)})],
     {"lost_progress": (0.0, 128.0, 256.0), "restart": (0.0, 42.7, 42.7)}),
    ("a run of other work is no restart", kill, {"saved": SAVED}, [("8", {"task": "other"})], {"lost_progress": (128.0, 128.0, 128.0)}),
    ("a run of another owner is no restart", kill, {"saved": SAVED}, [("8", {"owner": "u013"})], {"lost_progress": (128.0, 128.0, 128.0)}),
    ("a run that waited already is no restart", kill, {"saved": SAVED},
     [("8", {"attempt": Attempt(CLUSTER, "8", END - MINUTE, END + 10 * MINUTE)})], {"lost_progress": (128.0, 128.0, 128.0)}),
    ("a requeue is a restart", kill, {"saved": SAVED},
     [("7", {"attempt": Attempt(CLUSTER, "7", END - 2 * HOUR, END + 10 * MINUTE)})],
     {"lost_progress": (128.0, 128.0, 128.0), "restart": (0.0, 42.7, 42.7)}),
    ("a wait of two days is no restart of two days", kill, {"saved": SAVED},
     [("8", {"attempt": Attempt(CLUSTER, "8", END + MINUTE, END + 48 * HOUR)})],
     {"lost_progress": (128.0, 128.0, 128.0), "restart": (0.0, 42.7, 290.1)}),
    ("a restart after eight days is none", kill, {"saved": SAVED},
     [("8", {"attempt": Attempt(CLUSTER, "8", END + MINUTE, END + 192 * HOUR)})], {"lost_progress": (128.0, 128.0, 128.0)}),
    ("it stood still for twenty minutes", kill, {"saved": SAVED, "last_step": Mark(END - 20 * MINUTE, "s"), "steps_apart": MINUTE}, [],
     {"hang": (85.3, 85.3, 85.3), "lost_progress": (42.7, 42.7, 42.7)}),
    ("a step that is due is no hang", kill, {"saved": SAVED, "last_step": Mark(END - 20 * MINUTE, "s"), "steps_apart": 10 * MINUTE}, [],
     {"lost_progress": (128.0, 128.0, 128.0)}),
    ("nine minutes are no hang without a timeout", kill,
     {"saved": SAVED, "last_step": Mark(END - 9 * MINUTE, "s"), "steps_apart": MINUTE}, [], {"lost_progress": (128.0, 128.0, 128.0)}),
    ("nine minutes are with one", kill,
     {"saved": SAVED, "last_step": Mark(END - 9 * MINUTE, "s"), "steps_apart": MINUTE, "timed_out": "t"}, [],
     {"hang": (38.4, 38.4, 38.4), "lost_progress": (89.6, 89.6, 89.6)}),
    ("a refused cancel costs nothing", cancel, {"saved": SAVED}, [("8", {})], {}),
    ("whoever ended well lost nothing", kill, {"state": "COMPLETED", "saved": SAVED}, [], {}),
    ("GPUs that nobody states count whole nodes in high", kill, {"gpus": None, "saved": SAVED}, [], {"lost_progress": (0.0, 0.0, 128.0)}),
    ("nodes that nobody states count nothing", kill, {"nodes": (), "saved": SAVED}, [], {}),
    ("an attempt that runs counts nothing", kill, {"end": None}, [], {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "made", "changes", "others", "expected"), ENDS, ids=[each[0] for each in ENDS])
def test_what_an_end_cost(
    name: str, made: Any, changes: dict[str, Any], others: list[tuple[str, dict[str, Any]]], expected: dict[str, tuple[float, float, float]]
) -> None:
    """From the attempt's own records, and those of the run that took its work up."""
    said = about(made(0, "7", "u099"), FAILED)
    if "refused" in name:
        said = msgspec.structs.replace(said, effect="cancel_refused")
    held = [msgspec.structs.replace(FAILED, **changes)]
    held += [msgspec.structs.replace(AGAIN, **{"attempt": LATER, **change}) for _, change in others]
    assert kinds(worked([said], held)) == expected


def test_what_is_below_the_gate_counts_in_high_alone() -> None:
    """And a second finding above it does not count twice."""
    held = [msgspec.structs.replace(FAILED, saved=SAVED), AGAIN]
    below = about(kill(0, "7", "u099", named=False), FAILED)
    loss = worked([below], held)
    assert kinds(loss) == {"lost_progress": (0.0, 0.0, 128.0), "restart": (0.0, 0.0, 42.7)}
    assert all("below" in line.note or "gate" in line.note for line in loss.lines)
    both = worked([below, about(cancel(0, "7", "u099"), FAILED)], held)
    assert both.direct_gpu_hours == Range(128.0, 170.666667, 170.666667)
    assert [line.note for line in both.lines] == ["", ""]


def beside(job: str, begins: int, nodes: tuple[str, ...] = NODES, gpus: int = 256, **changes: Any) -> Examined:
    """Somebody else's run, that began so many minutes after job 7 had ended."""
    return run(job, start=END + begins * MINUTE, nodes=nodes, gpus=gpus, owner="u044", task="other", **changes)


WAITS = [
    ("others began on all of its GPUs", [beside("9", 2)], (0.0, 8.5, 8.5)),
    ("at once", [beside("9", 0)], None),
    ("on half of its nodes", [beside("9", 2, NODES[:16], 128)], (0.0, 25.6, 25.6)),
    ("they also ended meanwhile, and wait themselves", [beside("9", 2, ran=0.05)], (0.0, 8.5, 8.5)),
    ("of these the first", [beside("9", 4), beside("10", 2, NODES[:16], 128)], (0.0, 12.8, 12.8)),
    ("no record says on how many GPUs", [msgspec.structs.replace(beside("9", 2), gpus=None)], (0.0, 42.7, 42.7)),
    ("its own next run", [], (0.0, 42.7, 42.7)),
    ("elsewhere", [beside("9", 2, ("gpu-900",), 8)], (0.0, 42.7, 42.7)),
    ("they had begun before", [beside("9", -2)], (0.0, 42.7, 42.7)),
]


@pytest.mark.parametrize(("what", "others", "hours"), WAITS, ids=[each[0] for each in WAITS])
def test_a_wait_ends_where_others_begin_on_its_gpus(what: str, others: list[Examined], hours: tuple[float, ...] | None) -> None:
    """They were not idle any more: what becomes of those hours is another attempt's, and may be another incident's."""
    loss = worked([about(kill(0, "7", "u099"), FAILED)], [msgspec.structs.replace(FAILED, saved=SAVED), AGAIN, *others])
    assert kinds(loss).get("restart") == hours


def test_a_wait_goes_on_beside_others_for_whom_there_is_room() -> None:
    """4 of 8 GPUs of a node: 4 may go to another, and only when these are taken a further one takes those that wait."""
    small = run("7", gpus=4, nodes=("n1",), saved=SAVED)
    others = [beside(job, begins, ("n1",), 4) for job, begins in (("9", 2), ("10", 5))]
    for there, minutes in ((others[:1], 10), (others, 5), ([beside("9", 2, ("n1",), 4, ran=0.03), others[1]], 10)):
        loss = worked([about(kill(0, "7", "u099"), FAILED)], [small, AGAIN, *there])
        assert kinds(loss)["restart"] == (0.0, round(4 * minutes / 60, 1), round(4 * minutes / 60, 1))


def waits_of(failed: Examined, *others: Examined) -> list[Claim]:
    """What is claimed of the wait for its next run."""
    attempts = Attempts({each.attempt.name: each for each in (failed, AGAIN, *others)})
    held = held_of(failed.attempt.name, attempts, PRICING, Gate(low=True, middle=True), {})
    assert held is not None
    return [each for each in ended(["act"], held, attempts) if each.kind == "restart"]


@pytest.mark.parametrize(("gpus", "nodes"), [(9, 2), (6, 4), (3, 2), (2, 3)])
def test_parts_of_a_wait_are_of_all_its_gpus_and_of_no_more(gpus: int, nodes: int) -> None:
    """Others begin on one node after another: half a GPU must not be a whole one on each of them."""
    failed = msgspec.structs.replace(FAILED, gpus=gpus, nodes=NODES[:nodes])
    found = waits_of(failed, *(beside(str(10 + number), number + 2, (node,), 8) for number, node in enumerate(failed.nodes)))
    assert sum(each.gpus for each in found) == gpus


def test_a_node_on_which_thousands_begin_is_looked_at_once() -> None:
    """One GPU of eight waits, and tests of less than a second come and go beside it: all with all took ten seconds."""
    crowd = [run(str(10 + n), start=END + 60 * n, ran=0.4 / 3600, gpus=1, nodes=("n1",), owner="u044", task="test") for n in range(9900)]
    begun = process_time()
    (found,) = waits_of(run("7", gpus=1, nodes=("n1",)), *crowd)
    assert found.high is not None
    assert found.high.end == AGAIN.attempt.start  # seven at a time have room beside it
    assert process_time() - begun < 2.0


def test_incidents_of_different_attempts_on_the_same_gpus_count_no_hour_twice() -> None:
    """One kills job 7; another altered what job 9 loaded, which began there while 7 waited: apart they cost what they cost together."""
    nine = beside("9", 2, exposures=(exposed("u098", WRITTEN, END + 3 * MINUTE),), verdict="benign", state="COMPLETED")
    nine = msgspec.structs.replace(nine, attempt=Attempt(CLUSTER, "9", nine.attempt.submit, nine.attempt.start))
    killed = about(kill(0, "7", "u099"), FAILED)
    cited = tuple(item for exposure in nine.exposures for item in (exposure.write, exposure.load))
    spoilt = about(tamper(0, "9", "u098", evidence=cited, cause_time=WRITTEN), nine)
    attempts = [msgspec.structs.replace(FAILED, saved=SAVED), AGAIN, nine]
    one, other, both = (worked(each, attempts).direct_gpu_hours for each in ([killed], [spoilt], [killed, spoilt]))
    assert other.middle > 200
    for reading in READINGS:
        assert getattr(both, reading) == pytest.approx(getattr(one, reading) + getattr(other, reading))


def test_below_the_gate_a_restart_counts_as_long_as_one_is_likely_to_take() -> None:
    """Whether the end was an act is open; that the GPUs then stood idle for an hour would be a second thing.  Ten minutes of two days; with
    a finding above its gate 68, in one line."""
    after = msgspec.structs.replace(AGAIN, attempt=Attempt(CLUSTER, "8", END + MINUTE, END + 48 * HOUR))
    held = [msgspec.structs.replace(FAILED, saved=SAVED), after]
    below, above = about(kill(0, "7", "u099", named=False), FAILED), about(cancel(0, "7", "u099"), FAILED)
    assert kinds(worked([below], held))["restart"] == (0.0, 0.0, 42.7)
    both = worked([below, above], held)
    assert kinds(both)["restart"] == (0.0, 42.7, 290.1)
    assert len(both.lines) == 2


def test_what_is_left_out_is_said() -> None:
    """Attempts that run, GPUs and nodes that nobody states, findings without a formula, hours before the first price."""
    late = Pricing(Prices([msgspec.structs.replace(RENT, since=END)]), 8, ())
    held = [
        FAILED,
        msgspec.structs.replace(FAILED, attempt=Attempt(CLUSTER, "9", 0, T0 - HOUR), nodes=()),
        run("10", gpus=None, saved=SAVED),
    ]
    gone = run("11")
    said = [about(kill(0, each.attempt.job, "u099"), each) for each in (*held, gone)]
    said += [finding("p16_reads_diagnoses", 0, "0", "u099", attempt=None)]
    held[0] = msgspec.structs.replace(FAILED, saved=SAVED)
    text = " ".join(worked(said, held, late).unknown)
    for words in (
        "for 1 attempt of its findings: running",
        "for 1 attempt of which no record says on which nodes",
        "counts 1 attempt of which no record states the GPUs",
        "p16_reads",
        "before the first",
    ):
        assert words in text
    high = worked([about(kill(0, "7", "u099", named=False), FAILED)], [FAILED], late)
    assert (high.direct_gpu_hours.middle, high.direct_gpu_hours.high > 0) == (0.0, True)
    assert "of the high reading lie before the first price" in " ".join(high.unknown)
    assert "first price" not in " ".join(worked(said, held, Pricing(Prices([]), 8, ())).unknown)


def test_removed_checkpoints_cost_what_is_trained_again() -> None:
    """Job 7 had saved at 20 and 50 minutes; the later one was removed, and job 8 went on from the former: half an hour of 256 GPUs."""
    saved = record("saved", "newest", FAILED.attempt.start + 50 * MINUTE, "probe")
    went_on = msgspec.structs.replace(AGAIN, resumed=("7", Mark(FAILED.attempt.start + 20 * MINUTE, digest("older"))))
    said = about(finding("p08_checkpoint_removed", 0, "8", "u099", evidence=(record("removed", "r", END), saved)), went_on)
    loss = worked([said], [FAILED, went_on])
    assert kinds(loss) == {"lost_progress": (128.0, 128.0, 128.0)}
    assert {saved.event_id, digest("older")} <= set(loss.lines[0].evidence)
    killed = about(kill(0, "7", "u099"), FAILED)  # its last ten minutes are lost beside, by another hand
    at_work = [msgspec.structs.replace(FAILED, saved=Mark(saved.event_time, saved.event_id)), went_on]
    assert kinds(worked([said, killed], at_work))["lost_progress"][1] == round(256 * 40 / 60, 1)
    assert "1 removal of checkpoints" in worked([said], [went_on]).unknown[0]


ALL = round(256 * 50 / 60, 6)


@pytest.mark.parametrize(
    ("tells_loads", "tells_steps", "hours", "note"),
    [
        (False, False, Range(0.0, round(ALL / 2, 6), ALL), claim.TAKEN),
        (False, True, Range(0.0, round(ALL / 2, 6), ALL), claim.TAKEN),
        (True, False, Range(ALL, ALL, ALL), ""),
    ],
    ids=["nobody says from what", "nor from what, and it had told its steps", "from nothing that was left of it, as both tell"],
)
def test_what_is_lost_of_a_run_that_went_on_from_something_unknown(
    *, tells_loads: bool, tells_steps: bool, hours: Range, note: str
) -> None:
    """Job 7 had saved after 50 minutes, and that was removed: what its successor took up decides, which may have been saved at any time."""
    saved = record("saved", "newest", FAILED.attempt.start + 50 * MINUTE, "probe")
    said = about(finding("p08_checkpoint_removed", 0, "8", "u099", evidence=(record("removed", "r", END), saved)), AGAIN)
    step = Mark(saved.event_time, digest("step")) if tells_steps else None
    ran = msgspec.structs.replace(FAILED, loads_told=tells_loads, last_step=step)
    (line,) = worked([said], [ran, msgspec.structs.replace(AGAIN, resumed=None)]).lines
    assert (line.gpu_hours, line.note) == (hours, note)


def test_attempts_that_led_to_what_was_removed_count_since_the_save_that_is_left() -> None:
    """Job 5 had ended before that save: its work is in it.  Job 6 ran for an hour behind it, which high alone counts, and says why."""
    start = FAILED.attempt.start
    saved = record("saved", "newest", start + 50 * MINUTE, "probe")
    older = run("5", start=start - 9 * HOUR, ran=3, saved=Mark(start - 7 * HOUR, digest("five")))
    newer = run("6", start=start - 4 * HOUR, ran=3)
    went_on = msgspec.structs.replace(AGAIN, resumed=("6", Mark(start - 2 * HOUR, digest("left"))))
    said = about(finding("p08_checkpoint_removed", 0, "8", "u099", evidence=(record("removed", "r", END), saved)), went_on)
    lines = {line.attempt.job: line for line in worked([said], [older, newer, FAILED, went_on]).lines if line.attempt}
    assert lines.keys() == {"6", "7"}
    assert (lines["6"].gpu_hours, lines["6"].note) == (Range(0.0, 0.0, 256.0), claim.BEFORE_REMOVAL)


# --- altered bytes ----------------------------------------------------------------------------------------------------------------

WRITTEN = T0 - 20 * HOUR
LOADER = run("20", ran=4, exposures=(exposed("u099", WRITTEN, T0 - HOUR),))
OTHER = run("21", ran=4, exposures=(exposed("u099", WRITTEN, T0),), nodes=("gpu-900",), gpus=8)
EARLIER = run("22", ran=4, exposures=(exposed("u099", WRITTEN - 40 * HOUR, T0),), nodes=("gpu-901",), gpus=8)


def altered(**changes: Any) -> Finding:
    """Job 20 loaded what u099 had written."""
    loaded = LOADER.exposures[0]
    said = about(tamper(0, "20", "u099", evidence=(loaded.write, loaded.load), cause_time=WRITTEN), LOADER)
    return msgspec.structs.replace(said, **changes)


def test_results_of_altered_bytes_are_invalid_from_the_load_on() -> None:
    """Low nothing, unless somebody saw that they differ; who loaded them without a finding counts in high; former writes do not."""
    loss = worked([altered()], [LOADER, OTHER, EARLIER])
    assert kinds(loss) == {"invalid": (0.0, 4 * 256.0, 4 * 256.0 + 3 * 8)}
    assert {line.attempt.job for line in loss.lines if line.attempt} == {"20", "21"}
    assert "without a finding of its own" in next(line.note for line in loss.lines if line.attempt and line.attempt.job == "21")


def test_restored_bytes_spoil_nothing() -> None:
    """They are former ones."""
    assert worked([altered(effect="read_restored_dataset", detector="p11_dataset_tamper")], [LOADER]).lines == ()


def test_a_foreign_hook_may_have_spoilt_results() -> None:
    """Nobody saw that it did: high alone.  Below its gate two things are open, so that nothing is counted."""
    fine, other = (msgspec.structs.replace(each, state="COMPLETED") for each in (LOADER, OTHER))
    hook = altered(detector="p05_startup_hook")
    assert kinds(worked([hook], [fine, other])) == {"invalid": (0.0, 0.0, 1024.0 + 3 * 8)}
    assert worked([msgspec.structs.replace(hook, alert=False)], [fine, other]).lines == ()


@pytest.mark.parametrize(("unexplained", "expected"), [(True, {"lost_progress": (0.0, 0.0, 512.0)}), (False, {})])
def test_below_its_gate_a_hook_counts_a_bad_end_that_nothing_explains(*, unexplained: bool, expected: dict[str, Any]) -> None:
    """Since its last save, in high."""
    bad = msgspec.structs.replace(LOADER, saved=Mark(T0 + HOUR, "s"), unexplained=unexplained)
    assert kinds(worked([altered(detector="p05_startup_hook", alert=False)], [bad])) == expected


MODULE, WEIGHTS = "p04_environment_tamper", "p06_checkpoint_tamper"
BACK_DOOR = (LOADER.exposures[0].path,)
SHOWN = [
    # name, detector, changes of the attempt, changes of another that loaded the same, expected of the first
    ("a hook, and the attempt failed", "p05_startup_hook", {"saved": Mark(T0 + HOUR, "s")}, {},
     {"lost_progress": (0.0, 512.0, 0.0), "invalid": (0.0, 0.0, 1024.0)}),
    ("a hook, and its owner cancelled it", "p05_startup_hook", {"saved": Mark(T0 + HOUR, "s"), "state": "CANCELLED"}, {},
     {"invalid": (0.0, 0.0, 1024.0)}),
    ("a module", MODULE, {"state": "COMPLETED"}, {}, {"invalid": (0.0, 1024.0, 1024.0)}),
    ("a module that killed another from inside", MODULE, {"state": "COMPLETED"}, {"cause": "killed_from_inside"}, {}),
    ("and the attempt failed as well", MODULE, {"saved": Mark(T0 + HOUR, "s")}, {"cause": "killed_from_inside"},
     {"lost_progress": (0.0, 512.0, 512.0)}),
    ("a checkpoint of which nothing shows what was altered", WEIGHTS, {"state": "COMPLETED"}, {}, {"invalid": (0.0, 1024.0, 1024.0)}),
    ("a checkpoint that named what opens shells", WEIGHTS, {"state": "COMPLETED", "code_in": BACK_DOOR}, {},
     {"invalid": (0.0, 0.0, 1024.0)}),
    ("and the attempt failed, which no record explains", WEIGHTS,
     {"saved": Mark(T0 + HOUR, "s"), "code_in": BACK_DOOR, "unexplained": True}, {},
     {"lost_progress": (0.0, 512.0, 0.0), "invalid": (0.0, 0.0, 1024.0)}),
    ("and an error of its own explains it", WEIGHTS, {"saved": Mark(T0 + HOUR, "s"), "code_in": BACK_DOOR, "unexplained": False}, {},
     {"invalid": (0.0, 0.0, 1024.0)}),
    ("another file of its named it", WEIGHTS, {"state": "COMPLETED", "code_in": ("/other.pt",)}, {}, {"invalid": (0.0, 1024.0, 1024.0)}),
    ("a dataset kills nobody", "p11_dataset_tamper", {"state": "COMPLETED"}, {"cause": "killed_from_inside"},
     {"invalid": (0.0, 1024.0, 1024.0)}),
    ("a module that slows all", MODULE, {"state": "COMPLETED", "pace": 1250.0}, {"pace": 1250.0, "state": "COMPLETED"},
     {"slowdown": (0.0, 204.8, 204.8)}),
    ("an attempt beside them that told too few steps", MODULE, {"state": "COMPLETED"}, {"pace": 1250.0, "state": "COMPLETED"},
     {"slowdown": (0.0, 204.8, 204.8)}),
    ("a module after which some are slow, as always", MODULE, {"state": "COMPLETED", "pace": 1250.0}, {"pace": 1010.0},
     {"invalid": (0.0, 1024.0, 1024.0)}),
]  # fmt: skip


@pytest.mark.parametrize(("detector", "changes", "beside", "expected"), [row[1:] for row in SHOWN], ids=[row[0] for row in SHOWN])
def test_code_shows_what_it_does(
    detector: str, changes: dict[str, Any], beside: dict[str, Any], expected: dict[str, tuple[float, float, float]]
) -> None:
    """By all that loaded it: of code the harm that was seen, and of what showed none the whole run, in high."""
    path = LOADER.exposures[0].path
    siblings = [
        run(f"9{number}", start=T0 - 90 * HOUR, configuration="c1", pace=1000.0, state="COMPLETED", owner="u014") for number in "12"
    ]
    loaders = [run(f"8{number}", ran=0.1, configuration="c1", exposures=(exposed("u099", WRITTEN, T0 - HOUR),), owner="u015", **beside)
               for number in "123"]  # fmt: skip
    first = msgspec.structs.replace(LOADER, configuration="c1", **changes)
    loss = worked([altered(detector=detector, anchor=path)], [first, *loaders, *siblings])
    mine = msgspec.structs.replace(loss, lines=tuple(line for line in loss.lines if line.attempt == first.attempt))
    assert kinds(mine) == expected


@pytest.mark.parametrize(
    ("large", "broke_beside", "explained", "expected"),
    [
        (True, 1, (None, None), {}),
        (True, 6, (None, None), {"invalid": (0.0, 1024.0, 1024.0)}),
        (True, 6, (True, False), {}),
        (True, 1, (False, False), {"invalid": (0.0, 1024.0, 1024.0)}),
        (False, 1, (None, None), {}),
    ],
    ids=[
        "more than others", "as often as others", "as often, but theirs by errors of their own", "more, but by errors of their own",
        "more than others, of large ones alone",
    ],
)  # fmt: skip
def test_code_after_which_attempts_break_shows_that(
    *, large: bool, broke_beside: int, explained: tuple[bool | None, bool | None], expected: dict[str, Any]
) -> None:
    """An attempt that ended well lost nothing, where what else loaded the bytes breaks as others at its work do not; ends that a record
    explains count on neither side, where it is known which."""
    fine = [run(f"7{n}", ran=0.1, gpus=8, exposures=LOADER.exposures, state="COMPLETED") for n in range(0 if large else 4)]
    mine, theirs = (dict[str, Any](unexplained=each) for each in explained)
    loaders = [run(f"8{n}", ran=0.1, exposures=LOADER.exposures, owner="u015", **mine) for n in range(5)]
    others = [run(f"9{n}", start=T0 - n * HOUR, state="FAILED" if n < broke_beside else "COMPLETED", **theirs) for n in range(9)]
    first = msgspec.structs.replace(LOADER, state="COMPLETED")
    loss = worked([altered(detector=MODULE, anchor=LOADER.exposures[0].path)], [first, *fine, *loaders, *others])
    of_first = msgspec.structs.replace(loss, lines=tuple(line for line in loss.lines if line.attempt == first.attempt))
    assert kinds(of_first) == expected


@pytest.mark.parametrize(("detector", "middle"), [(MODULE, 0.0), (WEIGHTS, 1024.0)])
def test_modules_of_one_hand_show_together_what_each_does_not(detector: str, middle: float) -> None:
    """Five modules, each altered for one attempt that broke: the sixth is of the same hand.  A checkpoint is another thing."""
    loaders = [run(f"8{n}", ran=0.1, exposures=(exposed("u099", WRITTEN, T0 - HOUR, path=f"/env/{n}.py"),), owner="u015") for n in range(5)]
    others = [run(f"9{n}", start=T0 - n * HOUR, state="FAILED" if n < 1 else "COMPLETED") for n in range(9)]
    first = msgspec.structs.replace(LOADER, state="COMPLETED")
    loss = worked([altered(detector=detector, anchor=LOADER.exposures[0].path)], [first, *loaders, *others])
    assert loss.direct_gpu_hours.middle == middle


def test_work_that_breaks_anyhow_shows_nothing_of_what_it_loaded() -> None:
    """Nine of twelve loaders at a fragile task failed, as thirty of forty others at it; beside those of sturdy work it would look like
    much."""
    loaders = [
        run(f"8{n}", ran=0.1, exposures=LOADER.exposures, task="fragile", state="FAILED" if n % 4 else "COMPLETED") for n in range(12)
    ]
    fragile = [run(f"9{n}", start=T0 - n * HOUR, task="fragile", state="FAILED" if n % 4 else "COMPLETED") for n in range(40)]
    sturdy = [run(f"6{n}", start=T0 - n * HOUR, state="COMPLETED") for n in range(80)]
    first = msgspec.structs.replace(LOADER, state="COMPLETED")
    loss = worked([altered(detector=MODULE, anchor=LOADER.exposures[0].path)], [first, *loaders, *fragile, *sturdy])
    mine = msgspec.structs.replace(loss, lines=tuple(line for line in loss.lines if line.attempt == first.attempt))
    assert kinds(mine) == {"invalid": (0.0, 1024.0, 1024.0)}


def test_of_many_loaders_a_sample_from_first_to_last_shows_what_code_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exact test over thousands of them would take seconds; those of its beginning alone may be of before it did harm."""
    monkeypatch.setattr("pipeline.incidents.attempts.EXPOSED_MAX", 20)
    bytes_ = [exposed("u099", WRITTEN, T0 - HOUR, path=f"/env/{n}.py") for n in range(80)]
    loaders = [
        run(f"8{n}", start=T0 + n * HOUR, ran=0.1, exposures=(bytes_[n],), state="COMPLETED" if n < 40 else "FAILED") for n in range(80)
    ]
    others = [run(f"9{n}", start=T0 + n * HOUR, state="COMPLETED") for n in range(30)]
    assert Attempts({each.attempt.name: each for each in [*loaders, *others]}).break_by("u099")


def test_divergence_proves_what_was_loaded() -> None:
    """Low counts the attempts that the finding cites; another that loaded the same bytes stands in the middle, other bytes in high."""
    own, alike, unlike = (
        run(str(30 + number), ran=2, gpus=8, nodes=NODES[number : number + 1], configuration="c1", exposures=(bytes_,))
        for number, bytes_ in enumerate([exposed("u099", WRITTEN, T0 - HOUR), exposed("u099", WRITTEN, T0 - HOUR, sha256="b"),
                                         exposed("u099", WRITTEN, T0 - HOUR, sha256="c")])
    )  # fmt: skip
    alike = msgspec.structs.replace(alike, exposures=(exposed("u099", WRITTEN + 1, T0 - HOUR),))
    unlike = msgspec.structs.replace(unlike, exposures=(exposed("u099", WRITTEN + 2, T0 - HOUR, sha256="c"),))
    said = of_cohort("p10_convergence_sabotage", COMPARED, own)
    loss = worked([said], [own, alike, unlike])
    assert kinds(loss) == {"invalid": (16.0, 32.0, 48.0)}
    assert worked([said], [msgspec.structs.replace(own, project="speech")]).lines == ()  # of another account


def test_bytes_that_spoil_one_configuration_may_spoil_another() -> None:
    """Of which too few ran to compare: high alone counts who loaded the same bytes, and nobody else; nor does it below the gate."""
    own, elsewhere, otherwise = (
        run(str(30 + number), ran=2, gpus=8, nodes=NODES[number : number + 1], configuration=f"c{number}", exposures=(bytes_,))
        for number, bytes_ in enumerate([exposed("u099", WRITTEN, T0 - HOUR), exposed("u099", WRITTEN + 1, T0 - HOUR),
                                         exposed("u099", WRITTEN + 2, T0 - HOUR, sha256="c")])
    )  # fmt: skip
    said = of_cohort("p10_convergence_sabotage", COMPARED, own)
    loss = worked([said], [own, elsewhere, otherwise])
    assert kinds(loss) == {"invalid": (16.0, 16.0, 32.0)}
    assert [line.note for line in loss.lines if line.attempt and line.attempt.job == "31"] == [claim.COMPARED_ELSEWHERE]
    assert kinds(worked([msgspec.structs.replace(said, alert=False)], [own, elsewhere])) == {"invalid": (0.0, 0.0, 16.0)}


def test_slow_down_is_against_clean_siblings_of_its_size() -> None:
    """A step of 1,250 ms where siblings take 1,000: a fifth of the time; another size is no measure."""
    siblings = [run(str(40 + number), configuration="c1", pace=1000.0) for number in range(3)]
    slow = msgspec.structs.replace(LOADER, configuration="c1", pace=1250.0)
    said = of_cohort("p09_injected_delay", COMPARED, slow)
    assert kinds(worked([said], [slow, *siblings])) == {"slowdown": (204.8, 204.8, 204.8)}
    assert worked([said], [slow, *(msgspec.structs.replace(each, gpus=8) for each in siblings)]).lines == ()


def test_a_slow_campaign_claims_the_ends_of_those_that_it_cites() -> None:
    """In the middle, as another that loaded the bytes and ended without explanation; which of them by these low does not say."""
    bad = run("50", ran=2, verdict="unexplained", saved=Mark(T0, "s"), exposures=(exposed("u099", WRITTEN, T0 - HOUR),))
    fine = run("51", ran=2, verdict="benign", saved=Mark(T0, "s"), exposures=(exposed("u099", WRITTEN, T0 - HOUR),))
    small = msgspec.structs.replace(bad, attempt=Attempt(CLUSTER, "52", 0, T0 - HOUR), gpus=8, nodes=NODES[:1])
    assert kinds(worked([of_cohort("p15_slow_campaign", "size/256", bad)], [bad, fine])) == {"lost_progress": (0.0, 256.0, 256.0)}
    small = msgspec.structs.replace(small, exposures=(exposed("u099", WRITTEN, T0 - HOUR + 1),))
    assert {line.attempt.job for line in worked([of_cohort("p15_slow_campaign", "size/256", bad)], [bad, small]).lines if line.attempt} == {
        "50"
    }


# --- bodies -----------------------------------------------------------------------------------------------------------------------


def test_stated_hours_belong_to_one_incident() -> None:
    """Under its id, or one that was merged into it; the ledger is their own."""
    staff = Staff(what="search", hours=(10.0, 20.0, 30.0), per_hour=(100.0, 100.0, 100.0), evidence=("ticket-1",))
    pricing = Pricing(Prices([RENT]), 8, ((incident_id(CLUSTER, "f"), staff),))
    assert worked([], [], pricing, ["other"]).indirect_money == Range(0.0, 0.0, 0.0)
    loss = worked([], [], pricing, ["other", incident_id(CLUSTER, "f")])
    assert (loss.indirect_money, loss.direct_money) == (Range(1000.0, 2000.0, 3000.0), Range(0.0, 0.0, 0.0))
    assert [(line.ledger, line.kind, line.evidence) for line in loss.lines] == [("indirect", "staff", ("ticket-1",))]


def test_lines_add_up_however_many_there_are() -> None:
    """What is not listed stands in one line."""
    runs = [run(str(number), start=T0 + number * 2 * HOUR, gpus=8, nodes=NODES[:1], task="") for number in range(60)]
    runs = [msgspec.structs.replace(each, saved=Mark(each.attempt.start, "s")) for each in runs]
    loss = worked([about(kill(0, each.attempt.job, "u099"), each) for each in runs], runs)
    listed = listed_loss(loss, 40)
    assert (len(loss.lines), len(listed.lines)) == (60, 40)
    assert (listed.lines[-1].kind, listed.lines[-1].note, listed.lines[-1].inputs) == ("others", "21 further lines", ())
    for each in (loss, listed):
        assert sum(line.gpu_hours.middle for line in each.lines) == pytest.approx(loss.direct_gpu_hours.middle) == 8.0 * 60
    assert listed_loss(loss, 60) == loss


# --- what holds for all incidents -------------------------------------------------------------------------------------------------


def _pool() -> list[Examined]:
    """Attempts of one owner that overlap on few nodes, some of which loaded bytes of two writers."""
    found = []
    for number in range(10):
        start = T0 + number * HOUR // 2
        bytes_ = [exposed(f"u09{number % 2 + 8}", WRITTEN + number % 3, start + MINUTE)] if number % 4 else []
        found.append(
            run(str(number), start=start, ran=1 + number % 3, gpus=16, nodes=NODES[number % 3 : number % 3 + 2], configuration="c1",
                exposures=tuple(bytes_), pace=1000.0 + 100 * number, saved=Mark(start + 20 * MINUTE, "s") if number % 2 else None,
                last_step=Mark(start + 30 * MINUTE, "t") if number % 5 else None, steps_apart=MINUTE, loads_told=bool(number % 4),
                state=("FAILED", "CANCELLED", "PREEMPTED")[number % 3], resumed=("5", Mark(start, "r")) if number == 7 else None,
                verdict="unexplained" if number % 2 else "interference", cause="killed_from_inside" if number == 2 else "")
        )  # fmt: skip
    return found


POOL = _pool()
MADE = ("p01_foreign_kill", "p08_checkpoint_removed", "p04_environment_tamper", "p06_checkpoint_tamper", "p09_injected_delay",
        "p10_convergence_sabotage", "p15_slow_campaign", "p05_startup_hook", "p07_unsafe_pickle", "p11_dataset_tamper",
        "p13_queue_flooding", "p14_node_degraded", "p17_borrowed_account", "p18_telemetry_tamper")  # fmt: skip
SUBJECTS = {
    "p13_queue_flooding": Subject("cohort", CLUSTER, "queue/batch"), "p14_node_degraded": Subject("host", CLUSTER, NODES[1]),
    "p17_borrowed_account": Subject("identity", CLUSTER, "u012"), "p18_telemetry_tamper": Subject("host", CLUSTER, NODES[2]),
}  # fmt: skip


@st.composite
def any_finding(draw: st.DrawFn) -> Finding:
    """About any of the attempts, above its gate or below."""
    detector, of, named = draw(st.sampled_from(MADE)), draw(st.sampled_from(POOL)), draw(st.booleans())
    suspect = draw(st.sampled_from(["u098", "u099"]))
    if detector in ("p09_injected_delay", "p10_convergence_sabotage", "p15_slow_campaign"):
        name = "size/16" if detector.startswith("p15") else COMPARED
        return of_cohort(detector, name, of, suspect=suspect, alert=named)
    if detector in SUBJECTS:
        said = finding(detector, of.attempt.start, "0", "u012" if detector.startswith("p13") else suspect, alert=named)
        at = {"cause_time": of.attempt.start, "effect_time": of.attempt.start, "evidence": (record("cause", of.attempt.job, of.end or 0),)}
        return msgspec.structs.replace(said, attempt=None, subject=SUBJECTS[detector], **at)
    if detector == "p01_foreign_kill":
        return about(kill(0, of.attempt.job, suspect, named=named), of)
    if detector == "p08_checkpoint_removed":
        saved = record("saved", of.attempt.job, draw(st.sampled_from(POOL)).attempt.start + 25 * MINUTE)
        return msgspec.structs.replace(about(kill(0, of.attempt.job, suspect, named=named, evidence=(saved,)), of), detector=detector)
    cited = tuple(item for exposure in of.exposures for item in (exposure.write, exposure.load))
    said = about(tamper(0, of.attempt.job, suspect, named=named, evidence=cited, cause_time=WRITTEN), of)
    return msgspec.structs.replace(said, detector=detector)


FINDINGS = st.lists(any_finding(), max_size=6)


def amounts(loss: Loss) -> list[float]:
    return [getattr(each, reading) for each in (loss.direct_gpu_hours, loss.direct_money) for reading in READINGS]


@settings(max_examples=100, deadline=None)
@given(FINDINGS, FINDINGS)
def test_merged_incidents_never_cost_more_than_apart(one: list[Finding], other: list[Finding]) -> None:
    """And never less than either; readings ascend."""
    merged, first, second = (amounts(worked(each, POOL)) for each in ([*one, *other], one, other))
    for together, a, b in zip(merged, first, second, strict=True):
        assert together <= a + b + 1e-3
        assert together >= max(a, b) - 1e-3
    assert merged[0] <= merged[1] + 1e-6
    assert merged[1] <= merged[2] + 1e-6


@settings(max_examples=50, deadline=None)
@given(FINDINGS, st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(some: list[Finding], dice: Random) -> None:
    """The same findings and attempts, the same lines."""
    shuffled, attempts = [*some, *some], list(POOL)
    dice.shuffle(shuffled)
    dice.shuffle(attempts)
    assert worked(shuffled, attempts) == worked(some, POOL)


# --- from raw lines ---------------------------------------------------------------------------------------------------------------


def told() -> list[Record]:
    """A job on 32 nodes saves at 100 s, as its shipper tells; it is killed at 1902 s, and its work goes on at 2502 s."""
    site, nodes = Site(), "gpu-[001-032]"
    lines: list[Line] = [*site.start(0, nodes=nodes), *site.rank(1), *site.kill(1902, by=build.COLLEAGUE)]
    lines.append(site._training(100, build.JOB, " successfully saved checkpoint from iteration 100 to /ckpt/u012"))
    lines += [*site.rank_failed(1902), *site.closing(1902), *site.end(1902, state="FAILED", nodes=nodes, signal=9)]
    lines += [*site.start(2502, "8", nodes=nodes, submit=2000), *site.end(4000, "8", start=2502, nodes=nodes, submit=2000)]
    for at in range(-4_200, 11_200, 300):
        lines += site.hum(at, ("slurmctld",), ())
        lines += site.hum(at, ("auditd", "kernel", "sshd"), NODES)
    large = [line._replace(text=line.text.replace("gres/gpu=8", "gres/gpu=256")) for line in lines]
    return list(ship(large))


def test_from_raw_lines_to_a_worked_figure() -> None:
    """256 GPUs x (30 + 10) minutes are 170.7 GPU-hours, at 20 yuan 3,413; low leaves the wait out."""
    prices = [{"from": "2026-01-01", "currency": "CNY", "gpu_hour": [12, 20, 50]}]
    runtime = LocalRuntime(build.settings(loss={"prices": prices}), 1, keep_rows=True)
    records = told()
    for at in range(0, len(records), 400):
        runtime.feed(records[at : at + 400])
        runtime.checkpoint()
    results = runtime.finish()
    (body,) = [orjson.loads(each) for each in results.canonical_incidents().values()]
    assert [(member["detector"], member["alert"]) for member in body["members"]] == [("p01_foreign_kill", True)]
    loss = body["loss"]
    assert {line["kind"]: line["gpu_hours"] for line in loss["lines"]} == {
        "lost_progress": [128.0, 128.0, 128.0],
        "restart": [0.0, 42.666667, 42.666667],
    }
    assert loss["direct_gpu_hours"] == [128.0, 170.666667, 170.666667]
    assert loss["direct_money"] == [1536.0, 3413.333333, 8533.333333]
    known = {json["event_id"] for json in body["timeline"]}
    assert all(line["evidence"] and known & set(line["evidence"]) for line in loss["lines"])
    assert Source.JOBCOMP.value in {json["source"] for json in body["timeline"]}
