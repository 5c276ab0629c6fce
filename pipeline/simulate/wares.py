"""What people share and depend on: projects with their environment, dataset and recipes; and what altered bytes do to those who load them.

An environment is a folder of modules on the shared file system that its maintainer installs into, with hooks that the interpreter
runs and variables that a profile sets.  A dataset is a folder of shards that nobody changes once it is published.  Content is only a
hash; an `Effect` hangs on the file that causes it, and lasts as long as that content does.

A recipe is a configuration: runs with equal arguments, whose losses lie in one band.
"""

from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from pipeline.simulate.chronicle import Deed
from pipeline.simulate.people import Person
from pipeline.simulate.work import Job, Run
from pipeline.simulate.world import World

ENVIRONMENT_ROOT = "/lustre/env"
DATA_ROOT = "/lustre/data"
MODULES = (
    "torch/optim/adamw.py",
    "megatron/core/optimizer/optimizer.py",
    "megatron/core/pipeline_parallel/schedules.py",
    "megatron/core/datasets/gpt_dataset.py",
    "megatron/training/checkpointing.py",
)
SHARDS = 4
NUMBERS = frozenset(
    {"sleep", "diverge", "learning_rate", "batch", "seed", "loss"}
)  # that change how a job goes, as long as the bytes are there
NAMES = ("alder", "birch", "cedar", "elm", "fir", "hazel", "juniper", "larch", "maple", "oak", "pine", "rowan")


@dataclass(slots=True, eq=False)
class Effect:
    """What bytes do to a job that loads them."""

    kind: str  # crash | exit | segfault | kill | shell | sleep | diverge | learning_rate | batch | seed | loss | decode
    deed: Deed
    gpus_min: int = 1
    share: float = 1.0
    strength: float = 1.0

    def strikes(self, job: Job, dice: Random) -> bool:
        """Does it befall this job?  Never the actor's own, nor, where it ends them, more jobs than it is meant for."""
        deed = self.deed
        if (deed.is_content and self.kind not in NUMBERS) or job.owner is deed.actor or job.gpus < self.gpus_min or job.protected:
            return False
        return self.share >= 1 or dice.random() < self.share


@dataclass(slots=True, eq=False)
class File:
    """A shared file."""

    path: str
    owner: Person
    inode: int
    sha256: str
    effect: Effect | None = None
    original: str = ""
    deed: Deed | None = None  # whose bytes these are, when they are not its owner's
    reverted: Deed | None = None  # whose hand wrote them last, although they are the owner's again


@dataclass(slots=True, eq=False)
class Hook:
    """A file that the interpreter runs before the job's own code."""

    kind: str  # sitecustomize | usercustomize | pth
    file: File
    executes: bool | None = None


@dataclass(slots=True, eq=False)
class Environment:
    """A shared installation."""

    root: str
    maintainer: Person
    modules: list[File]
    hooks: list[Hook] = field(default_factory=list)
    variables: dict[str, tuple[str, File]] = field(default_factory=dict)
    # An act or a release is under way: another one would give jobs two causes.
    claimed: bool = False

    @property
    def site(self) -> str:
        return f"{self.root}/lib/python3.11/site-packages"

    def files(self) -> list[File]:
        """All files that a job meets when it starts."""
        return [*self.modules, *(hook.file for hook in self.hooks), *(file for _, file in self.variables.values())]


@dataclass(slots=True, eq=False)
class Dataset:
    """A published dataset."""

    root: str
    owner: Person
    shards: list[File]
    claimed: bool = False


class Recipe(NamedTuple):
    """A configuration that several runs share."""

    name: str
    seed: int
    learning_rate: float
    batch: int
    iterations: int
    step_ms: int
    floor: float  # where the loss is going


@dataclass(slots=True, eq=False)
class Project:
    """People who work on one thing, and what they share."""

    name: str
    team: str
    members: tuple[Person, ...]
    environment: Environment
    dataset: Dataset
    recipes: tuple[Recipe, ...]
    trains_large: bool = False


@dataclass(slots=True, eq=False)
class ProjectRun(Run):
    """A run of a recipe, always of one shape."""

    project: Project | None = None
    recipe: Recipe | None = None
    nodes: int = 1
    gpus_per_node: int = 1
    rate_factor: float = 1.0  # what the arguments of the script say, against the recipe
    script_version: str = ""  # who edited it last, and when
    script_effect: Effect | None = None


@dataclass(slots=True, eq=False)
class ProjectJob(Job):
    """A job of such a run, with what befalls it."""

    effects: list[tuple[str, Effect]] = field(default_factory=list)  # (path, effect)
    slowness: float = 1.0
    log_every: int = 10
    holds_only: bool = False  # it takes its GPUs and does nothing


def build_projects(world: World, dice: Random) -> list[Project]:
    """The projects of the site, three of each team; every third trains large models.  Members of a team work for one to three of them."""
    teams: dict[str, list[Person]] = {}
    for person in world.people.members:
        teams.setdefault(person.team, []).append(person)
    names = [*teams]
    projects = []
    for number, name in enumerate(NAMES):
        team = names[number % len(names)]
        project = _project(world, dice, name, team, teams[team])
        project.trains_large = number % 3 == 0
        projects.append(project)
    return projects


def _project(world: World, dice: Random, name: str, team: str, people: list[Person]) -> Project:
    members = tuple(dice.sample(people, max(3, len(people) * 2 // 3)))
    maintainer, publisher = members[0], members[1]
    root = f"{ENVIRONMENT_ROOT}/{name}"
    modules = [new_file(world, f"{root}/lib/python3.11/site-packages/{path}", maintainer) for path in MODULES]
    data = f"{DATA_ROOT}/{name}"
    shards = [new_file(world, f"{data}/shard-{number:03d}.npz", publisher) for number in range(SHARDS)]
    recipes = tuple(_recipe(dice, name, kind) for kind in ("pretrain-7b", "sft-13b", "ablation"))
    return Project(name, team, members, Environment(root, maintainer, modules), Dataset(data, publisher, shards), recipes)


def _recipe(dice: Random, project: str, kind: str) -> Recipe:
    return Recipe(
        name=f"{project}-{kind}",
        seed=dice.randrange(1000, 9999),
        learning_rate=dice.choice((1.0e-4, 1.5e-4, 3.0e-4)),
        batch=dice.choice((64, 256, 512, 1024)),
        iterations=dice.choice((20_000, 50_000, 100_000)),
        step_ms=round(dice.uniform(6000, 20_000)),
        floor=round(dice.uniform(1.7, 2.2), 2),
    )


def new_file(world: World, path: str, owner: Person) -> File:
    """A file as its owner made it."""
    sha256 = world.content(path, owner.id, world.now)
    return File(path, owner, world.inode(), sha256, original=sha256)
