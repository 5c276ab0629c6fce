"""A job's training while nothing is wrong: processes start, a checkpoint is loaded, iterations pass, checkpoints are saved.

Goes on until somebody sets `job.over`; whoever does that tells how it ended.  Saves are what real saves are: some overwrite the
file in place, some write beside it and rename, and some are asynchronous, so that the file is finished (and hashed again by the
probe) a while after the framework has said `successfully saved`.  Old checkpoints are deleted by the job itself.
"""

import math

import orjson

from pipeline.simulate import deeds
from pipeline.simulate import lines_training as text
from pipeline.simulate.clock import Process
from pipeline.simulate.deeds import Writer
from pipeline.simulate.lines_access import Program, Subject
from pipeline.simulate.machines import Host
from pipeline.simulate.shipping import TRAINING, Filebeat
from pipeline.simulate.work import ENVIRONMENT, PYTHON, Checkpoint, Job, Rank, Share
from pipeline.simulate.world import World

KEPT_CHECKPOINTS = 3
ITERATIONS_PER_LINE = 10
MODULES = (("torch.optim.adam", "torch/optim/adam.py"), ("megatron.core.optimizer", "megatron/core/optimizer/optimizer.py"))
RANK_PROGRAM = Program("python3", PYTHON, (PYTHON, "-u", text.SCRIPT))


class Training:
    """Runs the training of all jobs, and owns their output files."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dice = world.dice("training")
        self.files: dict[int, Filebeat] = {}

    def print(self, job: Job, *lines: str) -> None:
        """Write to the job's output file now."""
        world = self.world
        file = self.files.get(job.id)
        if file is None:
            host = job.node_names[0]
            file = Filebeat(world.shipper, world.dice("shipping"), TRAINING, (1000, 10_000), host=host, file=job.stdout, family="training")
            self.files[job.id] = file
        file.write(world.now, lines)

    def probe(self, host: Host, kind: str, job: Job, **fields: object) -> None:
        """One line of the probe on `host`."""
        now = self.world.now
        event = {"trainwatch_probe": 1, "kind": kind, "time_ms": now, "host": host.name, "job": str(job.id), **fields}
        host.probe.write(now, (orjson.dumps(event).decode(),))

    def run(self, job: Job) -> Process:
        """The life of a job's processes, from the prolog on."""
        dice, run = self.dice, job.run
        yield self.after(1.5, 6.0)
        if job.over or job.fate.kind == "launch_failure":
            return
        self._start_processes(job)
        yield self.after(20, 90)
        if job.over:
            return
        if run.checkpoints:
            yield from self._load(job, run.checkpoints[-1])
        next_save = run.iteration + run.save_every
        while True:
            slowness = dice.uniform(0.97, 1.06)
            yield self.world.now + round(run.step_ms * ITERATIONS_PER_LINE * slowness)
            if job.over:
                return
            run.iteration += ITERATIONS_PER_LINE
            self.print(job, self._progress(job, slowness))
            if run.iteration >= next_save:
                next_save = run.iteration + run.save_every
                yield from self._save(job)
                if job.over:
                    return

    def after(self, low: float, high: float) -> int:
        return self.world.soon("training", low, high)

    def _progress(self, job: Job, slowness: float) -> str:
        run, dice = job.run, self.dice
        loss = 1.9 + 9.0 * math.exp(-run.iteration / 2500) + dice.gauss(0, 0.03) + run.loss_shift
        run.loss_shift *= 0.97
        norm = abs(dice.gauss(1.1, 0.25)) + 6 * run.loss_shift
        return text.iteration(job, self.world.now, loss, norm, run.step_ms * slowness)

    def _start_ranks(self, job: Job) -> None:
        number = 0
        for share in job.shares:
            host = share.host
            share.stepd_pid = host.process(hold=True)
            if job.launcher == "torchrun":
                share.agent_pid = host.process(hold=True)
            for local in range(share.gpus):
                share.ranks.append(Rank(number, local, host.process(hold=True)))
                number += 1
            for rank in share.told:
                if job.has_probe:
                    fields = {"rank": rank.rank, "local_rank": rank.local_rank, "pid": rank.pid, "uid": job.owner.uid}
                    self.probe(host, "process_started", job, **fields)
                else:
                    self.print(job, text.nccl_start(share, rank))

    def _start_processes(self, job: Job) -> None:
        self._start_ranks(job)
        if job.has_probe:
            first = job.shares[0]
            for module, file in MODULES:
                path = f"{ENVIRONMENT}/lib/python3.11/site-packages/{file}"
                sha256, pid = self.world.content(path), first.ranks[0].pid
                self.probe(first.host, "module_imported", job, pid=pid, module=module, path=path, sha256=sha256)

    def _load(self, job: Job, checkpoint: Checkpoint) -> Process:
        run = job.run
        run.iteration = checkpoint.iteration
        self.print(job, text.loading(run, checkpoint.iteration))
        yield self.after(4, 25)
        if job.over:
            return
        if job.has_probe:
            self._probe_checkpoint(job, "checkpoint_loaded", checkpoint.path, checkpoint.sha256)
        self.print(job, text.loaded(run, checkpoint.iteration))
        if checkpoint.tamper is not None:
            run.loss_shift = self.dice.uniform(1.5, 4.0)
            self.world.ledger.tampered_load(job, checkpoint.tamper)

    def _save(self, job: Job) -> Process:
        """One save; a job that ends meanwhile leaves it half done."""
        world, run = self.world, job.run
        self.print(job, text.saving(run))
        path = f"{run.checkpoint_folder}/iter_{run.iteration:07d}.pt"
        checkpoint = Checkpoint(path, run.iteration, world.inode(), world.content(path, job.id, job.submit, "complete"))
        writer = rank_writer(job)
        asynchronous = job.has_probe and self.dice.random() < 0.15
        beside = f"{path}.tmp" if run.rename_on_save else path
        deeds.open_for_writing(writer, run, beside, checkpoint.inode, create=True)
        yield self.after(3, 20)
        if job.over:
            return
        if asynchronous:
            # The framework returns early: the probe hashes what is there so far, and again when the writer has finished.
            self._probe_checkpoint(job, "checkpoint_saved", path, world.content(path, job.id, job.submit, "partial"))
            self.print(job, text.saved(run))
            yield self.after(20, 70)
            if job.over:
                return
        if run.rename_on_save:
            deeds.rename(writer, run, beside, path, (checkpoint.inode, None))
        if job.has_probe:
            self._probe_checkpoint(job, "checkpoint_saved", path, checkpoint.sha256)
        if not asynchronous:
            self.print(job, text.saved(run))
        run.checkpoints = [known for known in run.checkpoints if known.path != path]
        run.checkpoints.append(checkpoint)
        while len(run.checkpoints) > KEPT_CHECKPOINTS:
            deeds.unlink(writer, run, run.checkpoints.pop(0))

    def _probe_checkpoint(self, job: Job, kind: str, path: str, sha256: str) -> None:
        first = job.shares[0]
        fields = {"pid": first.ranks[0].pid, "uid": job.owner.uid, "path": path, "sha256": sha256, "size_bytes": job.run.size_bytes}
        self.probe(first.host, kind, job, **fields)


def rank_writer(job: Job) -> Writer:
    """Rank 0 of a job, as a writer of files."""
    share: Share = job.shares[0]
    subject = Subject.daemon(job.owner.uid, job.owner.gid)
    return Writer(share.host, subject, (share.agent_pid or share.stepd_pid, share.ranks[0].pid), RANK_PROGRAM, job.run.folder)
