"""What to simulate, as a value: how long, how large, which acts of which pattern how strongly, and what of it does not arrive.

    p01=3,p09=2        three acts of P01 and two of P09
    silent             source families of which nothing arrives: jobcomp sacct slurmctld training probe auditd sshd kernel git_push
    thin               N: harmless bulk lines are written once where N would be (`Plan.factors` says which, and the truth file repeats it)

What is thinned is what repeats itself and accuses nobody: heartbeats of hosts, lines that every rank of a job writes, iteration lines.
Nothing that an act leaves is thinned.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType

from pipeline.errors import ConfigError

PATTERNS = tuple(f"p{number:02d}" for number in range(1, 19))
FAMILIES = ("jobcomp", "sacct", "slurmctld", "training", "probe", "auditd", "sshd", "kernel", "git_push")
PLOTS = ("campaign",)
START = datetime(2026, 3, 2, tzinfo=UTC)
GPUS_PER_HOST = 8
ITERATIONS_THIN_MAX = 3  # whatever else is thinned: of too few of them no pace can be told
DAYS_MIN = 1.0
_ACT = re.compile(r"(p[0-9]{2})=([0-9]{1,4})")


@dataclass(frozen=True, slots=True)
class Plan:
    """One period of one cluster.  Equal plans give equal bytes."""

    seed: int = 1
    days: float = 60.0
    gpus: int = 2000
    acts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    intensity: float = 1.0  # scales how many jobs an act befalls, and how strongly
    silent: frozenset[str] = frozenset()
    thin: int = 0  # 0: chosen from the size
    members: int = 64
    jobs_per_day: float = 0.0  # 0: 0.17 for each GPU, as at Acme and RSC
    start: datetime = START
    plot: str = ""  # a story of its own instead of acts: PLOTS

    def __post_init__(self) -> None:
        """Raises ConfigError for what cannot be simulated."""
        unknown = sorted({*self.acts} - {*PATTERNS}) or sorted(self.silent - {*FAMILIES})
        if unknown:
            known = f"Patterns: {', '.join(PATTERNS)}; sources: {', '.join(FAMILIES)}."
            raise ConfigError(f"unknown: {', '.join(unknown)}", advice=known)
        if self.days < DAYS_MIN or self.start.tzinfo is None or self.gpus < 4 * GPUS_PER_HOST or not 0.1 <= self.intensity <= 10:
            raise ConfigError(
                f"cannot simulate {self.days:g} days of {self.gpus} GPUs at intensity {self.intensity:g} from {self.start.isoformat()}",
                advice=f"Take {DAYS_MIN:.0f} day or more, {4 * GPUS_PER_HOST} GPUs or more, intensity 0.1 to 10, a start with an offset.",
            )
        if not 12 <= self.members <= 100 or self.thin < 0:
            raise ConfigError("members must be 12 to 100, and thin not negative", advice="Leave both to their defaults.")

    @property
    def name(self) -> str:
        """All of it but the seed, in one line: periods of equal names may be added up."""
        acts = ",".join(f"{pattern}={count}" for pattern, count in sorted(self.acts.items()) if count)
        return (
            f"days={self.days:g} gpus={self.gpus} acts={acts} intensity={self.intensity:g} silent={','.join(sorted(self.silent))} "
            f"thin={self.thinning} members={self.members} jobs_a_day={self.jobs_a_day:g} start={self.start.isoformat()}"
            f"{self.plot and f' plot={self.plot}'}"
        )

    @property
    def hosts(self) -> int:
        """Nodes with GPUs."""
        return max(4, round(self.gpus / GPUS_PER_HOST))

    @property
    def jobs_a_day(self) -> float:
        """Jobs that people submit on an average day."""
        return self.jobs_per_day or self.gpus * 0.17

    @property
    def thinning(self) -> int:
        """The factor: as asked for, else by the size, so that a large period stays at a few million lines."""
        if self.thin:
            return self.thin
        return 1 if self.days * self.hosts < 1000 else 3 if self.days * self.hosts < 5000 else 6

    @property
    def heartbeat_minutes(self) -> int:
        """How often a host says that it is there; settings of the site take it as the width of coverage."""
        return min(60, 10 * self.thinning)

    def factors(self) -> dict[str, int]:
        """What is thinned, and how much: one line stands for so many."""
        thin = self.thinning
        return {
            "host_heartbeats": self.heartbeat_minutes // 10,
            "iteration_lines": min(thin, ITERATIONS_THIN_MAX),
            "lines_of_each_rank": thin,
            "visitors_and_scanners": thin,
        }


def plan_of_plot(name: str, seed: int = 1, silent: frozenset[str] = frozenset()) -> Plan:
    """A story on a cluster that is as small as the story allows.  Raises ConfigError for an unknown one."""
    if name not in PLOTS:
        raise ConfigError(f"unknown plot: {name}", advice=f"Plots: {', '.join(PLOTS)}.")
    return Plan(seed=seed, days=60, gpus=288, silent=silent, thin=60, members=24, jobs_per_day=1.5, plot=name)


def parse_acts(text: str) -> dict[str, int]:
    """`p01=3,p09=2`, or `all=5`, as counts by pattern.  Raises ConfigError."""
    if (every := re.fullmatch(r"all=([0-9]{1,4})", text.strip())) is not None:
        return dict.fromkeys(PATTERNS, int(every[1]))
    counts: dict[str, int] = {}
    for part in filter(None, (part.strip().lower() for part in text.split(","))):
        found = _ACT.fullmatch(part)
        if found is None or found[1] not in PATTERNS:
            raise ConfigError(f"no such acts: {part!r}", advice="Write for example p01=3,p09=2 with patterns p01 to p18, or all=5.")
        counts[found[1]] = counts.get(found[1], 0) + int(found[2])
    return counts
