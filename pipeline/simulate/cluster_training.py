"""The training of a simulated cluster: arguments, environment, modules, dataset and checkpoint are loaded, then iterations pass.

What a job loads decides what befalls it: the effects of altered files are collected while it starts, and either change its numbers
(a sleep, another learning rate, a worse loss) or are handed to `strike`, which ends it.  Beside that there is what is normal on such a
machine: two jobs in five are slower than their siblings, some for a while, and a loss may jump by itself.
"""

import hashlib
import math
from collections.abc import Callable

from pipeline.simulate import lines_training as text
from pipeline.simulate.chronicle import Chronicle
from pipeline.simulate.clock import HOUR, MINUTE, Process, local_ms
from pipeline.simulate.plan import ITERATIONS_THIN_MAX
from pipeline.simulate.training import Training
from pipeline.simulate.wares import NUMBERS, Effect, Environment, File, ProjectJob, ProjectRun, Recipe
from pipeline.simulate.work import Checkpoint, Job
from pipeline.simulate.world import World

LINES_BEFORE_IT_SHOWS = 3
LINE_GAP = 100_000  # ms between iteration lines, before thinning
LOG_INTERVALS = (10, 20, 50)
PERSISTENT_STRAGGLERS, PASSING_STRAGGLERS, SPIKES = 0.30, 0.12, 0.03
Strike = Callable[[Job, str, Effect], Process]


class ClusterTraining(Training):
    """Runs the training of all jobs of a cluster."""

    def __init__(self, world: World, chronicle: Chronicle, thin: int) -> None:
        super().__init__(world)
        self._chronicle, self._waste = chronicle, chronicle.waste
        self._thin = thin
        self.strike: Strike  # set when the site is complete

    def run(self, job: Job) -> Process:
        """The life of a job's processes, from the prolog on."""
        if not isinstance(job, ProjectJob) or not isinstance(job.run, ProjectRun) or job.run.recipe is None:
            return
        run, recipe = job.run, job.run.recipe
        self._waste.began(job)
        yield self.after(1.5, 6.0)
        if job.over or job.fate.kind == "launch_failure":
            return
        for share in job.shares:
            share.told_max = 1 if job.nodes > 8 else max(1, math.ceil(share.gpus / self._thin))
        if job.holds_only:
            return
        job.effects = []
        self._start_processes(job)
        self._print_arguments(job, run, recipe)
        self._character(job)
        yield self.after(20, 90)
        if job.over:
            return
        self._read_dataset(job, run)
        if run.checkpoints:
            yield from self._load(job, run.checkpoints[-1])
        for path, effect in job.effects:
            if effect.kind not in NUMBERS:
                self.world.clock.start(self.strike(job, path, effect))
        yield from self._iterate(job, run, recipe)

    def _iterate(self, job: ProjectJob, run: ProjectRun, recipe: Recipe) -> Process:
        dice = self.dice
        numbers = [(path, effect) for path, effect in job.effects if effect.kind in NUMBERS]
        passing = (0, 0, 1.0)
        if dice.random() < PASSING_STRAGGLERS:
            begin = self.world.now + round(dice.uniform(0.1, 3) * HOUR)
            passing = (begin, begin + round(dice.uniform(10, 40) * MINUTE), dice.uniform(1.2, 1.8))
        spike = self.world.now + round(dice.uniform(0.2, 4) * HOUR) if dice.random() < SPIKES else 0
        next_save = run.iteration + run.save_every
        lines = 0
        for _, effect in numbers:
            if effect.kind != "sleep":
                self._waste.spoiled(job, effect.deed.id, self.world.now)
        while True:
            now = self.world.now
            factor = job.slowness * dice.uniform(0.98, 1.03) * max(share.host.slow for share in job.shares)
            if passing[0] <= now < passing[1]:
                factor *= passing[2]
            elapsed = run.step_ms * factor
            for _, effect in numbers:
                if effect.kind == "sleep":
                    elapsed += effect.strength * dice.gauss(1, 0.03)
            steps = job.log_every - run.iteration % job.log_every  # frameworks log when the iteration divides
            yield now + round(elapsed * steps)
            if job.over:
                return
            run.iteration += steps
            lines += 1
            self._note_slowness(job, now, elapsed, numbers)
            if spike and self.world.now > spike:
                spike, run.loss_shift = 0, dice.uniform(0.4, 2.0)
                self._chronicle.look_alike("loss_spike", "p10", job.owner, self.world.now, job)
            self.print(job, self._line(job, run, recipe, elapsed, numbers, lines))
            if lines == LINES_BEFORE_IT_SHOWS:
                for path, effect in numbers:
                    effect.deed.befell(job, self.world.now, f"{effect.kind} {path}")
            if run.iteration >= next_save:
                next_save = run.iteration + run.save_every
                yield from self._save(job)
                if job.over:
                    return

    def _note_slowness(self, job: ProjectJob, since: int, elapsed: float, numbers: list[tuple[str, Effect]]) -> None:
        """How much of the time since the last line acts have added to it."""
        now, slept = self.world.now, 0.0
        for _, effect in numbers:
            if effect.kind == "sleep":
                slept += effect.strength
                self._waste.slowed(job, effect.deed.id, since, now, effect.strength / elapsed)
        host = max((share.host for share in job.shares), key=lambda host: host.slow)
        if (act := self._waste.slow_nodes.get(host.name)) is not None:
            self._waste.slowed(job, act, since, now, (1 - slept / elapsed) * (1 - 1 / host.slow))

    def _save(self, job: Job) -> Process:
        before = job.run.checkpoints[-1:]
        yield from super()._save(job)
        if job.run.checkpoints[-1:] != before:
            self._waste.saved(job, job.run.checkpoints[-1], self.world.now)

    def _line(self, job: ProjectJob, run: ProjectRun, recipe: Recipe, elapsed: float, numbers: list[tuple[str, Effect]], lines: int) -> str:
        dice, iteration = self.dice, run.iteration
        loss = recipe.floor + 9.0 * math.exp(-iteration / 2500) + dice.gauss(0, 0.02) + run.loss_shift
        norm = abs(dice.gauss(1.1, 0.15)) + 6 * run.loss_shift
        run.loss_shift *= 0.9
        rate = recipe.learning_rate * run.rate_factor * max(0.1, 1 - iteration / (run.total_iterations * 1.1))
        samples = iteration * run.batch
        if run.rate_factor > 1:
            loss += 0.2 * math.log(run.rate_factor)
        for _, effect in numbers:
            if effect.kind in ("diverge", "loss"):
                loss += effect.strength * (1 - math.exp(-lines / 4))
                norm *= 1 + (2 * effect.strength if effect.kind == "diverge" else 0)
            elif effect.kind == "learning_rate":
                rate *= 1 + 2 * effect.strength
                loss += 0.3 * effect.strength * (1 - math.exp(-lines / 6))
            elif effect.kind == "seed":
                loss += 0.12 * effect.strength
            elif effect.kind == "batch":
                samples -= samples // 4
        prefix = f" [{local_ms(self.world.now).replace('T', ' ')}] iteration" if job.has_times else " iteration"
        return (
            f"{prefix} {iteration:8d}/{run.total_iterations:8d} | consumed samples: {samples:12d} | "
            f"elapsed time per iteration (ms): {elapsed:.1f} | learning rate: {rate:.3E} | global batch size: {run.batch:5d} | "
            f"lm loss: {loss:.6E} | loss scale: 1.0 | grad norm: {norm:.3f} | number of skipped iterations:   0 | "
            f"number of nan iterations:   0 |"
        )

    def _character(self, job: ProjectJob) -> None:
        """How this job is slower than its siblings, for no reason of anybody's."""
        dice = self.dice
        gap = LINE_GAP * min(self._thin, ITERATIONS_THIN_MAX)
        job.log_every = max((every for every in LOG_INTERVALS if every * job.run.step_ms <= 1.5 * gap), default=LOG_INTERVALS[0])
        job.slowness = dice.uniform(1.05, 1.35) if dice.random() < PERSISTENT_STRAGGLERS else 1.0
        if job.slowness > 1.2:
            self._chronicle.look_alike("straggler", "p09", job.owner, self.world.now, job)

    def _print_arguments(self, job: ProjectJob, run: ProjectRun, recipe: Recipe) -> None:
        project = run.project
        if project is None:
            return
        values = {
            "data_path": project.dataset.root,
            "global_batch_size": recipe.batch,
            "load": run.checkpoint_folder,
            "lr": recipe.learning_rate * run.rate_factor,
            "optimizer": "adam",
            "seed": recipe.seed + sum(effect.kind == "seed" for _, effect in job.effects),
            "train_iters": recipe.iterations,
            "world_size": job.gpus,
        }
        lines = [f"  {name} {'.' * (48 - len(name))} {value}" for name, value in values.items()]
        rule = "-" * 24
        self.print(job, f"{rule} arguments {rule}", *lines, f"{rule[:20]} end of arguments {rule[:20]}")
        if run.script_effect is not None:
            run.script_effect.deed.befell(job, self.world.now, f"arguments {run.folder}/{text.SCRIPT}")
            self._waste.spoiled(job, run.script_effect.deed.id, self.world.now)
            run.script_effect = None

    def _start_processes(self, job: Job) -> None:
        self._start_ranks(job)
        run = job.run
        if isinstance(run, ProjectRun) and run.project is not None and isinstance(job, ProjectJob):
            self._import(job, run.project.environment)

    def _import(self, job: ProjectJob, environment: Environment) -> None:
        """Hooks, variables and modules, as the interpreter meets them."""
        share = job.shares[0]
        host, pid, uid = share.host, share.ranks[0].pid, job.owner.uid
        if job.has_probe:
            for hook in environment.hooks:
                fields: dict[str, object] = {"hook": hook.kind, "path": hook.file.path, "sha256": hook.file.sha256, "size_bytes": 412}
                if hook.executes is not None:
                    fields["executes"] = hook.executes
                self.probe(host, "hook_found", job, pid=pid, uid=uid, **fields)
            for name, (value, _) in environment.variables.items():
                sha256 = hashlib.sha256(value.encode()).hexdigest()
                self.probe(host, "environment_set", job, pid=pid, uid=uid, name=name, sha256=sha256, value=value)
            script = f"{job.run.folder}/{text.SCRIPT}"
            version = job.run.script_version if isinstance(job.run, ProjectRun) else ""
            sha256 = hashlib.sha256(f"{script} {version}".encode()).hexdigest()
            self.probe(host, "module_imported", job, pid=pid, uid=uid, module="__main__", path=script, sha256=sha256)
            for file in environment.modules:
                module = file.path.removeprefix(f"{environment.site}/").removesuffix(".py").replace("/", ".")
                self.probe(host, "module_imported", job, pid=pid, uid=uid, module=module, path=file.path, sha256=file.sha256)
            if job.nodes > 1:
                self.probe(host, "socket_used", job, pid=pid, uid=uid, action="connect", address=host.address, port=29_500)
        for file in environment.files():
            self._meets(job, file)

    def _meets(self, job: ProjectJob, file: File) -> None:
        """The job has loaded a file; what its bytes do, they will do to it."""
        if file.deed is not None:
            file.deed.was_loaded(job, self.world.now, file.path)
        elif file.reverted is not None:
            file.reverted.was_loaded(job, self.world.now, file.path, reverted=True)
        if file.effect is not None and file.effect.strikes(job, self.dice):
            job.effects.append((file.path, file.effect))

    def _read_dataset(self, job: ProjectJob, run: ProjectRun) -> None:
        if run.project is None:
            return
        first = job.shares[0]
        self.print(job, f" > loading shards of {run.project.dataset.root}")
        for shard in run.project.dataset.shards:
            if job.has_probe:
                fields = {"pid": first.ranks[0].pid, "uid": job.owner.uid, "path": shard.path, "sha256": shard.sha256}
                self.probe(first.host, "checkpoint_loaded", job, **fields, size_bytes=8_589_934_592)
            self._meets(job, shard)

    def _load(self, job: Job, checkpoint: Checkpoint) -> Process:
        run = job.run
        highest = run.iteration
        run.iteration = checkpoint.iteration
        self.print(job, text.loading(run, checkpoint.iteration))
        yield self.after(4, 25)
        if job.over:
            return
        if job.has_probe:
            self._probe_checkpoint(job, "checkpoint_loaded", checkpoint.path, checkpoint.sha256)
        self.print(job, text.loaded(run, checkpoint.iteration))
        tamper = checkpoint.tamper
        effect = tamper.effect if tamper is not None else None
        undone = effect is not None and effect.kind == "rollback" and not effect.deed.is_content and highest > checkpoint.iteration
        self._waste.loaded(job, checkpoint, self.world.now, effect.deed.id if effect is not None and undone else "")
        if effect is None or not isinstance(job, ProjectJob):
            return
        if effect.kind == "weights":
            self._waste.spoiled(job, effect.deed.id, self.world.now)
        if effect.kind != "rollback" or highest > checkpoint.iteration:
            effect.deed.was_loaded(job, self.world.now, checkpoint.path)
        if effect.deed.is_content:
            return
        if effect.kind == "weights":
            run.loss_shift = self.dice.uniform(1.5, 4.0)
            effect.deed.befell(job, self.world.now, f"weights {checkpoint.path}")
        elif effect.kind == "rollback":
            effect.deed.befell(job, self.world.now, f"resumed from {checkpoint.iteration}, {highest} was reached")
        else:
            if job.has_probe:
                fields = {"pid": job.shares[0].ranks[0].pid, "uid": job.owner.uid, "path": checkpoint.path}
                module, name = ("posix", "system") if effect.kind == "shell" else ("builtins", "exec")
                self.probe(job.shares[0].host, "global_unpickled", job, module=module, name=name, **fields)
            job.effects.append((checkpoint.path, effect))


def held(world: World, job: Job) -> None:
    """Nothing else may happen to this job and its nodes: an act must be its only cause."""
    job.protected = True
    for share in job.shares:
        share.host.quiet_until = max(share.host.quiet_until, world.now + 2 * HOUR)
