"""A family of which a partition has spoken is waited for by all stages behind it: whoever reads on must know it, whatever is left."""

from collections.abc import Sequence
from typing import Any

from pipeline.model.outcome import Observed, Outcome, Read, Record
from pipeline.model.source import Source as Family
from pipeline.runtime.channel import PROGRESS, quantised, silence
from pipeline.runtime.partition import Partition
from pipeline.runtime.state_log import LogReader
from pipeline.runtime.state_record import CLAIM, Claim, Owner, key, pack
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import SEPARATOR, Marks, Vector
from tests.unit.runtime.build import OWNER, SETTINGS, SOURCE, partition, records, row, stage
from tests.unit.runtime.test_guard import Heard

AUDITD, PROBE = f"main{SEPARATOR}auditd", f"main{SEPARATOR}probe"


def observed(_: Any, batch: Sequence[Record]) -> list[Outcome]:
    """Auditd in every record, the probe in the first alone."""
    time = batch[-1].timestamp
    probe = [Observed("main", Family.PROBE, time, ())] if batch[0].offset == 0 else []
    return [*(row(record.offset) for record in batch), Observed("main", Family.AUDITD, time, ()), *probe, Read(time, False)]


def said(part: Partition) -> Vector:
    """What it tells the stages behind."""
    vector = part.marks.speak(SOURCE.topic, 0, 1)
    assert vector is not None
    return vector


def test_a_killed_owner_s_families_are_spoken_of_though_its_records_are_gone() -> None:
    """They stand in the intent, which is written before any vector leaves; silence moves on what nobody observes any more."""
    made_of = stage(observed, tells=("jobs",))
    heard, part = Heard(), partition(made_of)
    heard.guard.fold(part, batch := records(0, 1, 2, timestamp=200_000))
    part.folded(batch, ())
    work = part.snapshot()
    assert work is not None
    part.intend(work, {})
    intent = part.intent_write(work)
    assert intent is not None
    behind = Marks(Cases(), 1000, (SOURCE.topic,))
    behind.hear(said(part))

    log = LogReader()  # killed: no state was written, and the first records are deleted
    for name, value in ((key(CLAIM, OWNER), pack(Claim())), intent, (key(CLAIM, again := Owner(2, 2, "n2")), pack(Claim()))):
        log.take(name, value)
    part = Partition(SOURCE, made_of, SETTINGS, again, log)
    part.adopt(2, 10, "life")
    assert said(part).marks == {AUDITD: (0, 0), PROBE: (0, 0)}
    heard.guard.fold(part, batch := records(2, 3, timestamp=900_000))
    part.folded(batch, ())
    behind.hear(said(part))
    assert behind.view().joint("main") == 140_000  # the probe's, of the former owner
    part.marks.advance(silence(part.marks, {PROBE: 20_000}))
    behind.hear(said(part))
    assert behind.view().joint("main") == 840_000
    part.marks.advance(silence(part.marks, {AUDITD: 40_000, PROBE: 60_000, PROGRESS: 40_000}))
    behind.hear(said(part))
    assert part.marks.own_marks()[PROBE] == (0, 900_000 + quantised(40_000))
    assert behind.view().joint("main") == 840_000 + quantised(40_000)
