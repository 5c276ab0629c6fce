"""What people do on the cluster: runs that go on over many jobs, jobs that Slurm starts, checkpoints between them.

A run is a folder and a line of checkpoints; a job trains a run for a while.  A checkpoint's content is only its hash.  Whoever
writes the file changes the hash, and who that was is kept beside it, since the truth must know it and no log tells it in one
place.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pipeline.simulate.clock import HOUR
from pipeline.simulate.machines import Host
from pipeline.simulate.people import Person

if TYPE_CHECKING:
    from pipeline.simulate.wares import Effect

ENVIRONMENT = "/opt/env/torch24"
PYTHON = f"{ENVIRONMENT}/bin/python3.11"
TORCHRUN = f"{ENVIRONMENT}/bin/torchrun"
CPUS_PER_GPU = 16
MEMORY_PER_GPU_GIB = 128


class Fate(NamedTuple):
    """How a job is going to end, and when after its start (ms), unless something else ends it first."""

    kind: str
    after: int


@dataclass(slots=True, eq=False)
class Checkpoint:
    """One checkpoint file."""

    path: str
    iteration: int
    inode: int
    sha256: str
    tamper: "Tamper | None" = None


@dataclass(slots=True, eq=False)
class Tamper:
    """A write to a checkpoint by somebody who had no business there."""

    actor: Person
    time: int
    detail: dict[str, str]
    # What the bytes do to the job that loads them, and on whose account; of a simulated cluster only.
    effect: "Effect | None" = None


@dataclass(slots=True, eq=False)
class Run:
    """A training run: what its jobs have in common."""

    owner: Person
    number: int
    total_iterations: int
    step_ms: int
    save_every: int
    batch: int
    size_bytes: int
    rename_on_save: bool
    iteration: int = 0
    loss_shift: float = 0.0
    busy: bool = False
    checkpoints: list[Checkpoint] = field(default_factory=list)

    @property
    def folder(self) -> str:
        return f"/lustre/{self.owner.login}/run{self.number}"

    @property
    def checkpoint_folder(self) -> str:
        return f"/lustre/ckpt/{self.owner.login}/run{self.number}"


class Rank(NamedTuple):
    """One training process."""

    rank: int
    local_rank: int
    pid: int


@dataclass(slots=True, eq=False)
class Share:
    """A job's part of one node."""

    host: Host
    gpus: int
    stepd_pid: int = 0
    agent_pid: int = 0
    ranks: list[Rank] = field(default_factory=list)
    # Of how many ranks the repeated lines are written; thinning lowers it.
    told_max: int = 1_000_000

    @property
    def told(self) -> list[Rank]:
        """The ranks of which lines tell: all, unless lines are thinned."""
        return self.ranks[: self.told_max]


@dataclass(slots=True, eq=False)
class Job:
    """One attempt of a Slurm job; a requeue makes a new one with the same id.  Instants are UTC ms of whole seconds."""

    id: int
    owner: Person
    run: Run
    name: str
    qos: str
    nodes: int
    gpus_per_node: int
    limit: int
    fate: Fate
    has_probe: bool
    has_times: bool
    new_torch: bool
    launcher: str
    alloc_node: str
    submit: int = 0
    start: int | None = None
    end: int | None = None
    restarts: int = 0
    state: str = "PENDING"
    exit_code: str = "0:0"
    derived: str = "0:0"
    cancelled_by: int | None = None
    failed_node: str = ""
    cause: str = ""
    shares: list[Share] = field(default_factory=list)
    # Set by whoever ends the training; everything else about the job then stops by itself.
    over: bool = False
    # An act of interference is under way: preemption and node trouble stay away.
    protected: bool = False
    # Nobody else takes up the run when this job ends.
    keeps_run: bool = False

    @property
    def gpus(self) -> int:
        return self.nodes * self.gpus_per_node

    @property
    def stdout(self) -> str:
        return f"{self.run.folder}/slurm-{self.id}.out"

    @property
    def node_names(self) -> list[str]:
        return [share.host.name for share in self.shares]

    def hours(self) -> float:
        """Running time so far."""
        return 0.0 if self.start is None or self.end is None else (self.end - self.start) / HOUR


def fold(names: list[str]) -> str:
    """Slurm's short form of node names: `gpu-[001-003,007]`."""
    if len(names) == 1:
        return names[0]
    numbers = sorted(int(name.rsplit("-", 1)[1]) for name in names)
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    texts = [f"{part[0]:03d}" if len(part) == 1 else f"{part[0]:03d}-{part[-1]:03d}" for part in parts]
    return f"gpu-[{','.join(texts)}]"
