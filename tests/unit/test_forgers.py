"""Attacks by whoever may write to one input topic: what he sends names nobody, and takes nothing from what known senders tell.

    logs.scheduler, logs.training, logs.access     the site says that only authenticated senders may write there
    logs.open                                      anybody may: an input of the access family, for hosts that have no certificate yet

Job 7 of u012 is killed at 97.  Honestly told it was u099, by the kernel's audit and by the scheduler's end.
"""

from collections.abc import Iterable

import msgspec
import orjson
import pytest
from pydantic import ValidationError

from pipeline.errors import ErrorCode
from pipeline.model.finding import UNPROVEN
from pipeline.model.outcome import EventRow, Record
from pipeline.runtime.local import LocalRuntime, Results
from pipeline.settings import IngestSettings, KafkaSettings
from tests import build
from tests.build import JOB, PID
from tests.scenario.lines import Line, Site, ship

OPEN = "logs.open"
CLOSED = ("logs.training", "logs.scheduler", "logs.access")
KAFKA = KafkaSettings(access_topics=("logs.access", OPEN))
SITE = Site()
HUM = [line for at in range(-4_200, 7_500, 300) for line in SITE.hum(at, ("slurmctld", "auditd", "kernel"))]
STORY = [*SITE.start(0), *SITE.rank(1), *SITE.rank_failed(98), *SITE.end(100, state="FAILED", signal=9)]
KILL = SITE.kill(97)


def sent(lines: Iterable[Line], topic: str = "") -> list[Record]:
    """As known shippers send it, or somebody else to another topic."""
    return [msgspec.structs.replace(record, topic=topic or record.topic) for record in ship(lines)]


def run(*records: Record, authenticated: tuple[str, ...] = CLOSED) -> Results:
    """In the order in which they were collected."""
    runtime = LocalRuntime(build.settings(kafka=KAFKA, ingest=IngestSettings(authenticated_topics=authenticated)), keep_rows=True)
    told = sorted(records, key=lambda record: record.timestamp)
    for at in range(0, len(told), 20):
        runtime.feed(told[at : at + 20])
        runtime.checkpoint()
    return runtime.finish()


def kills(results: Results) -> list[dict[str, object]]:
    """What is said of the kill."""
    found = [orjson.loads(body) for body in results.canonical_findings().values()]
    return [body for body in found if body["detector"] == "p01_foreign_kill" and body["attempt"][1] == JOB]


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
