"""Facts of an interval join as the hosts stage sees them: signals on a host, and the allocations that held it when they were sent.

A signal is the SYSCALL record of a kill, an allocation what the scheduler says of a job when it has ended; so a match is always found
from behind, minutes to hours later.  On each host one allocation follows another with gaps; a third of the signals falls into gaps.
Facts come in order of arrival; disordered, each is displaced by up to `DISORDER_MS`, which turns some ends around with later signals.

    signals      10  25  31      44     58            matches: (10, a) (25, a) (31, a) (58, b)
    allocations  [8 ----- a ---- 33]  [51 - b - 70]
"""

import random
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.model.events import AuditRecord, Event, JobRecord
from pipeline.model.facts import Fact, encode_fact, host_case
from pipeline.model.ids import digest
from pipeline.model.outcome import Record
from pipeline.model.source import Source
from pipeline.model.told import encode_told
from pipeline.runtime.producer import partition_of

CLUSTER = "main"
BASE_MS = 1_772_400_000_000
HOSTS = 400
SIGNALS_PER_JOB = 9
JOB_MS_MIN, JOB_MS_MAX = 600_000, 7_200_000
GAP_MS_MAX = 1_800_000
SLACK_MS = 5_000  # as the hosts stage: schedulers state whole seconds
DISORDER_MS = 1_800_000
HORIZON_MS = JOB_MS_MAX + 2 * DISORDER_MS  # how long signals and allocations must be remembered to miss nothing


class Timed(NamedTuple):
    """A fact with the instant at which it arrives; `serial` is 0 for an allocation."""

    arrival: int
    serial: int
    case: bytes
    value: bytes  # the encoded fact


class Load(NamedTuple):
    """Facts in order of arrival, and the pairs (serial of the signal, job) that a join must find."""

    facts: list[Timed]
    pairs: set[tuple[int, str]]


def build(seed: int, size: int, *, disordered: bool = False) -> Load:
    """About `size` facts, cut to it; the pairs are those whose both sides are in."""
    dice = random.Random(seed)
    hosts = max(1, min(HOSTS, size // 200))
    per_host = size // hosts + 1
    facts: list[Timed] = []
    sides: list[tuple[int, int, str, int, int, str]] = []
    serial, job = 0, 40_000
    for number in range(hosts):
        host = f"gpu-{number:03}"
        now, made = BASE_MS + dice.randrange(GAP_MS_MAX), 0
        while made < per_host:
            start, end = now + dice.randrange(GAP_MS_MAX), 0
            end = start + dice.randrange(JOB_MS_MIN, JOB_MS_MAX)
            start, end = start // 1000 * 1000, end // 1000 * 1000
            job += 1
            facts.append(_allocation(host, str(job), start, end))
            for _ in range(SIGNALS_PER_JOB):
                serial += 1
                time = _clear_of(dice.randrange(now, end), start, end)
                facts.append(_signal(dice, host, serial, time))
                if start - SLACK_MS <= time <= end + SLACK_MS:
                    sides.append((serial, time, str(job), start, end, host))
            made += 1 + SIGNALS_PER_JOB
            now = end + 2 * SLACK_MS + 1
    if disordered:
        facts = [fact._replace(arrival=fact.arrival + dice.randrange(DISORDER_MS)) for fact in facts]
    facts.sort()
    del facts[size:]
    kept = {fact.serial for fact in facts if fact.serial}
    ended = {fact.value for fact in facts if not fact.serial}
    pairs = {
        (serial, job) for serial, _, job, start, end, host in sides if serial in kept and _allocation(host, job, start, end).value in ended
    }
    return Load(facts, pairs)


def _clear_of(time: int, start: int, end: int) -> int:
    """A signal near an edge would belong to it by the slack of one engine only."""
    return start + 2 * SLACK_MS if abs(time - start) <= 2 * SLACK_MS else time if abs(time - end) > 2 * SLACK_MS else end - 2 * SLACK_MS


def _allocation(host: str, job: str, start: int, end: int) -> Timed:
    record = JobRecord(
        job=job,
        phase="end",
        owner_uid=5000 + int(job) % 97,
        owner=f"u{int(job) % 97:03}",
        partition="h800",
        state="COMPLETED",
        submit=start - 1000,
        start=start,
        end=end,
        nodes=(host,),
    )
    event = Event(id=digest("job", job), source=Source.JOBCOMP, cluster=CLUSTER, event_time=end, body=record, job=job)
    return _fact(host, event, 0)


def _signal(dice: random.Random, host: str, serial: int, time: int) -> Timed:
    pid = dice.randrange(1000, 4_000_000)
    fields = {
        "arch": "c000003e", "syscall": "62", "syscall_name": "kill", "success": "yes", "exit": "0", "a0": f"{pid:x}", "a1": "f",
        "ppid": "1", "pid": str(dice.randrange(1000, 4_000_000)), "auid": "4294967295", "uid": "0", "ses": "4294967295",
        "comm": "slurmstepd", "exe": "/usr/sbin/slurmstepd",
    }  # fmt: skip
    record = AuditRecord(record_type="SYSCALL", serial=serial, fields=fields, keys=("tw-kill",))
    event = Event(id=digest("audit", host, serial), source=Source.AUDITD, cluster=CLUSTER, event_time=time, body=record, host=host)
    return _fact(host, event, serial)


def _fact(host: str, event: Event, serial: int) -> Timed:
    case = host_case(CLUSTER, host)
    return Timed(event.event_time, serial, case, encode_fact(Fact(case, event.id, b"", encode_told(event))))


def records(load: Load, topic: str, partitions: int, *, allocations: str = "") -> Iterator[Record]:
    """The facts as messages of a topic, keyed by host; allocations on one of their own when it is named."""
    for fact in load.facts:
        name = allocations if allocations and not fact.serial else topic
        yield Record(
            topic=name, partition=partition_of(fact.case, partitions), offset=0, timestamp=fact.arrival, value=fact.value, key=fact.case
        )
