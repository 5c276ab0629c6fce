"""The site with everything that its stories share: clock, people, machines, shippers, tickets, and the ledger of the truth.

Chance comes from named streams, one per concern, each seeded from the seed and its name: a change in how people log in does not
change which jobs fail.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from pipeline.simulate.clock import LOCAL_ZONE, MINUTE, SECOND, Clock
from pipeline.simulate.machines import GPUS, Host
from pipeline.simulate.people import UNSET, People, Person, make_people
from pipeline.simulate.shipping import Shipper
from pipeline.simulate.truth import Act, JobTruth
from pipeline.simulate.work import Checkpoint, Job, Run, Tamper

CLUSTER = "main"
CHECKPOINT_ROOT = "/lustre/ckpt"


@dataclass(frozen=True, slots=True)
class Scale:
    """How large the site is and how much goes on there."""

    gpu_hosts: int = 16
    members: int = 25
    jobs_per_day: float = 120.0
    acts_per_kind: tuple[int, int] = (2, 4)
    broken_values: int = 20


class Ledger:
    """The truth as it comes about."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self.jobs: list[JobTruth] = []
        self._seen: dict[tuple[str, str, str], None] = {}

    def act(self, kind: str, actor: Person, job: Job, time: int, detail: dict[str, str]) -> None:
        """An act has had its effect.  The same actor's second reach for the same job is the same act."""
        if (key := (kind, actor.id, str(job.id))) not in self._seen:
            self._seen[key] = None
            self.acts.append(Act(f"{kind}-{job.id}-{actor.id}", kind, actor.id, str(job.id), job.submit, time, detail))

    def look_alike(self, kind: str, pattern: str, person: Person, time: int, job: Job | None = None, **where: str) -> None:
        """Something harmless happened that looks like an act of a pattern; kept by those who score by it."""

    def tampered_load(self, job: Job, tamper: Tamper) -> None:
        """A job has loaded bytes that somebody else wrote."""
        self.act("checkpoint_tamper", tamper.actor, job, tamper.time, tamper.detail)

    def job(self, job: Job) -> None:
        """A job has ended, or the period has."""
        self.jobs.append(JobTruth(str(job.id), job.submit, job.start, job.end, job.owner.id, job.state, job.cause))


@dataclass(slots=True, eq=False)
class World:
    """What every story can reach."""

    seed: int
    start: int
    end: int
    scale: Scale
    clock: Clock
    people: People
    shipper: Shipper
    gpu_hosts: list[Host]
    login_hosts: list[Host]
    controller: Host
    names: dict[int, str]
    ledger: Ledger = field(default_factory=Ledger)
    tickets: list[dict[str, Any]] = field(default_factory=list)
    runs: dict[str, list[Run]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)  # ids of those who have left
    _streams: dict[str, Random] = field(default_factory=dict)
    _inode: int = 144_115_205_322_833_920

    @property
    def now(self) -> int:
        return self.clock.now

    @property
    def hosts(self) -> list[Host]:
        return [*self.gpu_hosts, *self.login_hosts, self.controller]

    @property
    def staff(self) -> list[Person]:
        """Members who have not left."""
        return [person for person in self.people.members if person.id not in self.gone]

    def dice(self, stream: str) -> Random:
        """The stream of chance with this name."""
        if stream not in self._streams:
            self._streams[stream] = Random(f"{self.seed}/{stream}")
        return self._streams[stream]

    def soon(self, stream: str, low: float, high: float) -> int:
        """An instant between `low` and `high` seconds from now."""
        return self.clock.now + round(self.dice(stream).uniform(low, high) * SECOND)

    def person(self, uid: int) -> Person:
        """Who has this uid; only for the site's own people."""
        everybody = (*self.people.members, *self.people.admins, self.people.service, self.people.root)
        return next(person for person in everybody if person.uid == uid)

    def content(self, *parts: object) -> str:
        """The SHA-256 of bytes that do not exist: named by what made them."""
        return hashlib.sha256("/".join(map(str, (self.seed, *parts))).encode()).hexdigest()

    def inode(self) -> int:
        """A new inode number of the shared file system."""
        self._inode += 1
        return self._inode

    def ticket(self, admin: Person, *, hosts: tuple[str, ...] = (), jobs: tuple[str, ...] = ()) -> str:
        """Somebody opened a change ticket for what `admin` is about to do; returns its number."""
        number = f"CHG-{1001 + len(self.tickets)}"
        window = [(self.now - 10 * MINUTE), (self.now + 60 * MINUTE)]
        start, end = (datetime.fromtimestamp(instant // 1000, UTC).isoformat() for instant in window)
        self.tickets.append({"id": number, "identities": [admin.id], "start": start, "end": end, "hosts": list(hosts), "jobs": list(jobs)})
        return number

    def idle_checkpoint(self, stream: str, *, owner: Person | None = None) -> tuple[Run, Checkpoint] | None:
        """Some run that nobody trains just now, of somebody who has not left, and its newest checkpoint."""
        candidates = [
            run for runs in self.runs.values() for run in runs
            if run.checkpoints and not run.busy and (owner is None or run.owner is owner) and run.owner.id not in self.gone
        ]  # fmt: skip
        if not candidates:
            return None
        run = self.dice(stream).choice(candidates)
        return run, run.checkpoints[-1]

    def settings(self) -> dict[str, Any]:
        """What an operator of this site writes into trainwatch.yaml."""
        return {
            "sources": [
                {"name": "slurmctld", "topic": "logs.scheduler", "file": r"slurmctld\.log$", "cluster": CLUSTER, "zone": LOCAL_ZONE},
                {"name": "sacct", "topic": "logs.scheduler", "file": r"sacct", "cluster": CLUSTER, "zone": LOCAL_ZONE},
                {"name": "jobcomp", "topic": "logs.scheduler", "cluster": CLUSTER, "zone": "UTC"},
                {"name": "training", "topic": "logs.training", "file": r"slurm-\d+\.out$", "cluster": CLUSTER, "zone": LOCAL_ZONE},
                {"name": "probe", "topic": "logs.training", "program": "probe", "cluster": CLUSTER, "zone": "UTC"},
                {"name": "auditd", "topic": "logs.access", "program": "auditd", "cluster": CLUSTER, "zone": "UTC"},
                {"name": "syslog", "topic": "logs.access", "file": r"^/var/log/", "cluster": CLUSTER, "zone": "UTC"},
            ],
            "identities": self.people.settings(),
            "tickets": self.tickets,
            "artefact_roots": [{"path": CHECKPOINT_ROOT, "kind": "checkpoint", "owner": "", "writers": [self.people.service.id]}],
        }


def build_world(seed: int, start: int, end: int, scale: Scale, silent: frozenset[str] = frozenset()) -> World:
    """A site at rest; of the `silent` source families nothing will arrive."""
    clock = Clock(start)
    people = make_people(Random(f"{seed}/people"), scale.members)
    names = {person.uid: person.login for person in (*people.members, *people.admins, people.service, people.root)}
    names[UNSET] = "unset"
    shipper = Shipper(Random(f"{seed}/redelivery"))
    shipper.silent = silent

    def host(name: str, address: str, gpus: int) -> Host:
        return Host(name, address, gpus, clock, shipper, Random(f"{seed}/host/{name}"), names)

    return World(
        seed=seed,
        start=start,
        end=end,
        scale=scale,
        clock=clock,
        people=people,
        shipper=shipper,
        gpu_hosts=[
            host(f"gpu-{number:03d}", f"10.{30 + number // 250}.0.{number % 250 or 250}", GPUS) for number in range(1, scale.gpu_hosts + 1)
        ],
        login_hosts=[host(f"login-{number}", f"10.30.1.{number}", 0) for number in (1, 2)],
        controller=host("ctl-1", "10.30.2.1", 0),
        names=names,
    )
