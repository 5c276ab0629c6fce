"""One-line builders of rows, values and records for the tests of the sink."""

from typing import Any

import msgspec

from pipeline.detect import ocsf
from pipeline.model.finding import (
    Checked,
    Confidence,
    Enriched,
    Evidence,
    Explanation,
    Finding,
    Severity,
    Status,
    Transport,
    Verdict,
    subject_of,
)
from pipeline.model.outcome import EventRow, RangeRow, Record, Row
from pipeline.model.source import Source
from pipeline.model.told import Attempt
from pipeline.settings import Settings
from pipeline.sink.step import build_state, step
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING

T0 = 1_767_225_600_000  # 2026-01-01T00:00:00Z
ATTEMPT = Attempt("main", "48213", T0, T0 + 60_000)


def event(offset: int = 0, index: int = 0, **changes: Any) -> EventRow:
    """A row of `events`; one second later per offset."""
    row = EventRow(
        event_time=T0 + offset * 1000,
        collected_time=T0 + offset * 1000 + 5,
        kafka_time=T0 + offset * 1000 + 9,
        cluster="main",
        source="auditd",
        kind="audit_record",
        host="gpu-012",
        job="",
        actor="u017",
        event_id=f"event-{offset}-{index}",
        sha256="00" * 32,
        attrs={"pid": "7", "comm": "python"},
        raw=f"type=SYSCALL serial={offset}",
        late=False,
        future=False,
        topic="logs.access",
        partition=0,
        offset=offset,
        index=index,
    )
    return msgspec.structs.replace(row, **changes)


def events(lo: int, hi: int, **changes: Any) -> list[EventRow]:
    """One row per offset of [lo, hi)."""
    return [event(offset, **changes) for offset in range(lo, hi)]


def range_row(lo: int, hi: int, *, listed: tuple[tuple[int, str], ...] = (), **changes: Any) -> RangeRow:
    """A range in which every offset that is not listed was written."""
    written = hi - lo - len(listed)
    row = RangeRow(
        topic="logs.access",
        partition=0,
        incarnation="i1",
        lo=lo,
        hi=hi,
        rows=written,
        offsets_written=written,
        listed=listed,
        settings_digest="s1",
        token=f"token-{lo}-{hi}",
    )
    return msgspec.structs.replace(row, **changes)


def evidence(role: str, number: int = 0) -> Evidence:
    """A cited record."""
    return Evidence(role, f"event-{role}-{number}", f"{number:064x}", "slurmctld", T0 + 90_000, f"{role} {number}")


CHECKLIST = (
    Explanation("owner_service_identity", Checked.EXCLUDED, by="event-owner"),
    Explanation("admin_ticket", Checked.NOT_CHECKED, note="no tickets", missing=("tickets",)),
)


def finding(**changes: Any) -> Finding:
    """A foreign cancel of job 48213."""
    value = Finding(
        detector="p03_foreign_cancel",
        detector_version=1,
        title="Job cancelled by a non-owner",
        severity=Severity.HIGH,
        subject=subject_of(ATTEMPT),
        attempt=ATTEMPT,
        effect="cancelled",
        anchor="",
        owner="u017",
        actor="u042",
        actor_withheld="",
        effect_time=T0 + 91_000,
        cause_time=T0 + 90_000,
        closes_at=T0 + 300_000,
        summary="u042 cancelled job 48213 of u017",
        evidence=(evidence("cause"), evidence("effect", 1)),
        checklist=CHECKLIST,
        confidence=Confidence(0.72, (("sources", 0.9), ("window", 0.8))),
        attack=("T1489", "T1565.001"),
        alert=True,
        gate="",
        sources=(Source.SLURMCTLD, Source.JOBCOMP),
    )
    return msgspec.structs.replace(value, **changes)


def verdict(**changes: Any) -> Verdict:
    """Job 48213 ended by its owner."""
    value = Verdict(
        attempt=ATTEMPT,
        owner="u017",
        owner_uid=1017,
        state="CANCELLED",
        end=T0 + 91_000,
        verdict="benign",
        cause="owner_cancel",
        by=evidence("acquits"),
        findings=(),
        checklist=CHECKLIST,
        nodes=("gpu-012", "gpu-013"),
        gpus=16,
        closes_at=T0 + 300_000,
        status=Status.FINAL,
    )
    return msgspec.structs.replace(value, **changes)


def enriched(**changes: Any) -> Enriched:
    """A signal to a rank of job 48213."""
    value = Enriched(
        event_id="event-cause-0",
        attempt=ATTEMPT,
        owner="u017",
        event_time=T0 + 90_000,
        source="auditd",
        kind="signal_sent",
        host="gpu-012",
        actor="u042",
        relation="foreign",
        matched="pid",
        sha256="00" * 32,
        attrs={"signal": "9"},
    )
    return msgspec.structs.replace(value, **changes)


def transport(revision: int = 1, **changes: Any) -> Transport:
    """How a value came about."""
    value = Transport(
        revision=revision,
        detector_version=1,
        watermarks={"auditd": T0 + 300_000},
        silent=("sacct",),
        settings="s1",
        software="0.1.0",
    )
    return msgspec.structs.replace(value, **changes)


def value_of(body: Finding | Verdict | Enriched, revision: int = 1) -> bytes:
    """The value as the jobs stage publishes it."""
    if isinstance(body, Finding):
        return ocsf.detection_finding(body, transport(revision), body.closes_at)
    if isinstance(body, Verdict):
        return ocsf.verdict_value(body, transport(revision))
    return ocsf.enriched_value(body, transport(revision))


CONTENT = {Finding: "findings", Verdict: "verdicts", Enriched: "enriched"}


def record(body: Finding | Verdict | Enriched, offset: int = 0, *, epoch: int | None = 1, revision: int = 1, partition: int = 0) -> Record:
    """The record of a public topic."""
    return Record(
        topic=f"trainwatch.{CONTENT[type(body)]}.v1",
        partition=partition,
        offset=offset,
        timestamp=T0,
        value=value_of(body, revision),
        headers=(("ce_id", b"x"),) if epoch is None else (("ce_id", b"x"), ("tw-epoch", str(epoch).encode())),
    )


def rows_of(*records: Record) -> list[msgspec.Struct]:
    """Rows that the sink stage makes of records."""
    outcomes = step(build_state(Settings(), Cases()), records, NOTHING)[1]
    return [outcome for outcome in outcomes if isinstance(outcome, Row)]
