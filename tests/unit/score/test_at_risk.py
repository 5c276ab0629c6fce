"""Events that could have begun a finding, by pattern."""

import msgspec
import pytest

from pipeline.model import events
from pipeline.model.outcome import EventRow
from pipeline.score.at_risk import AT_RISK, AUDIT_CHANGE, Read
from pipeline.simulate.plan import PATTERNS

KINDS = {
    each.__struct_config__.tag for each in vars(events).values() if isinstance(each, type) and issubclass(each, msgspec.Struct)
} | {AUDIT_CHANGE}  # fmt: skip


def row(kind: str, *, late: bool = False, **attrs: str) -> EventRow:
    """An ingested event of a kind."""
    return EventRow("logs.access", 0, 0, 0, 0, 0, 0, "main", "auditd", kind, "gpu-001", "", "", "e", "s", attrs, "", late, False)


def call(name: str) -> EventRow:
    """The record of a system call."""
    return row("audit_record", record_type="SYSCALL", syscall_name=name)


def test_every_pattern_has_kinds_that_there_are() -> None:
    """A kind that no format makes would leave a denominator of nothing."""
    assert set(AT_RISK) == set(PATTERNS)
    assert all(kinds and kinds <= KINDS for kinds in AT_RISK.values())


@pytest.mark.parametrize(
    ("rows", "pattern", "count"),
    [
        ([call("kill"), call("tgkill"), call("openat")], "p01", 2),
        ([call("openat"), row("audit_record", record_type="PATH"), row("checkpoint_loaded")], "p06", 2),
        ([call("execve"), row("privilege_used"), row("audit_record", record_type="CONFIG_CHANGE")], "p18", 3),
        ([row("audit_record", record_type="DAEMON_END"), row("login")], "p17", 1),
        ([row("iteration"), row("training_line")], "p09", 1),
    ],
    ids=["calls that signal", "one audit event of several records", "changes of auditing", "logins", "steps"],
)
def test_events_are_counted_once_where_a_detector_looks(rows: list[EventRow], pattern: str, count: int) -> None:
    """By kind; of the audit system by the call, whatever else one event consists of."""
    read = Read()
    read.take(rows)
    assert read.at_risk()[pattern] == count


def test_late_events_are_counted() -> None:
    """As ingest has flagged them."""
    read = Read()
    read.take([row("login", late=True), row("login")])
    read.take([row("login", late=True)])
    assert read.late == 2
