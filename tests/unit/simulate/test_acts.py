"""The planted acts can be proved from the records, and nothing innocent looks like one of them."""

import re
from collections import defaultdict
from typing import Any

import pytest

from pipeline.simulate import Act, Expected, simulate
from tests.unit.simulate.reading import UNSET, Kill, Told, instant

MINUTE = 60_000
SERVICE = "ckpt-reshard"


def acts_of(told: Told, kind: str) -> list[Act]:
    """Planted acts of one kind; there are some."""
    acts = [act for act in told.week.acts if act.kind == kind]
    assert acts
    return acts


def finish_of(told: Told, act: Act) -> dict[str, Any]:
    """Jobcomp's event of the end of the victim's attempt."""
    found = [
        event for event in told.finishes if str(event["jobid"]) == act.victim_job and instant(event["@submit"]) == act.victim_submit_ms
    ]
    assert len(found) == 1
    return found[0]


def requests(told: Told) -> list[tuple[int, str, int]]:
    """(time, job, uid) of every cancel request."""
    shape = re.compile(r"_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=(\d+) uid (\d+)")
    return [(time, found[1], int(found[2])) for time, text in told.controller if (found := shape.fullmatch(text))]


def test_a_foreign_kill_leaves_its_signal_its_death_and_no_request(told: Told) -> None:
    """The signal names actor and rank; the job fails within the longest NCCL timeout; the scheduler had no part in it."""
    for act in acts_of(told, "foreign_kill"):
        pid, signal = int(act.detail["pid"]), int(act.detail["signal"])
        kills = [kill for kill in told.kills if (kill.host, kill.time, kill.target) == (act.detail["host"], act.event_time_ms, pid)]
        assert len(kills) == 1
        assert (told.identity[kills[0].auid], kills[0].signal, kills[0].success) == (act.actor, signal, True)
        finish = finish_of(told, act)
        assert told.identity[kills[0].target_uid] == finish["username"] != act.actor
        ended, begun = instant(finish["@end"]), instant(finish["@start"])
        assert finish["state"] == "FAILED"
        assert 0 <= ended + 1000 - act.event_time_ms <= 35 * MINUTE
        assert not [job for time, job, _ in requests(told) if job == act.victim_job and begun <= time <= ended]
        text = "\n".join(told.output[act.victim_job])
        assert f"exitcode: -{signal}) local_rank" in text or re.search(r"srun: error: gpu-\d+: task \d+: (Killed|Terminated)", text)
        assert not re.search(r"CANCELLED AT \S+ \*\*\*", text)
        assert (told.ranks.get((act.detail["host"], pid)) is not None) or f"(pid: {pid})" in text


def test_a_slow_kill_shows_after_the_watchdog() -> None:
    """Some victim without torchrun dies only when NCCL gives up, ten or thirty minutes later."""
    slow = []
    for seed in (11, 14):
        week = simulate(seed, 2)
        ends = {(job.job, job.submit_ms): job.end_ms for job in week.jobs}
        for act in week.acts:
            if act.kind == "foreign_kill" and act.detail["hang_ms"] != "0":
                end = ends[act.victim_job, act.victim_submit_ms]
                assert end is not None
                assert 0 < end - act.event_time_ms - int(act.detail["hang_ms"]) < MINUTE
                slow.append(act)
    assert slow


def test_a_foreign_cancel_has_its_command_request_and_effect(told: Told) -> None:
    """scancel on a login node, the request in the controller's log, `CANCELLED by` the same uid."""
    for act in acts_of(told, "foreign_cancel"):
        uid = next(uid for uid, name in told.identity.items() if name == act.actor)
        commands = [
            event
            for event in told.audit
            if event.host == act.detail["host"] and event.fields.get("syscall") == "59" and event.time == act.event_time_ms
        ]
        assert [event.fields["auid"] for event in commands] == [str(uid)]
        assert [time for time, job, by in requests(told) if (job, by) == (act.victim_job, uid)]
        finish = finish_of(told, act)
        assert (finish["state"], finish["username"] != act.actor) == ("CANCELLED", True)
        rows = [row for row in told.accounting if row["JobID"] == act.victim_job and instant(row["Submit"]) == act.victim_submit_ms]
        assert {row["State"] for row in rows if row["End"] != "Unknown"} == {f"CANCELLED by {uid}"}


def test_a_refused_cancel_has_its_refusal_and_the_job_goes_on(told: Told) -> None:
    """Request and both lines of the refusal share a millisecond; whoever means it tries for ten minutes; the victim completes."""
    for act in acts_of(told, "refused_cancel"):
        uid = next(uid for uid, name in told.identity.items() if name == act.actor)
        times = [time for time, job, by in requests(told) if (job, by) == (act.victim_job, uid)]
        assert (len(times), times[0]) == (int(act.detail["tries"]), act.event_time_ms)
        assert len(times) >= 3
        assert times[-1] - times[0] >= 10 * MINUTE
        lines = [text for time, text in told.controller if time == act.event_time_ms and act.victim_job in text]
        assert [f"uid {uid}" in text or f"uid={uid}" in text for text in lines] == [True, True, True]
        assert "Security violation" in lines[1]
        assert "Access/permission denied" in lines[2]
        assert finish_of(told, act)["state"] == "COMPLETED"


def test_a_tampered_checkpoint_is_saved_written_and_loaded(told: Told) -> None:
    """The probe tells other bytes at load than at save; between them the actor's write, whenever it was delivered."""
    for act in acts_of(told, "checkpoint_tamper"):
        path = act.detail["path"]
        saved = [event for event in told.probe if event["kind"] == "checkpoint_saved" and event["path"] == path]
        loads = [
            event
            for event in told.probe
            if event["kind"] == "checkpoint_loaded" and (event["path"], event["job"]) == (path, act.victim_job)
        ]
        assert saved[-1]["time_ms"] < act.event_time_ms < loads[0]["time_ms"]
        assert saved[-1]["sha256"] != loads[0]["sha256"]
        writes = [touch for touch in told.touches if touch.path == path and touch.time == act.event_time_ms]
        assert [told.identity[touch.auid] for touch in writes] == [act.actor]
        assert writes[0].collected - writes[0].time >= int(act.detail["late_ms"])


def test_expected_findings_name_detector_job_and_actor(told: Told) -> None:
    """One finding per act; a refused attempt belongs to the detector of cancels, and names who went on trying."""
    expected = told.week.expected_findings()
    assert len(expected) == len(told.week.acts)
    for act in acts_of(told, "refused_cancel"):
        assert Expected("p03_foreign_cancel", act.victim_job, act.actor) in expected


# --- nothing else looks like an act ---------------------------------------------------------------------------------------------


def is_planted(told: Told, kill: Kill) -> bool:
    """Whether the truth knows of this signal."""
    return any(act.kind == "foreign_kill" and (act.detail["host"], act.event_time_ms) == (kill.host, kill.time) for act in told.week.acts)


def test_no_innocent_signal_from_a_login_reaches_somebody_elses_process(told: Told) -> None:
    """A successful signal from a login to another user's process is planted, covered by a ticket, or only asks (signal 0)."""
    foreign = [kill for kill in told.kills if kill.success and kill.signal and kill.auid not in (UNSET, kill.target_uid)]
    unexplained = [
        kill for kill in foreign if not is_planted(told, kill) and not told.is_covered(told.identity[kill.auid], kill.time, host=kill.host)
    ]
    assert unexplained == []
    assert len(foreign) > len(acts_of(told, "foreign_kill"))


def test_signals_without_login_come_from_slurm_as_root_or_from_the_owners_own_processes(told: Told) -> None:
    """A daemon that signals ranks is slurmstepd or the epilog; everything else without a login acts on its own user's processes."""
    for kill in told.kills:
        if kill.auid == UNSET:
            assert (kill.uid == 0 and kill.comm in ("slurmstepd", "epilog.sh")) or kill.uid == kill.target_uid


def test_no_innocent_request_concerns_somebody_elses_job(told: Told) -> None:
    """Whoever asks to cancel a job owns it, is an admin with a ticket, or is planted."""
    owners = {str(event["jobid"]): event["user_id"] for event in told.jobcomp}
    planted = {(act.victim_job, act.actor) for act in told.week.acts if act.kind in ("foreign_cancel", "refused_cancel")}
    for time, job, uid in requests(told):
        actor = told.identity[uid]
        assert uid == owners[job] or (job, actor) in planted or told.is_covered(actor, time, job=job)


def test_every_load_of_other_bytes_has_an_explanation_in_the_records(told: Told) -> None:
    """Bytes that differ from the last save were written by the actor of an act, the owner, the service, or under a ticket."""
    saves: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for event in told.probe:
        if event["kind"] == "checkpoint_saved":
            saves[event["path"]].append((event["time_ms"], event["sha256"]))
    owner_of = {(event["work_dir"].replace("/lustre/", "/lustre/ckpt/")): event["user_id"] for event in told.jobcomp}
    planted = {(act.victim_job, act.detail.get("path")) for act in told.week.acts if act.kind == "checkpoint_tamper"}
    seen: dict[str, int] = defaultdict(int)
    for event in told.probe:
        path = event.get("path")
        if event["kind"] != "checkpoint_loaded" or path not in saves:
            continue
        saved_at, saved = max(save for save in saves[path] if save[0] < event["time_ms"])
        if saved == event["sha256"]:
            seen["same"] += 1
            continue
        writers = [touch for touch in told.touches if touch.path == path and touch.success and saved_at < touch.time < event["time_ms"]]
        last = max(writers, key=lambda touch: touch.time)
        actor = told.identity[last.uid if last.auid == UNSET else last.auid]
        if (event["job"], path) in planted:
            seen["planted"] += 1
        elif last.auid == UNSET:
            assert actor == SERVICE
            seen["service"] += 1
        elif last.auid == owner_of[path.rsplit("/", 1)[0]]:
            seen["owner"] += 1
        else:
            assert told.is_covered(actor, last.time, host=last.host)
            seen["ticket"] += 1
    assert set(seen) == {"same", "planted", "service", "owner", "ticket"}


@pytest.mark.parametrize("seed", [21, 22, 23])
def test_innocence_holds_on_other_seeds(seed: int) -> None:
    """The same on shorter periods of other seeds: signals and requests."""
    told = Told(simulate(seed, 2))
    for kill in told.kills:
        if kill.success and kill.signal and kill.auid not in (UNSET, kill.target_uid):
            assert is_planted(told, kill) or told.is_covered(told.identity[kill.auid], kill.time, host=kill.host)
    test_no_innocent_request_concerns_somebody_elses_job(told)


def test_acts_have_one_cause(told: Told) -> None:
    """No hardware trouble, out-of-memory kill or other request befalls a victim's nodes around its death."""
    for act in [*acts_of(told, "foreign_kill"), *acts_of(told, "foreign_cancel")]:
        finish = finish_of(told, act)
        end = instant(finish["@end"])
        nodes = set(re.findall(r"gpu-\d{3}", finish["nodes"])) or {act.detail["host"]}
        for text in told.texts:
            if text.host in nodes and abs(text.collected - end) < 15 * MINUTE and (found := re.search(r"Xid \(\S+\): (\d+)", text.line)):
                assert found[1] in ("13", "31", "45")
