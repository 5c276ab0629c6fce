"""A number of events in, the tables of a site that has had so many out: made inside ClickHouse, in minutes for a hundred million.

Ten weeks of 500 people on 2,000 hosts.  Nine of ten records are of access; one job stands for a thousand records, a touch for every sixth,
a finding for every fiftieth job, a range of offsets every second and partition of the last week.  Lines are short and differ, ids are as
long as ours.  The newest event is of this hour, so that panels about the last day have one.

Holds: the same number gives the same rows, but for the hour.
"""

from collections.abc import Mapping
from typing import NamedTuple

from pipeline.sink.clickhouse import Database

WEEKS = 10
SPAN = WEEKS * 7 * 86_400
EVENTS_PER_JOB = 1000
HOUR = 3600


class Large(NamedTuple):
    """What was made, and what a reader of it would choose."""

    events: int
    end: int  # UTC seconds
    chosen: Mapping[str, tuple[str, ...]]  # by variable of a dashboard
    job_from: int
    job_to: int


EVENTS = """
INSERT INTO events (ts, kafka_time, cluster, source, kind, host, job_id, actor, event_id, sha256, attrs, raw, late, _topic, _partition,
    _offset, _inserted)
WITH
    toDateTime64({begin} + number * {span} / {events}, 3, 'UTC') AS at, intHash64(number) AS dice, toUInt32(dice % 100) AS one,
    multiIf(one < 62, 'auditd', one < 82, 'sshd', one < 88, 'kernel', one < 95, 'training', one < 97, 'slurmctld', one < 98, 'sacct',
        one < 99, 'slurm_jobcomp', 'probe') AS family,
    transform(family, ['auditd', 'sshd', 'kernel', 'training', 'slurmctld', 'probe'],
        ['audit_record', 'login', 'kernel_line', 'iteration', 'kill_request', 'checkpoint_saved'], 'job_record') AS what,
    toString({first_job} + intDiv(number, {per_job}) - toUInt64(dice / 128) % {at_once}) AS job,
    concat('u', leftPad(toString(1 + toUInt64(dice / 4096) % 500), 3, '0')) AS person,
    concat('gpu-', leftPad(toString(1 + toUInt64(dice / 1048576) % 2000), 4, '0')) AS machine
SELECT at, at + 2, 'main', family, what, machine, if(family IN ('auditd', 'sshd', 'kernel'), '', job),
    if(family IN ('auditd', 'sshd', 'sacct', 'slurm_jobcomp'), person, ''), lower(hex(sipHash128(number))),
    lower(concat(hex(sipHash128(number, 1)), hex(sipHash128(number, 2)))),
    multiIf(
        family = 'training', map('iteration', toString(number % 5000), 'loss', toString(2 + (dice % 1000) / 1000),
            'grad_norm', toString((dice % 700) / 500), 'elapsed_ms', toString(9000 + dice % 900), 'skipped', '0', 'nan', '0'),
        family = 'probe', map('path', concat('/lustre/ckpt/', person, '/iter_', toString(number % 5000), '.pt')),
        map('comm', 'python3', 'uid', toString(5000 + one), 'serial', toString(number))),
    concat('type=SYSCALL msg=audit(', toString(at), ':', toString(number), '): arch=c000003e syscall=257 success=yes uid=', person,
        ' comm="python3" exe="/usr/bin/python3.11" key="lustre"'),
    dice % 5000 = 0, 'logs.access', number % 12, intDiv(number, 12), toDateTime(at + 4)
FROM numbers_mt({events})
SETTINGS max_partitions_per_insert_block = 0, max_insert_threads = 2, min_insert_block_size_rows = 2000000
"""
TOUCHES = """
INSERT INTO enriched_events (ts, cluster, job_id, attempt, enriched_id, event_id, owner, source, kind, host, actor, relation, matched,
    sha256, attrs, canonical, _version, _inserted)
SELECT ts, cluster, toString({first_job} + intDiv(_offset * 12 + _partition, {per_job})) AS job, concat('main/', job), event_id, event_id,
    concat('u', leftPad(toString(1 + cityHash64(job) % 500), 3, '0')), source,
    if(kind = 'audit_record', 'signal_sent', kind), host, actor,
    ['owner', 'owner', 'owner', 'daemon', 'foreign', 'unknown'][1 + cityHash64(event_id) % 6], 'job', sha256, attrs,
    concat('{{"event_id":"', event_id, '"}}'), _offset, _inserted
FROM events WHERE _offset % 6 = 0 SETTINGS max_partitions_per_insert_block = 0, max_insert_threads = 2
"""
VERDICTS = """
INSERT INTO verdicts (end_time, submit_time, start_time, cluster, job_id, attempt, verdict_id, owner, state, verdict, cause, status,
    by_source, by_summary, nodes, gpus, watermarks, canonical, _version)
WITH toDateTime64({begin} + (number + {at_once}) * {span} / {jobs}, 3, 'UTC') AS ended
SELECT ended, ended - {job_seconds} - 60, ended - {job_seconds}, 'main', toString({first_job} + number) AS job, concat('main/', job),
    lower(hex(sipHash128(job))), concat('u', leftPad(toString(1 + cityHash64(job) % 500), 3, '0')),
    if(number % 3 = 0, 'FAILED', 'COMPLETED'), if(number % 50 = 0, 'interference', 'benign'),
    ['completed', 'app_error', 'out_of_memory', 'owner_cancel'][1 + number % 4], 'final', 'slurm_jobcomp', 'completed by itself',
    [concat('gpu-', leftPad(toString(1 + number % 2000), 4, '0')), concat('gpu-', leftPad(toString(2 + number % 1999), 4, '0'))], 16,
    map('auditd', toUnixTimestamp64Milli(ended), 'training', toUnixTimestamp64Milli(ended)), repeat(hex(sipHash128(job)), 20), number
FROM numbers({jobs}) SETTINGS max_partitions_per_insert_block = 0
"""
FINDINGS = """
INSERT INTO findings (effect_time, cause_time, closes_at, subject, subject_name, cluster, job_id, attempt, finding_id, detector, title,
    severity, status, owner, actor, summary, confidence, confidence_parts, alert, checklist, canonical, _version, _inserted)
SELECT end_time, end_time - 5, end_time + 120, 'job', job_id, cluster, job_id, attempt, concat('f', job_id) AS finding,
    ['p01_foreign_kill', 'p03_foreign_cancel', 'p06_checkpoint_tamper', 'p15_contention'][1 + cityHash64(job_id) % 4] AS detector, detector,
    ['critical', 'high', 'medium', 'low'][1 + cityHash64(finding) % 4], 'final', owner, 'u017', 'somebody ended it', 0.9,
    map('act', 0.9), cityHash64(finding) % 3 > 0, [('preempted', 'excluded', '', 'state FAILED', [])],
    repeat(hex(sipHash128(finding)), 60), _version, toDateTime(end_time + 30)
FROM verdicts WHERE verdict = 'interference' SETTINGS max_partitions_per_insert_block = 0
"""
CITED = """
INSERT INTO finding_evidence (finding_id, position, role, event_id, sha256, source, event_time, summary, _version)
SELECT concat('f', job_id), toUInt16(_offset % 60000), if(_offset % 2 = 0, 'cause', 'effect'), event_id, sha256, source, ts, 'a record', 1
FROM events WHERE job_id IN (SELECT job_id FROM findings) AND source IN ('probe', 'sacct')
"""
INCIDENTS = """
INSERT INTO incidents (first_time, last_time, cluster, incident_id, founder, title, severity, status, alert, findings, leader, canonical,
    _version)
SELECT cause_time, effect_time, cluster, concat('i', job_id), finding_id, 'jobs ended: 1 finding', severity, 'final', alert, 1, 'did/u017',
    canonical, _version
FROM findings
"""
MEMBERS = """
INSERT INTO incident_findings (incident_id, position, finding_id, detector, effect_time, alert, _version)
SELECT concat('i', job_id), 0, finding_id, detector, effect_time, alert, _version FROM findings
"""
CANDIDATES = """
INSERT INTO attribution (incident_id, position, kind, who, low, high, _version)
SELECT concat('i', job_id), arrayJoin([0, 1, 2]) AS place, ['did', 'nobody', 'other'][1 + place], 'u017', 3 - place, 5 - place, _version
FROM findings
"""
LOSSES = """
INSERT INTO loss_lines (incident_id, position, ledger, kind, job_id, attempt, gpu_hours_low, gpu_hours_middle, gpu_hours_high, money_low,
    money_middle, money_high, currency, formula, _version)
SELECT concat('i', job_id), arrayJoin([0, 1]) AS place, 'direct', ['lost_progress', 'restart'][1 + place], job_id, attempt, 1, 2, 9, 2, 4,
    18, 'EUR', 'GPUs x (failure - last good checkpoint)', _version
FROM findings
"""
RANGES = """
INSERT INTO sink_ranges (topic, incarnation, partition, lo, hi, rows, offsets_written, listed_offsets, listed_codes, token, _inserted)
SELECT 'logs.access', 'a', number % 12, intDiv(number, 12) * 20 AS first, first + 20, 20, 20 - (number % 97 = 0),
    if(number % 97 = 0, [first], []), if(number % 97 = 0, ['unknown_format'], []), hex(sipHash128(number)),
    toDateTime({end} - intDiv({ranges} - number, 12) * 604800 / ({ranges} / 12))
FROM numbers({ranges}) SETTINGS max_partitions_per_insert_block = 0
"""
SEALS = """
INSERT INTO evidence_roots (topic, incarnation, partition, number, lo, hi, records, leaves)
SELECT 'logs.access', '', number % 12, intDiv(number, 12) + 1, intDiv(number, 12) * 20000 AS first, first + 20000, 20000,
    repeat(hex(sipHash128(number)), 300)
FROM numbers(intDiv({events}, 20000) + 12)
"""
LABELS = """
INSERT INTO labels (finding_id, account, label, detector)
SELECT finding_id, 'ops@login-1', 'true', detector FROM findings WHERE alert LIMIT 500
"""
MADE = (EVENTS, TOUCHES, VERDICTS, FINDINGS, CITED, INCIDENTS, MEMBERS, CANDIDATES, LOSSES, RANGES, SEALS, LABELS)


def fill(database: Database, events: int, now: int) -> Large:
    """Fill the migrated, empty tables of `database`, on which no retention may act.  `now`: UTC seconds."""
    end = now - now % HOUR
    jobs = max(events // EVENTS_PER_JOB, 100)
    first_job, begin = 100_000, end - SPAN
    at_once = max(min(256, jobs // 100), 8)
    job_seconds = max(SPAN * at_once // jobs, 60)
    values = {
        "events": events, "begin": begin, "end": end, "span": SPAN, "jobs": jobs, "first_job": first_job,
        "per_job": events // jobs, "at_once": at_once, "job_seconds": job_seconds, "ranges": max(events * 72 // 1000, 1200),
    }  # fmt: skip
    database.command(f"USE {database.name}")
    for sql in MADE:
        database.command(sql.format(**values))
    number = jobs * 9 // 10 // 50 * 50  # an attempt under a finding, a week ago
    ended = begin + (number + at_once) * SPAN // jobs
    job = str(first_job + number)
    chosen = {"job": (job,), "finding": (f"f{job}",), "kind": ("host",), "entity": ("gpu-0007",)}
    return Large(events, end, chosen, ended - job_seconds - 600, ended + 600)
