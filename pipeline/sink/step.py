"""Stage: records of the public topics in, rows of ClickHouse out.

    enriched   -> one row of enriched_events
    verdicts   -> one row of verdicts
    findings   -> one row of findings, then one of finding_evidence per record it cites
    incidents  -> one row of incidents, then one of incident_findings per finding, one of attribution per hypothesis,
                  one of loss_lines per line

The topic is the truth and the tables are a copy of it: what consumers read on Kafka and what people read in SQL cannot disagree.  A
finding may be published again, at another offset or by another owner of the partition, with another body; so each row carries a
version, (claim epoch of the producing partition, offset), which grows with every later word on an id:

    epoch 3, offset 17   <   epoch 3, offset 18   <   epoch 4, offset 2

Holds: rows depend on the record alone; `state` remembers nothing; an id that does not follow from its body is refused, because it
would replace somebody else's row.
"""

from collections.abc import Callable, Sequence
from typing import TypedDict, TypeVar

import msgspec

from pipeline.errors import ErrorCode
from pipeline.model.finding import Enriched, Explanation, Finding, Transport, Verdict, subject_of
from pipeline.model.incident import Incident
from pipeline.model.outcome import Outcome, Record, Rejected
from pipeline.settings import Settings
from pipeline.sink.rows import (
    Checklist,
    EnrichedRow,
    EvidenceRow,
    FindingRow,
    HypothesisRow,
    IncidentFindingRow,
    IncidentRow,
    LossRow,
    SinkRow,
    VerdictRow,
)
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks

EPOCH_HEADER = "tw-epoch"
EPOCH_SHIFT = 40  # 2**40 offsets a partition, 2**24 epochs
EPOCH_MAX = 2**24 - 1

Body = TypeVar("Body", Finding, Verdict, Enriched, Incident)


class SinkState:
    """One partition of the stage.  The checkpoint keeps `cases`, which stay empty: a row depends on its record alone."""

    def __init__(self, topic_prefix: str, cases: Cases) -> None:
        self.cases = cases
        self.maker_of_topic = {f"{topic_prefix}{content}.v1": maker for content, maker in MAKERS.items()}


class Mismatch(ValueError):
    """The JSON is right, its content is not ours."""


def build_state(settings: Settings, cases: Cases) -> SinkState:
    """The state of one partition."""
    return SinkState(settings.kafka.topic_prefix, cases)


def step(state: SinkState, records: Sequence[Record], now: Watermarks) -> tuple[SinkState, list[Outcome]]:  # noqa: ARG001  all steps alike
    """One outcome per record that is not written, one per row otherwise; a wrong record never ends the batch."""
    outcomes: list[Outcome] = []
    for record in records:
        if record.value is None:
            outcomes.append(Rejected(record.offset, ErrorCode.TOMBSTONE, "the record has no value"))
            continue
        maker = state.maker_of_topic.get(record.topic)
        if maker is None:
            outcomes.append(Rejected(record.offset, ErrorCode.UNKNOWN_FORMAT, f"no values of topic {record.topic} are known"))
            continue
        try:
            rows = maker(record, version_of(record))
        except (msgspec.ValidationError, Mismatch) as error:
            outcomes.append(Rejected(record.offset, ErrorCode.SCHEMA_MISMATCH, str(error)))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            outcomes.append(Rejected(record.offset, ErrorCode.DECODE_ERROR, str(error)))
        else:
            outcomes += rows
    return state, outcomes


def version_of(record: Record) -> int:
    """What orders the words on one id.  Raises Mismatch on a wrong header; a record without one is older than any epoch."""
    for name, value in record.headers:
        if name == EPOCH_HEADER:
            if not value.isdigit() or int(value) > EPOCH_MAX:
                raise Mismatch(f"header {EPOCH_HEADER} is not an epoch: {value[:40]!r}")
            return int(value) << EPOCH_SHIFT | record.offset
    return record.offset


# --- values of the topics ---------------------------------------------------------------------------------------------------------


class _Blocks(msgspec.Struct, frozen=True):
    """Both blocks of a value; the canonical one stays bytes, because its bytes are what is promised."""

    canonical: msgspec.Raw
    transport: Transport


class _Unmapped(msgspec.Struct, frozen=True):
    trainwatch: _Blocks


class _DetectionFinding(msgspec.Struct, frozen=True):
    """What we read of the OCSF class; the rest is a view of `unmapped`."""

    class_uid: int
    unmapped: _Unmapped


class _Named(msgspec.Struct, frozen=True):
    id: str


_decode_blocks = msgspec.json.Decoder(_Blocks).decode
_decode_detection = msgspec.json.Decoder(_DetectionFinding).decode
_decode_named = msgspec.json.Decoder(_Named).decode


def _body(blocks: _Blocks, kind: type[Body]) -> Body:
    value = msgspec.json.decode(blocks.canonical, type=kind)
    claimed = _decode_named(blocks.canonical).id
    if claimed != value.id:
        raise Mismatch(f"id {claimed[:40]} does not follow from the body: {value.id}")
    return value


def _enriched(record: Record, version: int) -> list[SinkRow]:
    # The columns that all rows have are written out: of these there are thousands a second.
    blocks = _decode_blocks(record.value or b"")
    enriched = _body(blocks, Enriched)
    return [
        EnrichedRow(
            event_time=enriched.event_time,
            cluster=enriched.attempt.cluster,
            job_id=enriched.attempt.job,
            attempt=enriched.attempt.name,
            enriched_id=enriched.id,
            event_id=enriched.event_id,
            owner=enriched.owner,
            source=enriched.source,
            kind=enriched.kind,
            host=enriched.host,
            actor=enriched.actor,
            relation=enriched.relation,
            matched=enriched.matched,
            sha256=enriched.sha256,
            attrs=enriched.attrs,
            revision=blocks.transport.revision,
            canonical=bytes(blocks.canonical).decode(),
            version=version,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            index=0,
        )
    ]


class _Origin(TypedDict):
    """Where a row comes from."""

    version: int
    topic: str
    partition: int
    offset: int
    index: int


class _Said(TypedDict):
    """What stands in both blocks whatever the body is."""

    revision: int
    watermarks: dict[str, int]
    silent: tuple[str, ...]
    settings_digest: str
    software: str
    canonical: str


def _origin(record: Record, version: int, index: int = 0) -> _Origin:
    return {"version": version, "topic": record.topic, "partition": record.partition, "offset": record.offset, "index": index}


def _said(blocks: _Blocks) -> _Said:
    transport = blocks.transport
    return {
        "revision": transport.revision,
        "watermarks": transport.watermarks,
        "silent": transport.silent,
        "settings_digest": transport.settings,
        "software": transport.software,
        "canonical": bytes(blocks.canonical).decode(),
    }


def _verdict(record: Record, version: int) -> list[SinkRow]:
    blocks = _decode_blocks(record.value or b"")
    verdict = _body(blocks, Verdict)
    attempt, by = verdict.attempt, verdict.by
    return [
        VerdictRow(
            end_time=verdict.end,
            cluster=attempt.cluster,
            job_id=attempt.job,
            attempt=attempt.name,
            submit_time=attempt.submit,
            start_time=_started(attempt.start),
            verdict_id=verdict.id,
            owner=verdict.owner,
            owner_uid=verdict.owner_uid,
            state=verdict.state,
            verdict=verdict.verdict,
            cause=verdict.cause,
            status=verdict.status.value,
            by_role=by.role if by else "",
            by_event_id=by.event_id if by else "",
            by_sha256=by.sha256 if by else "",
            by_source=by.source if by else "",
            by_time=by.event_time if by else None,
            by_summary=by.summary if by else "",
            findings=verdict.findings,
            checklist=_checklist(verdict.checklist),
            nodes=verdict.nodes,
            gpus=verdict.gpus,
            closes_at=verdict.closes_at,
            **_said(blocks),
            **_origin(record, version),
        )
    ]


def _finding(record: Record, version: int) -> list[SinkRow]:
    blocks = _decode_detection(record.value or b"").unmapped.trainwatch
    finding = _body(blocks, Finding)
    subject, attempt = finding.subject, finding.attempt
    if attempt is not None:
        subject = subject_of(attempt)
    elif not subject.name:
        raise Mismatch("the finding is about nothing: neither subject nor attempt")
    row = FindingRow(
        effect_time=finding.effect_time,
        cause_time=finding.cause_time,
        subject=subject.kind,
        subject_name=subject.name,
        cluster=subject.cluster,
        job_id=attempt.job if attempt else "",
        attempt=attempt.name if attempt else "",
        submit_time=attempt.submit if attempt else 0,
        start_time=_started(attempt.start) if attempt else None,
        finding_id=finding.id,
        detector=finding.detector,
        detector_version=finding.detector_version,
        title=finding.title,
        severity=finding.severity.value,
        status=finding.status.value,
        effect=finding.effect,
        anchor=finding.anchor,
        owner=finding.owner,
        actor=finding.actor,
        actor_withheld=finding.actor_withheld,
        summary=finding.summary,
        confidence=finding.confidence.score,
        confidence_parts=dict(finding.confidence.parts),
        alert=finding.alert,
        gate=finding.gate,
        attack=finding.attack,
        sources=tuple(source.value for source in finding.sources),
        checklist=_checklist(finding.checklist),
        closes_at=finding.closes_at,
        **_said(blocks),
        **_origin(record, version),
    )
    return [row, *_evidence(finding, record, version)]


def _evidence(finding: Finding, record: Record, version: int) -> list[EvidenceRow]:
    return [
        EvidenceRow(
            finding_id=finding.id,
            position=position,
            role=evidence.role,
            event_id=evidence.event_id,
            sha256=evidence.sha256,
            source=evidence.source,
            event_time=evidence.event_time,
            summary=evidence.summary,
            **_origin(record, version, 1 + position),
        )
        for position, evidence in enumerate(finding.evidence)
    ]


def _incident(record: Record, version: int) -> list[SinkRow]:
    blocks = _decode_detection(record.value or b"").unmapped.trainwatch
    incident = _body(blocks, Incident)
    said, scope = incident.attribution, incident.scope
    row = IncidentRow(
        first_time=incident.first,
        last_time=incident.last,
        cluster=incident.cluster,
        incident_id=incident.id,
        founder=incident.founder,
        aliases=incident.aliases,
        merged_into=incident.merged_into,
        title=incident.title,
        severity=incident.severity.value,
        status=incident.status.value,
        alert=incident.alert,
        findings=incident.findings or len(incident.members),
        named=said.named,
        withheld=said.withheld,
        leader=said.leader,
        second=said.second,
        gap_low=said.gap_low,
        gap_needed=said.gap_needed,
        candidates=said.candidates,
        attempts=scope.affected or len(scope.attempts),
        exposed=scope.exposed,
        examined=scope.examined,
        unaffected=scope.unaffected,
        users=scope.users,
        projects=scope.projects,
        gpus_max=scope.gpus_max,
        closes_at=incident.closes_at,
        **_said(blocks),
        **_origin(record, version),
    )
    return [row, *_members(incident, record, version), *_hypotheses(incident, record, version), *_loss(incident, record, version)]


def _members(incident: Incident, record: Record, version: int) -> list[SinkRow]:
    """All that are told, in full or by their ids: what is held and exported with an incident is looked up by these rows."""
    told = [(each.finding, each.detector, each.effect_time, each.alert, each.links) for each in incident.members]
    names = dict(enumerate(name for name, _, _ in incident.detectors))
    if stray := {each.detector for each in incident.others} - names.keys():
        raise Mismatch(f"findings of detector {min(stray)}, and {len(names)} are named")
    told += [(each.finding, names[each.detector], each.effect_time, each.alert, ()) for each in incident.others]
    return [
        IncidentFindingRow(
            incident_id=incident.id,
            position=position,
            finding_id=finding,
            detector=detector,
            effect_time=effect_time,
            alert=alert,
            links=links,
            **_origin(record, version, 1 + position),
        )
        for position, (finding, detector, effect_time, alert, links) in enumerate(told)
    ]


def _hypotheses(incident: Incident, record: Record, version: int) -> list[SinkRow]:
    return [
        HypothesisRow(
            incident_id=incident.id,
            position=position,
            kind=each.kind,
            who=each.who,
            low=each.low,
            high=each.high,
            evidence=tuple(row.kind for row in each.weighed),
            **_origin(record, version, 1 + len(incident.members) + len(incident.others) + position),
        )
        for position, each in enumerate(incident.attribution.hypotheses)
    ]


def _loss(incident: Incident, record: Record, version: int) -> list[SinkRow]:
    return [
        LossRow(
            incident_id=incident.id,
            position=position,
            ledger=line.ledger,
            kind=line.kind,
            job_id=line.attempt.job if line.attempt else "",
            attempt=line.attempt.name if line.attempt else "",
            gpu_hours_low=line.gpu_hours.low,
            gpu_hours_middle=line.gpu_hours.middle,
            gpu_hours_high=line.gpu_hours.high,
            money_low=line.money.low,
            money_middle=line.money.middle,
            money_high=line.money.high,
            currency=line.currency,
            method=line.method,
            formula=line.formula,
            note=line.note,
            evidence=line.evidence,
            gpus=line.gpus,
            nodes=line.nodes,
            inputs=tuple(
                (
                    each.reading, each.start, each.end, each.share, each.elsewhere,
                    tuple((priced.hours, priced.per_hour, priced.formula) for priced in each.prices),
                )
                for each in line.inputs
            ),
            **_origin(record, version, 1 + len(incident.members) + len(incident.others) + len(incident.attribution.hypotheses) + position),
        )
        for position, line in enumerate(incident.loss.lines)
    ]  # fmt: skip


def _started(start: int) -> int | None:
    return None if start < 0 else start


def _checklist(checklist: Sequence[Explanation]) -> Checklist:
    return tuple((item.name, item.answer.value, item.by, item.note, item.missing) for item in checklist)


MAKERS: dict[str, Callable[[Record, int], list[SinkRow]]] = {
    "enriched": _enriched,
    "verdicts": _verdict,
    "findings": _finding,
    "incidents": _incident,
}
