"""Attacks by whoever may write to one input topic: what he sends names nobody, and takes nothing from what known senders tell.

    logs.scheduler, logs.training, logs.access     the site says that only authenticated senders may write there
    logs.open                                      anybody may: an input of the access family, for hosts that have no certificate yet
    logs.open_scheduler                            anybody may, too: an input of the scheduler family

Job 7 of u012 is killed at 97.  Honestly told it was u099, by the kernel's audit and by the scheduler's end.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import orjson
import pytest
from pydantic import ValidationError

from pipeline.errors import ErrorCode
from pipeline.ingest.facts import facts_of
from pipeline.model.events import ObjectEvent
from pipeline.model.finding import UNPROVEN
from pipeline.model.outcome import EventRow, Record
from pipeline.model.source import Source
from pipeline.runtime.local import LocalRuntime, Results
from pipeline.settings import IngestSettings, KafkaSettings
from tests import build
from tests.build import JOB, PID
from tests.scenario.lines import Line, Site, ship

OPEN = "logs.open"
CLOSED = ("logs.training", "logs.scheduler", "logs.access")
OPEN_SCHEDULER = "logs.open_scheduler"
KAFKA = KafkaSettings(access_topics=("logs.access", OPEN), scheduler_topics=("logs.scheduler", OPEN_SCHEDULER))
SITE = Site()
HUM = [line for at in range(-4_200, 7_500, 300) for line in SITE.hum(at, ("slurmctld", "auditd", "kernel"))]
STORY = [*SITE.start(0), *SITE.rank(1), *SITE.rank_failed(98), *SITE.end(100, state="FAILED", signal=9)]
KILL = SITE.kill(97)


def sent(lines: Iterable[Line], topic: str = "") -> list[Record]:
    """As known shippers send it, or somebody else to another topic."""
    return [msgspec.structs.replace(record, topic=topic or record.topic) for record in ship(lines)]


def run(*records: Record, authenticated: tuple[str, ...] = CLOSED, **settings: Any) -> Results:
    """In the order in which they were collected."""
    given = {"kafka": KAFKA, "ingest": IngestSettings(authenticated_topics=authenticated), **settings}
    runtime = LocalRuntime(build.settings(**given), keep_rows=True)
    told = sorted(records, key=lambda record: record.timestamp)
    for at in range(0, len(told), 20):
        runtime.feed(told[at : at + 20])
        runtime.checkpoint()
    return runtime.finish()


def found_by(results: Results, detector: str) -> list[dict[str, object]]:
    """What a detector says of job 7."""
    found = [orjson.loads(body) for body in results.canonical_findings().values()]
    return [body for body in found if body["detector"] == detector and body["attempt"][1] == JOB]


def kills(results: Results) -> list[dict[str, object]]:
    """What is said of the kill."""
    return found_by(results, "p01_foreign_kill")


def verdicts(results: Results) -> list[tuple[str, str]]:
    """What is said of how job 7 ended."""
    said = [orjson.loads(body) for body in results.canonical_verdicts().values()]
    return [(body["verdict"], body["cause"]) for body in said if body["attempt"][1] == JOB]


def test_known_senders_name_whoever_did_it() -> None:
    """What the attacks below try to imitate, and to spoil."""
    (finding,) = kills(run(*sent([*HUM, *STORY, *KILL])))
    assert (finding["actor"], finding["alert"]) == ("u099", True)


def test_a_forged_kill_names_nobody() -> None:
    """The job failed by itself, and somebody sends audit records that blame u099: a hit that says who told it, and no name.

    At a site that says nothing of senders they all count alike, and he would be named: that is why the setting is there.
    """
    records = [*sent([*HUM, *STORY]), *sent(KILL, OPEN)]
    (finding,) = kills(run(*records))
    assert finding["actor"] == ""
    assert "that nobody authenticated" in str(finding["actor_withheld"])
    causes = [item for item in finding["evidence"] if item["role"] == "cause"]  # type: ignore[attr-defined]
    assert causes
    assert all(item["summary"].endswith(UNPROVEN) for item in causes)
    assert [each["actor"] for each in kills(run(*records, authenticated=()))] == ["u099"]


def test_no_incident_names_him_either() -> None:
    """The same gate stands before the name in an incident."""
    results = run(*sent([*HUM, *STORY]), *sent(KILL, OPEN))
    incidents = [orjson.loads(body) for body in results.canonical_incidents().values()]
    assert incidents
    assert {body["attribution"]["named"] for body in incidents} == {""}


def test_copies_of_true_records_take_nothing_from_them() -> None:
    """Sent again to where anybody may write, as they were or with another serial: the finding and its name stay."""
    for forged in (KILL, SITE.kill(97)):
        assert [finding["actor"] for finding in kills(run(*sent([*HUM, *STORY, *KILL]), *sent(forged, OPEN)))] == ["u099"]


def test_a_contradiction_hides_no_kill_and_blames_nobody_else() -> None:
    """Records that blame a third one: what was done still stands there; who did it is for a person to say."""
    blamed = [line._replace(text=line.text.replace("uid=5099", "uid=5098")) for line in KILL]
    for forged in (blamed, SITE.kill(97, by=build.OTHER, target=PID)):
        found = kills(run(*sent([*HUM, *STORY, *KILL]), *sent(forged, OPEN)))
        assert found
        assert {finding["actor"] for finding in found} <= {"u099", ""}


CLEARING: dict[str, tuple[list[Line], str, bool]] = {
    "the kernel ended it for want of memory": (SITE.oom(96), OPEN, False),
    "a GPU fell off the bus": (SITE.xid(96), OPEN, True),
    "the owner killed it": (SITE.kill(96, by=build.OWNER), OPEN, True),
    "it was preempted": (SITE.preempt(96), OPEN_SCHEDULER, False),
    "it ran into its limit": (SITE.time_limit(96), OPEN_SCHEDULER, False),
    "somebody had cancelled it": (SITE.cancel(96, by=build.OWNER, command=False), OPEN_SCHEDULER, True),
    "it ended well": (SITE.end(100), OPEN_SCHEDULER, True),
    "it was preempted, says accounting": (SITE.end(100, state="PREEMPTED"), OPEN_SCHEDULER, True),
    "it is the culprit's": (SITE.end(100, state="FAILED", owner=build.COLLEAGUE), OPEN_SCHEDULER, True),
    "it is somebody's with a lower uid": (SITE.end(100, state="FAILED", owner=build.OWNER - 11), OPEN_SCHEDULER, True),
    "it began anew before": (SITE.start(50, owner=build.COLLEAGUE, submit=40), OPEN_SCHEDULER, True),
}


@pytest.mark.parametrize(("forged", "topic", "alert"), CLEARING.values(), ids=CLEARING)
def test_what_anybody_may_send_clears_nobody(forged: list[Line], topic: str, alert: bool) -> None:
    """It may be a doubt, by which the hit falls below the gate; a known sender's word is an acquittal."""
    (finding,) = kills(run(*sent([*HUM, *STORY, *KILL]), *sent(forged, topic)))
    assert (finding["alert"], finding["actor"]) == (alert, "u099" if alert else "")


def test_a_forged_place_clears_nobody() -> None:
    """Another job of the owner's claims the process, and ran there as a forger says; nor had the job a node that broke elsewhere."""
    told, started = sent([*HUM, *STORY, *KILL]), SITE.start(2, job="8", owner=build.OWNER)
    broke = [line._replace(host="gpu-002", text=line.text.replace(build.HOST, "gpu-002")) for line in SITE.xid(96)]
    for forged, true in ((started, SITE.rank(5, job="8")), (SITE.start(0, nodes="gpu-[001-002]"), broke)):
        (finding,) = kills(run(*told, *sent(true), *sent(forged, OPEN_SCHEDULER)))
        assert (finding["alert"], finding["actor"]) == (True, "u099")


def test_a_known_senders_word_clears() -> None:
    """The same lines, from where only known senders may write."""
    assert kills(run(*sent([*HUM, *STORY, *KILL, *SITE.oom(96)]))) == []
    assert kills(run(*sent([*HUM, *STORY, *KILL, *SITE.preempt(96)]))) == []


def test_a_doubt_does_not_hide_what_clears() -> None:
    """A forged line of the same kind before a true one leaves the true one what it is."""
    assert kills(run(*sent([*HUM, *STORY, *KILL, *SITE.oom(96)]), *sent(SITE.oom(95), OPEN))) == []


def test_the_owners_forged_cancel_hides_no_other() -> None:
    """Whoever cancels somebody else's job cannot have its owner ask first."""
    story = [*SITE.start(0), *SITE.cancel(98), *SITE.end(100, state="CANCELLED")]
    forged = [*SITE.cancel(90, by=build.OWNER, command=False), *SITE.sacct(200, state=f"CANCELLED by {build.OWNER}")]
    for lines in (story, [*SITE.refuse(40), *story]):
        results = run(*sent([*HUM, *lines]), *sent(forged, OPEN_SCHEDULER))
        assert "cancelled" in {finding["effect"] for finding in found_by(results, "p03_foreign_cancel")}
        assert verdicts(results) == [("interference", "cancelled")]


def test_an_end_that_only_a_forger_explains_is_unexplained() -> None:
    """What he says is told with it."""
    story = [*HUM, *STORY]
    assert verdicts(run(*sent([*story, *SITE.oom(96)]))) == [("benign", "out_of_memory")]
    results = run(*sent(story), *sent(SITE.oom(96), OPEN))
    assert verdicts(results) == [("unexplained", "no_record")]
    (body,) = [orjson.loads(each) for each in results.canonical_verdicts().values()]
    assert [item["name"] for item in body["checklist"] if UNPROVEN in item["note"]] == ["out_of_memory"]


def test_a_job_of_which_only_forgers_tell_accuses_nobody() -> None:
    """Whose it is only they say: so nobody is named for what befell it, and nothing acquits."""
    scheduled = [*SITE.start(0), *SITE.end(100, state="FAILED", signal=9)]
    rest = [*HUM, *SITE.rank(1), *SITE.rank_failed(98), *KILL]
    (finding,) = kills(run(*sent(rest), *sent(scheduled, OPEN_SCHEDULER)))
    assert finding["actor"] == ""
    for state in ("TIMEOUT", "PREEMPTED"):
        (doubted,) = kills(run(*sent(rest), *sent([*SITE.start(0), *SITE.end(100, state=state)], OPEN_SCHEDULER)))
        assert (doubted["actor"], doubted["alert"]) == ("", False)


def test_a_forger_stands_in_for_no_silent_source() -> None:
    """The controller is cut off, and somebody hums in its place: what it would have told stays unchecked, as without him."""
    cut_off = [line for at in range(-4_200, 7_500, 300) for line in SITE.hum(at, ("auditd", "kernel"))]
    hum = [line for at in range(-4_200, 7_500, 300) for line in SITE.hum(at, ("slurmctld",))]
    alone = sent([*cut_off, *STORY, *KILL])
    assert kills(run(*alone, *sent(hum))) != kills(run(*alone))  # it would matter
    assert kills(run(*alone, *sent(hum, OPEN_SCHEDULER))) == kills(run(*alone))


def test_half_a_line_of_a_forgers_blinds_no_source() -> None:
    """A line of the controller's that nobody can read may be the one that would have cleared him; of his own it is none."""
    told = sent([*HUM, *STORY, *KILL])
    broken = [
        line._replace(text="[2026-02-31T00:01:37.000] _slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7")
        for line in SITE.hum(97, ("slurmctld",))
    ]
    assert kills(run(*told, *sent(broken))) != kills(run(*told))  # it would matter
    assert kills(run(*told, *sent(broken, OPEN_SCHEDULER))) == kills(run(*told))


TAMPERED = {
    "p04_environment_tamper": ([*SITE.imported(10, "a", job="6"), *SITE.write(40, path="/env/torch/nn.py"), *SITE.imported(90)],
                               SITE.imported(50, "c", job="66")),
    "p06_checkpoint_tamper": ([*SITE.save(10, job="6"), *SITE.write(40), *SITE.load(90)],
                              [line for at in range(50, 60) for line in SITE.save(at, "b", job=f"{at}")]),
    "p11_dataset_tamper": ([*SITE.load(10, "a", job="6", path="/data/x"), *SITE.write(40, path="/data/x"), *SITE.load(90, path="/data/x")],
                           [*SITE.load(50, "c", job="66", path="/data/x"), *SITE.save(55, "b", job="67", path="/data/x")]),
}  # fmt: skip


@pytest.mark.parametrize("detector", TAMPERED)
@pytest.mark.parametrize("topic", ["", "logs.open_training"])
def test_what_jobs_are_said_to_have_loaded_or_saved_hides_no_tamper(detector: str, topic: str) -> None:
    """Printed in jobs of one's own, or sent to where anybody may write: a doubt, and nobody is named; the hit stays."""
    roots = ({"path": "/env", "owner": "u070"}, {"path": "/ckpt"}, {"path": "/data", "kind": "dataset", "owner": "u070"})
    kafka = KafkaSettings(training_topics=("logs.training", "logs.open_training"))
    story, forged = TAMPERED[detector]
    told = sent([*HUM, *SITE.start(0), *story, *SITE.end(100)])
    for records, alert in ((told, True), ([*told, *sent(forged, topic)], False)):
        found = found_by(run(*records, kafka=kafka, artefact_roots=roots), detector)
        assert {(finding["alert"], finding["actor"]) for finding in found} == {(alert, "u099" if alert else "")}


def test_a_forgers_word_takes_no_place_of_a_true_one() -> None:
    """Of what is told once in an hour or a day, each kind of sender has its own."""
    said = ObjectEvent(kind="Pod", namespace="ml", name="train-7", reason="OOMKilled")
    event = build.event(97, Source.KUBERNETES_EVENTS, said)
    told, forged = facts_of(event, ()), facts_of(msgspec.structs.replace(event, unproven=True), ())
    assert {tell.fact.case for tell in told} == {tell.fact.case for tell in forged} != set()
    assert {tell.fact.id for tell in told}.isdisjoint(tell.fact.id for tell in forged)


def test_rows_say_who_sent_them() -> None:
    """An investigator sees it in the attributes of the event, and others have no such word."""
    results = run(*sent([*HUM, *STORY]), *sent(KILL, OPEN))
    rows = [row for row in results.rows if isinstance(row, EventRow)]
    assert {row.attrs.get("sender", "") for row in rows if row.topic == OPEN} == {"not authenticated"}
    assert {row.attrs.get("sender", "") for row in rows if row.topic != OPEN} == {""}


def test_a_topic_carries_its_own_family_alone() -> None:
    """Whoever may write access logs cannot speak for the scheduler: such a record is a dead letter."""
    results = run(*sent([*HUM, *STORY]), *sent(SITE.cancel(97, command=False), OPEN))
    assert [code for _, _, code in results.listed] == [ErrorCode.UNKNOWN_FORMAT]
    assert not [each for each in results.canonical_findings().values() if b"p03" in each]


def test_a_topic_that_is_no_input_is_refused() -> None:
    """A typo would make everything unproven, and name nobody for ever."""
    with pytest.raises(ValidationError, match="names logs"):
        build.settings(ingest=IngestSettings(authenticated_topics=("logs.acess",)))
