"""What different logs say of the same thing agrees: times, states, GPUs, process ids, serials, sessions."""

import re
from collections import defaultdict
from itertools import pairwise

from tests.unit.simulate.reading import LOCAL, UNSET, Told, instant

SECOND = 1000


def nodes_of(text: str) -> list[str]:
    """gpu-[001-003,007] as names."""
    names = []
    for part in text.removeprefix("gpu-").strip("[]").split(","):
        first, _, last = part.partition("-")
        names += [f"gpu-{number:03d}" for number in range(int(first), int(last or first) + 1)]
    return names


def test_jobcomp_and_accounting_tell_the_same_instants_and_states(told: Told) -> None:
    """Every ended attempt is in both, with equal submit, start, end, state and exit codes."""
    rows = {(row["JobID"], instant(row["Submit"])): row for row in told.accounting if "." not in row["JobID"] and row["End"] != "Unknown"}
    assert len(rows) == len(told.finishes)
    for event in told.finishes:
        row = rows[str(event["jobid"]), instant(event["@submit"])]
        assert instant(row["End"]) == instant(event["@end"])
        assert row["Start"] == "None" or instant(row["Start"]) == instant(event["@start"])
        assert row["State"].partition(" by ")[0] == event["state"]
        assert (row["ExitCode"], row["DerivedExitCode"]) == (event["exit_code"], event["derived_ec"])


def test_the_controller_allocates_in_the_second_that_jobcomp_calls_start(told: Told) -> None:
    """slurmctld.log's local milliseconds and jobcomp's UTC seconds are one clock."""
    allocated = {
        (found[1], time // SECOND)
        for time, text in told.controller
        if (found := re.match(r"sched: Allocate JobId=(\d+) |sched/backfill: _start_job: Started JobId=(\d+) ", text)) and found[1]
    }
    started = {(str(event["jobid"]), instant(event["@start"]) // SECOND) for event in told.jobcomp if "@end" not in event}
    assert allocated <= started
    assert len(allocated) > len(started) / 2


def test_every_cancel_is_told_alike_by_four_logs(told: Told) -> None:
    """A cancelled job that ran has its request, its farewell line, its state and its uid, in order and within a minute."""
    requests = defaultdict(list)
    for time, text in told.controller:
        if found := re.fullmatch(r"_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=(\d+) uid (\d+)", text):
            requests[found[1]].append((time, int(found[2])))
    uids = {(row["JobID"], instant(row["Submit"])): int(row["State"].split()[-1]) for row in told.accounting if " by " in row["State"]}
    cancelled = [event for event in told.finishes if event["state"] == "CANCELLED"]
    assert len(cancelled) > 50
    for event in cancelled:
        job, end = str(event["jobid"]), instant(event["@end"])
        time = next(time for time, uid in requests[job] if uid == uids[job, instant(event["@submit"])])
        assert 0 <= end + SECOND - time <= 60 * SECOND
        if event["nodes"] is not None:
            text = "\n".join(told.output[job])
            farewell = re.search(rf"JOB {job} ON \S+ CANCELLED AT (\S+) \*\*\*", text)
            assert farewell is not None
            assert abs(instant(farewell[1], LOCAL) - time) <= 5 * SECOND


def test_no_gpu_belongs_to_two_jobs_and_some_nodes_are_shared(told: Told) -> None:
    """At no time do the jobs on a node hold more than its eight GPUs."""
    changes: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for event in told.finishes:
        if event["nodes"] is None:
            continue
        total = re.search(r"gres/gpu=(\d+)", event["tres_alloc"])
        assert total is not None
        names = nodes_of(event["nodes"])
        each = int(total[1]) // len(names)
        for name in names:
            changes[name].append((instant(event["@end"]), 0, -each))
            changes[name].append((instant(event["@start"]), 1, each))
    shared = 0
    for name, steps in changes.items():
        held = jobs = 0
        for _, _, step in sorted(steps):
            held += step
            jobs += 1 if step > 0 else -1
            shared += jobs > 1
            assert 0 <= held <= 8, name
    assert shared > 20


def test_a_process_id_means_one_process_at_a_time_and_several_over_the_week(told: Told) -> None:
    """Ranks with one pid on one host belong to attempts that do not overlap; ids do come back."""
    lives: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for event in told.finishes:
        lives[str(event["jobid"])].append((instant(event["@start"]), instant(event["@end"])))
    again = 0
    for (host, pid), starts in told.ranks.items():
        spans = []
        for start in starts:
            ends = [end for begin, end in lives[start["job"]] if begin <= start["time_ms"] <= end + SECOND]
            spans.append((start["time_ms"], ends[0] if ends else told.week.end_ms))
        spans.sort()
        again += len(spans) > 1
        assert all(one[1] <= two[0] for one, two in pairwise(spans)), (host, pid)
    assert again > 0


def test_audit_serials_rise_and_restart_only_at_boot(told: Told) -> None:
    """In order of time a host's serials never repeat or fall, but for a boot."""
    by_host = defaultdict(list)
    for event in told.audit:
        by_host[event.host].append(event)
    boots = 0
    for events in by_host.values():
        before = 0
        for event in sorted(events, key=lambda event: (event.time, event.serial)):
            if "DAEMON_START" in event.kinds:
                before, boots = 0, boots + 1
            assert event.serial == before + 1 or before == 0
            before = event.serial
    assert boots == sum("now responding" in text for _, text in told.controller)


def test_every_host_is_heard_in_every_ten_minutes_unless_it_is_down(told: Told) -> None:
    """auditd and syslog leave a record in each bucket of ten minutes, so that silence means something."""
    bucket = 600_000
    first, last = told.week.start_ms // bucket + 1, told.week.end_ms // bucket - 1
    heard: dict[tuple[str, str], set[int]] = defaultdict(set)
    for event in told.audit:
        heard["auditd", event.host].add(event.time // bucket)
    for text in told.texts:
        if text.file == "/var/log/syslog":
            heard["syslog", text.host].add((text.collected - 5000) // bucket)
    downs = {match[1] for _, text in told.controller if (match := re.search(r"Nodes (\S+) not responding", text))}
    for (source, host), buckets in heard.items():
        if host not in downs and source == "auditd":
            assert not set(range(first, last)) - buckets, host
        assert len(buckets) > 0.97 * (last - first)
    assert len(heard) == 2 * 19


def test_sessions_tie_commands_to_logins(told: Told) -> None:
    """Whoever kills, writes or runs a command from a login had logged in on that host before, under that session number."""
    logins: dict[tuple[str, str, str], int] = {}
    for text in told.texts:
        if found := re.match(r"type=LOGIN msg=audit\((\d+\.\d+):\d+\): .* auid=(\d+) .* ses=(\d+) res=1", text.line):
            logins.setdefault((text.host, found[2], found[3]), round(float(found[1]) * 1000))
    acting = [event for event in told.audit if event.fields and int(event.fields["auid"]) != UNSET]
    assert len(acting) > 200
    for event in acting:
        assert logins[event.host, event.fields["auid"], event.fields["ses"]] <= event.time
