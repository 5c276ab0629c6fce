"""Slurm: a queue, placement by GPU, preemption of scavenger jobs, requeues; and all that its three outputs say about it.

Jobs ask for whole nodes or for some GPUs of one, so small jobs of different people share nodes.  A job of quality of service
`high` that does not fit takes the place of `scavenger` jobs.  `end` is the only way out for a job, whatever ended it.

Holds: a GPU belongs to one job at a time; every job that started ends at most once; every end is in jobcomp at once, in sacct
within the hour, and in slurmctld.log as far as Slurm logs that kind of end.
"""

from collections.abc import Callable
from dataclasses import replace

from pipeline.simulate.clock import HOUR, MINUTE, SECOND, Process, local_ms
from pipeline.simulate.lines_slurm import PARTITION, SACCT_HEADER, jobcomp, sacct_rows
from pipeline.simulate.machines import Host
from pipeline.simulate.shipping import SCHEDULER, Events, Filebeat, RawLines
from pipeline.simulate.work import CPUS_PER_GPU, Fate, Job, Share, fold
from pipeline.simulate.world import CLUSTER, World

RANKING = {"high": 0, "normal": 1, "scavenger": 2}
SACCT_WINDOW = 70 * MINUTE
PREEMPTION_PATIENCE = 5 * MINUTE


class Slurm:
    """The controller.  `on_start` and `on_preempt` are what happens on the nodes then."""

    def __init__(
        self,
        world: World,
        on_start: Callable[[Job], None],
        on_preempt: Callable[[Job, bool], None],
        new_fate: Callable[[Job], Fate],
    ) -> None:
        self._world = world
        self._on_start = on_start
        self._on_preempt = on_preempt
        self._new_fate = new_fate
        self._next_id = 48_000 + world.dice("slurm").randrange(400)
        self._pass_due = False
        self._room_made: dict[int, int] = {}
        self.making_room_for: Job | None = None  # whom the jobs that are being preempted make room for
        self.queue: list[Job] = []
        self.running: dict[int, Job] = {}
        self._ended: list[Job] = []
        self.starts_untold = 0  # of so many jobs one has no start event: its nodes are known when it ends
        dice, shipper, host = world.dice("shipping"), world.shipper, world.controller.name
        self._ctld = Filebeat(shipper, dice, SCHEDULER, (1000, 5000), host=host, file="/var/log/slurm/slurmctld.log", family="slurmctld")
        self._jobcomp = Events(shipper, dice, SCHEDULER, (500, 3000), "jobcomp")
        self._sacct = RawLines(shipper, dice, SCHEDULER, (2000, 30_000), source="sacct", host=host, file="/var/log/slurm/sacct-export.txt")

    def log(self, *lines: str) -> None:
        """Write to slurmctld.log now."""
        now = self._world.now
        self._ctld.write(now, [f"[{local_ms(now)}] {line}" for line in lines])

    def new_id(self) -> int:
        """The next job id."""
        self._next_id += 1
        return self._next_id

    def submit(self, job: Job) -> None:
        """Accept a job into the queue."""
        job.submit = self._second()
        job.run.busy = True
        usec = self._world.dice("slurm").randrange(400, 2500)
        self.log(f"_slurm_rpc_submit_batch_job: JobId={job.id} InitPrio={100_000 + job.id % 997} usec={usec}")
        self.queue.append(job)
        self._look_soon()

    def owner_cancels_pending(self, job: Job) -> None:
        """The owner takes a waiting job back."""
        self.log(f"_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId={job.id} uid {job.owner.uid}")
        self.queue.remove(job)
        job.cause, job.over = "owner_cancel", True
        job.cancelled_by = job.owner.uid
        self._finish(job, "CANCELLED", "0:0", "0:0")

    def end(
        self, job: Job, state: str, exit_code: str, derived: str, cause: str, *, cancelled_by: int | None = None, failed_node: str = ""
    ) -> None:
        """A running job is over: free what it held and tell all outputs."""
        job.over = True
        job.cause, job.cancelled_by, job.failed_node = cause, cancelled_by, failed_node
        del self.running[job.id]
        for share in job.shares:
            share.host.free_gpus += share.gpus
            for pid in (share.stepd_pid, share.agent_pid, *(rank.pid for rank in share.ranks)):
                share.host.pids.release(pid)
        self._finish(job, state, exit_code, derived)
        self._look_soon()

    def complete_line(self, job: Job, how: str) -> None:
        """The controller notes how the batch script ended."""
        self.log(f"_job_complete: JobId={job.id} {how}", f"_job_complete: JobId={job.id} done")

    def requeue(self, job: Job) -> None:
        """The same job again: a new attempt under the same id, with a new submit time."""
        again = replace(
            job, start=None, end=None, restarts=job.restarts + 1, state="PENDING", exit_code="0:0", derived="0:0",
            cancelled_by=None, failed_node="", cause="", shares=[], over=False, protected=False,
        )  # fmt: skip
        again.fate = self._new_fate(again)
        again.submit = self._second()
        again.run.busy = True
        self.queue.append(again)
        self._look_soon()

    def _second(self) -> int:
        return self._world.now // SECOND * SECOND

    def _finish(self, job: Job, state: str, exit_code: str, derived: str) -> None:
        job.end = self._second()
        job.state, job.exit_code, job.derived = state, exit_code, derived
        job.run.busy = job.keeps_run
        self._jobcomp.write(self._world.now, jobcomp(job, CLUSTER, finished=True))
        self._ended.append(job)
        self._world.ledger.job(job)

    def _look_soon(self) -> None:
        if not self._pass_due:
            self._pass_due = True
            self._world.clock.start(self._look(), self._world.soon("slurm", 0.3, 4.0))

    def _look(self) -> Process:
        """One scheduling pass: the more important first, then the older; smaller ones may fill gaps."""
        self._pass_due = False
        for job in sorted(self.queue, key=lambda job: (RANKING[job.qos], job.submit, job.id)):
            hosts = self._place(job)
            if hosts is None and job.qos == "high" and self._make_room(job):
                break  # the victims need some seconds to go; their end causes the next pass
            if hosts is not None:
                self._start(job, hosts)
        return
        yield

    def _place(self, job: Job) -> list[Host] | None:
        wanted = job.gpus_per_node
        fitting = [host for host in self._world.gpu_hosts if host.is_up and host.free_gpus >= wanted]
        if len(fitting) < job.nodes:
            return None
        fitting.sort(key=lambda host: (host.free_gpus, host.name))
        return sorted(fitting[: job.nodes], key=lambda host: host.name)

    def _start(self, job: Job, hosts: list[Host]) -> None:
        self.queue.remove(job)
        self.running[job.id] = job
        job.start = self._second()
        job.state = "RUNNING"
        job.shares = [Share(host, job.gpus_per_node) for host in hosts]
        for share in job.shares:
            share.host.free_gpus -= share.gpus
        nodes, cpus = fold(job.node_names), job.gpus * CPUS_PER_GPU
        if job.id % 4:
            self.log(f"sched: Allocate JobId={job.id} NodeList={nodes} #CPUs={cpus} Partition={PARTITION}")
        else:
            self.log(f"sched/backfill: _start_job: Started JobId={job.id} in {PARTITION} on {nodes}")
        if not self.starts_untold or job.id % self.starts_untold:
            self._jobcomp.write(self._world.now, jobcomp(job, CLUSTER, finished=False))
        self._on_start(job)

    def _make_room(self, job: Job) -> bool:
        """Preempt scavenger jobs until `job` would fit; whole nodes first."""
        if self._room_made.get(job.id, 0) > self._world.now - PREEMPTION_PATIENCE:
            return True
        free = {host.name: host.free_gpus for host in self._world.gpu_hosts if host.is_up}
        victims: list[Job] = []
        candidates = [
            other
            for other in self.running.values()
            if other.qos == "scavenger" and not other.protected and not other.over and other.start is not None
            and self._world.now - other.start > 3 * MINUTE
        ]  # fmt: skip
        for other in sorted(candidates, key=lambda other: (-other.gpus_per_node, other.id)):
            victims.append(other)
            for share in other.shares:
                free[share.host.name] += share.gpus
            if sum(gpus >= job.gpus_per_node for gpus in free.values()) >= job.nodes:
                break
        else:
            return False
        self._room_made[job.id] = self._world.now
        self.making_room_for = job
        for other in victims:
            requeued = other.id % 2 == 0
            self.log(f"preempted JobId={other.id} has been {'requeued' if requeued else 'killed'} to reclaim resources for JobId={job.id}")
            self._on_preempt(other, requeued)
        return True

    def node_down(self, host: Host) -> list[Job]:
        """A node stopped answering; returns the jobs that were on it."""
        self.log(f"error: Nodes {host.name} not responding, setting DOWN")
        return [job for job in self.running.values() if host.name in job.node_names]

    def last_ended(self) -> Job | None:
        """The job that ended last, unless it has been queued again."""
        again = {*self.running, *(job.id for job in self.queue)}
        return next((job for job in reversed(self._ended) if job.shares and job.id not in again), None)

    def jobs_on(self, host: Host) -> list[Job]:
        """Who runs there now."""
        return [job for job in self.running.values() if host.name in job.node_names]

    def export_accounting(self) -> Process:
        """cron on the controller: sacct of the last 70 minutes, every hour at five past; neighbours overlap by ten minutes."""
        world = self._world
        yield (world.start // HOUR + 1) * HOUR + 5 * MINUTE
        while True:
            self.export_now()
            yield world.now + HOUR

    def export_now(self) -> None:
        """One run of the export."""
        now = self._world.now
        since = now - SACCT_WINDOW
        self._ended = [job for job in self._ended if job.end is None or job.end >= since]
        rows = [SACCT_HEADER]
        for job in sorted([*self._ended, *self.running.values()], key=lambda job: (job.id, job.submit)):
            rows += sacct_rows(job, now)
        self._sacct.write(now, rows)

    def tick(self, period: int = 5 * MINUTE) -> Process:
        """What the controller says when nothing happens."""
        while True:
            yield self._world.now + period
            self.log("debug:  sched: Running job scheduler for full queue.", "debug:  sched/backfill: _attempt_backfill: beginning")
