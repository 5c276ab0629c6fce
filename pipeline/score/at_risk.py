"""Rows of ingested events in; of each pattern how many events could have begun a finding, and how many of all came late, out.

False findings per event at risk say how often a detector errs where it can err at all: of kills P01 sees few, of imports P04 sees many.
At risk are events of the kinds in which the detector of a pattern looks for an act or its effect; what it asks afterwards, to acquit, is
not.  An event of the audit system is counted once, by its call, however many records it has.  Where harmless bulk lines are thinned, those
that were written count: the rate is then rather too high than too low.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from pipeline.model.outcome import EventRow

AUDIT_CHANGE = "audit_change"  # the audit system tells of itself
AT_RISK: Mapping[str, frozenset[str]] = {
    "p01": frozenset({"signal_sent"}),
    "p02": frozenset({"signal_sent", "signal_requested"}),
    "p03": frozenset({"kill_request", "job_record"}),
    "p04": frozenset({"file_touched", "module_imported"}),
    "p05": frozenset({"file_touched", "hook_found", "environment_set"}),
    "p06": frozenset({"file_touched", "checkpoint_loaded"}),
    "p07": frozenset({"global_unpickled", "process_spawned", "socket_used", "process_run"}),
    "p08": frozenset({"file_touched", "checkpoint_loaded", "checkpoint_note"}),
    "p09": frozenset({"iteration"}),
    "p10": frozenset({"iteration"}),
    "p11": frozenset({"file_touched", "checkpoint_loaded"}),
    "p12": frozenset({"job_update", "code_pushed", "module_imported"}),
    "p13": frozenset({"job_record"}),
    "p14": frozenset({"privilege_used", "process_run"}),
    "p15": frozenset({"job_record"}),
    "p16": frozenset({"file_touched", "process_run"}),
    "p17": frozenset({"login"}),
    "p18": frozenset({"privilege_used", "process_run", AUDIT_CHANGE}),
}
_SIGNALS, _RUNS = frozenset({"kill", "tkill", "tgkill"}), frozenset({"execve", "execveat"})


class Read(msgspec.Struct):
    """What was read of a period."""

    kinds: Counter[str] = msgspec.field(default_factory=Counter)
    late: int = 0  # events behind their source's mark by more than grace

    def take(self, rows: Iterable[msgspec.Struct]) -> None:
        """Some more of it."""
        events = [row for row in rows if type(row) is EventRow]
        self.kinds.update(map(_kind, events))
        self.late += sum(row.late for row in events)

    def at_risk(self) -> dict[str, int]:
        """By pattern."""
        return {pattern: sum(self.kinds[kind] for kind in kinds) for pattern, kinds in AT_RISK.items()}


def _kind(row: EventRow) -> str:
    if row.kind != "audit_record":
        return row.kind
    record_type = row.attrs.get("record_type", "")
    if record_type == "SYSCALL":
        call = row.attrs.get("syscall_name", "")
        return "signal_sent" if call in _SIGNALS else "process_run" if call in _RUNS else "file_touched"
    return AUDIT_CHANGE if record_type.startswith(("CONFIG_CHANGE", "DAEMON_")) else row.kind
