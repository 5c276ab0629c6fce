"""What Slurm says about jobs: jobcomp events, sacct rows, lines of slurmctld.log.  A job in, text out.

The same instant appears as UTC without zone (jobcomp), local with offset (sacct) and local without zone (slurmctld.log).  Who
cancelled a job is known to sacct (`CANCELLED by <uid>`) and to slurmctld.log, never to jobcomp.
"""

from typing import Any

from pipeline.simulate.clock import SECOND, local_offset, utc_second
from pipeline.simulate.work import CPUS_PER_GPU, MEMORY_PER_GPU_GIB, Job, fold

PARTITION = "h800"
SACCT_FIELDS = (
    "JobID",
    "JobIDRaw",
    "JobName",
    "User",
    "UID",
    "Account",
    "Partition",
    "QOS",
    "State",
    "ExitCode",
    "DerivedExitCode",
    "Submit",
    "Start",
    "End",
    "Elapsed",
    "Timelimit",
    "NNodes",
    "NodeList",
    "AllocTRES",
    "Restarts",
)
SACCT_HEADER = "|".join(SACCT_FIELDS)


def tres(job: Job) -> str:
    """What the job holds, as Slurm writes it."""
    cpus = job.gpus * CPUS_PER_GPU
    return f"billing={cpus},cpu={cpus},gres/gpu={job.gpus},mem={job.gpus * MEMORY_PER_GPU_GIB}G,node={job.nodes}"


def jobcomp(job: Job, cluster: str, *, finished: bool) -> dict[str, Any]:
    """The event of the jobcomp/kafka plugin: at the start, or at the end."""
    start = job.start if job.start is not None else job.end
    event: dict[str, Any] = {
        "jobid": job.id,
        "container": None,
        "username": job.owner.login,
        "user_id": job.owner.uid,
        "groupname": job.owner.team,
        "group_id": job.owner.gid,
        "@start": _utc(start),
    }
    if finished:
        event |= {"@end": _utc(job.end), "elapsed": _seconds(job)}
    event |= {
        "partition": PARTITION,
        "alloc_node": job.alloc_node,
        "nodes": fold(job.node_names) if job.shares else None,
        "total_cpus": job.gpus * CPUS_PER_GPU if job.shares else 0,
        "total_nodes": len(job.shares),
    }
    if finished:
        event |= {"derived_ec": job.derived, "exit_code": job.exit_code}
    event["state"] = job.state if finished else None
    event["failed_node"] = job.failed_node or None
    if finished:
        event["cpu_hours"] = round(job.hours() * job.gpus * CPUS_PER_GPU, 4)
    event |= {
        "@submit": _utc(job.submit),
        "@eligible": _utc(job.submit),
        "@queue_wait": max(0, ((start or job.submit) - job.submit) // SECOND),
        "qos": job.qos,
        "account": job.owner.team,
        "cluster": cluster,
        "work_dir": job.run.folder,
        "std_out": f"{job.run.folder}/slurm-%j.out" if job.id % 3 == 0 else job.stdout,
        "std_err": f"{job.run.folder}/slurm-%j.out" if job.id % 3 == 0 else job.stdout,
        "std_in": "/dev/null",
        "time_limit": job.limit,
        "job_name": job.name,
        "ntasks": job.nodes if job.launcher == "torchrun" else job.gpus,
        "priority": 100_000 + job.id % 997,
        "tres_req": tres(job),
        "tres_alloc": tres(job) if job.shares else "",
    }
    return event


def sacct_rows(job: Job, now: int) -> list[str]:
    """The job's rows of `sacct -P -D`: the job, its batch and extern steps, and step 0."""
    state = f"CANCELLED by {job.cancelled_by}" if job.state == "CANCELLED" else job.state
    if job.end is None:
        state = "RUNNING"
    fields = [str(job.id), str(job.id), job.name, job.owner.login, str(job.owner.uid), job.owner.team, PARTITION, job.qos, state]
    fields += [job.exit_code, job.derived, *_times(job, now), _limit(job.limit // 60), str(job.nodes)]
    fields += [fold(job.node_names) if job.shares else "None assigned", tres(job) if job.shares else "", str(job.restarts)]
    rows = ["|".join(fields)]
    if job.shares:
        step_state, step_exit = _step(job)
        for suffix, name, exit_code, nodes in (
            ("batch", "batch", job.exit_code if job.state != "COMPLETED" else "0:0", job.node_names[:1]),
            ("extern", "extern", "0:0", job.node_names),
            ("0", job.launcher, step_exit, job.node_names),
        ):
            state = step_state if suffix != "extern" or job.end is None else "COMPLETED"
            number = f"{job.id}.{suffix}"
            row = [number, number, name, "", "", job.owner.team, "", "", state, exit_code, "", *_times(job, now), ""]
            rows.append("|".join([*row, str(len(nodes)), fold(nodes), tres(job), ""]))
    return rows


def _step(job: Job) -> tuple[str, str]:
    if job.end is None:
        return "RUNNING", "0:0"
    if job.state in ("CANCELLED", "PREEMPTED", "TIMEOUT"):
        return "CANCELLED", "0:15"
    if job.state == "NODE_FAIL":
        return "CANCELLED", "0:0"
    return job.state, job.derived


def _times(job: Job, now: int) -> list[str]:
    start = "None" if not job.shares else _offset(job.start)
    elapsed = (now - job.start) // SECOND if job.end is None and job.start is not None else _seconds(job)
    return [_offset(job.submit), start, _offset(job.end), _limit_seconds(elapsed)]


def _utc(instant: int | None) -> str | None:
    return None if instant is None else utc_second(instant // SECOND)


def _offset(instant: int | None) -> str:
    return "Unknown" if instant is None else local_offset(instant)


def _seconds(job: Job) -> int:
    return 0 if job.start is None or job.end is None else (job.end - job.start) // SECOND


def _limit(minutes: int) -> str:
    return _limit_seconds(minutes * 60)


def _limit_seconds(seconds: int) -> str:
    days, rest = divmod(seconds, 86_400)
    text = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days}-{text}" if days else text
