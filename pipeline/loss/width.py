"""Lines of a loss in; the sentence that says which of them make its range wide, and what would narrow it, out.

    low 0, high 14,402:  14,402 GPU-hours lie between low and high; 11,890 of them are the whole runs of 92 attempts: no record says ...

A range that is wide says little; which record is missing says what to look for next.  Lines are put together by their kind and by what is
open about them; the part with the most hours speaks.  Nothing is counted here that the lines do not count.
"""

from collections.abc import Iterable, Mapping

from pipeline.loss import claims as claim
from pipeline.model.incident import LossLine

BETWEEN = "GPU-hours lie between low and high"
WIDE = 2.0  # high / low, from which it is said
WORDS: Mapping[str, str] = {
    "invalid": "the runs", "held": "the runs", "hang": "the time without a step", "lost_progress": "the work since the last save",
    "slowdown": "the slow time", "restart": "the time until the next start",
}  # fmt: skip
RERUN = "doing one of these runs again or evaluating it"
LOADS = "the probe in these jobs or auditd's reads of these files"
SAVES = "the probe in these jobs or the lines that tell their saves"
ENDS = "auditd or the scheduler's log of those hours"
NARROWED_BY: Mapping[str, str] = {  # what is open -> what would tell; of several the first that is noted
    claim.BELOW: "what the findings' checklists call not checked",
    claim.UNTOLD: LOADS,
    claim.DERIVED: RERUN,
    claim.TRACED: RERUN,
    claim.COMPARED_ELSEWHERE: RERUN,
    claim.CODE: "what this code does, which its bytes tell",
    claim.NOT_SEEN: RERUN,
    claim.BEFORE_REMOVAL: SAVES,
    claim.TAKEN: SAVES,
    claim.UNSAVED: SAVES,
    claim.UNTOLD_SAVES: SAVES,
    claim.NEARBY: ENDS,
    claim.UNSEEN_END: ENDS,
    claim.AMONG: ENDS,
    claim.WITHIN_HOURS: "the output of these jobs",
    claim.BEGAN_LATER: "the kernel's log or the clocks of the node, as to when it was quick again",
    claim.UNMEASURED: "the step lines of these jobs",
    claim.ALONE: "runs of the same configuration elsewhere",
}
OTHERWISE = {"restart": "who had these GPUs meanwhile", "slowdown": "more runs of the same configuration"}


def said_of_width(lines: Iterable[LossLine]) -> str:
    """One sentence, or empty where high is at most twice low.  Hours are GPU-hours."""
    low = high = 0.0
    parts: dict[tuple[str, str], tuple[float, set[object]]] = {}
    for line in lines:
        if line.kind not in WORDS:
            continue
        low, high = low + line.gpu_hours.low, high + line.gpu_hours.high
        notes = line.note.split("; ")
        open_one = next((note for note in NARROWED_BY if note in notes), "")
        hours, attempts = parts.get((line.kind, open_one), (0.0, set()))
        parts[line.kind, open_one] = hours + line.gpu_hours.high - line.gpu_hours.low, attempts | {line.attempt}
    if high <= WIDE * low:
        return ""
    (kind, note), (hours, attempts) = max(parts.items(), key=lambda each: (each[1][0], each[0]))
    why = note.partition(": ")[0] or "records do not tell it more exactly"
    source = NARROWED_BY.get(note) or OTHERWISE.get(kind, "more records")
    count = "1 attempt:" if len(attempts) == 1 else f"{len(attempts)} attempts, and of each holds:"
    return f"{high - low:,.1f} {BETWEEN}; {hours:,.1f} of them are {WORDS[kind]} of {count} {why}; {source} would narrow it."
