"""The truth of a simulated cluster as it comes about: acts with their victims, look-alikes, and why every job ended.

It is kept apart from the lines, and no line is made from it.  Stories open an act when it is planned, add what they do, and add a
victim at the moment at which the act takes effect on a job; an act that never had an effect stands there without victims.

    {"truth": "run" | "act" | "look_alike" | "job" | "waste", ...}        truth.jsonl, one object a line
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.simulate.people import Person
from pipeline.simulate.truth import JobTruth
from pipeline.simulate.waste import Waste
from pipeline.simulate.work import Job, Tamper
from pipeline.simulate.world import CLUSTER, Ledger

# What each source shows of an act of a pattern, when it arrives; the stories write exactly this.
SHOWS: dict[str, dict[str, str]] = {
    "p01": {
        "auditd": "kill by the actor's login uid on a rank of another owner",
        "training": "one rank ends by the signal, the launcher ends its siblings",
        "sshd": "login and sudo or su of the actor on the node",
        "sacct": "FAILED with 0:9 or 1:0, no cancel request",
    },
    "p02": {
        "auditd": "kill that carries the victim's uid, sent by the rank itself; earlier a write of the artefact by the actor",
        "probe": "signal_requested by the rank; the artefact's new hash; a global unpickled",
        "training": "a rank ends by the signal, without a traceback",
    },
    "p03": {
        "slurmctld": "REQUEST_KILL_JOB of a non-owner; Security violation when refused",
        "sacct": "CANCELLED by the actor's uid",
        "auditd": "scancel in the actor's session",
        "sshd": "login of the actor",
    },
    "p04": {
        "auditd": "write below site-packages by a login that does not maintain the environment",
        "probe": "module_imported with another hash from then on",
        "training": "jobs on this environment end with a traceback in the module",
    },
    "p05": {
        "auditd": "write of a start-up hook or profile by a login that does not maintain the environment",
        "probe": "hook_found or environment_set that was not there before",
        "training": "jobs on this environment end",
    },
    "p06": {
        "auditd": "write or rename of the checkpoint by another login, between save and load",
        "probe": "hash at load is not the hash at save",
        "training": "loss and gradient norm step on resume",
    },
    "p07": {
        "probe": "global_unpickled posix.system, process_spawned sh, socket_used",
        "auditd": "write of the checkpoint by the actor; a shell below the rank as the victim; write of authorized_keys",
        "sshd": "login as the victim with the actor's key",
    },
    "p08": {
        "auditd": "unlink or rename in the run's folder by another login",
        "training": "resume from an older iteration than the last saved, iterations repeated",
    },
    "p09": {
        "training": "elapsed time per iteration is longer by a discrete amount in all jobs with the version, and in no other",
        "auditd": "write below site-packages by the actor before onset",
        "probe": "module_imported with another hash",
    },
    "p10": {
        "training": "learning rate, samples, loss or gradient norm leave the band of runs with equal arguments",
        "auditd": "write below site-packages by the actor before onset",
        "probe": "module_imported with another hash",
    },
    "p11": {
        "auditd": "write of a shard of an immutable dataset by another login",
        "probe": "checkpoint_loaded of the shard with another hash",
        "training": "decode errors, or a loss above that of runs with equal arguments",
    },
    "p12": {
        "slurmctld": "update of the job by a non-owner",
        "sacct": "another time limit; TIMEOUT",
        "git_push": "push of the launch script by a non-owner",
        "training": "arguments differ from those of the previous attempt",
        "probe": "the script is imported as __main__ with another hash",
        "auditd": "scontrol or a write of the script in the actor's session",
    },
    "p13": {
        "slurmctld": "many submissions of one user within the hour; victims preempted for them",
        "jobcomp": "short-lived jobs of one user with quality of service high",
        "sacct": "PREEMPTED victims",
    },
    "p14": {
        "sshd": "sudo nvidia-smi -pl, tc qdisc or a cgroup edit by the actor on the node",
        "auditd": "the command as root in the actor's login",
        "training": "iterations on that node take longer from then on",
    },
    "p15": {
        "auditd": "small writes to shared modules over weeks, none while the actor is away",
        "probe": "module_imported with hashes that come and go",
        "training": "jobs above the size end or slow down at random steps, small ones do not",
    },
    "p16": {
        "auditd": "the actor reads the incident page, then writes an artefact, round after round",
        "probe": "new hooks and module hashes after each round",
        "training": "another symptom after each diagnosis",
    },
    "p17": {
        "sshd": "login after the last day, with another person's key, or from two places at once",
        "auditd": "login and scancel of that session",
        "slurmctld": "REQUEST_KILL_JOB as the owner",
        "sacct": "CANCELLED by the owner's uid",
    },
    "p18": {
        "auditd": "CONFIG_CHANGE or DAEMON_END with the actor's login, then nothing for as long as it lasts",
        "sshd": "login and sudo of the actor",
        "training": "a rank ends by a signal that no audit record tells",
    },
}
# Patterns of which the probe tells in a job that was harmed, and in no other.
SHOWN_BY_VICTIMS = frozenset({"p02"})


@dataclass(frozen=True, slots=True)
class Victim:
    """An attempt that an act had an effect on, named as the scheduler names it."""

    cluster: str
    job: str
    submit_ms: int
    start_ms: int | None
    owner: str
    time_ms: int
    effect: str
    probe: bool  # did it run with the probe, which says what it loads?


Run = tuple[str, int]  # job, submit: an attempt loads what there is once


@dataclass(slots=True, eq=False)
class Deed:
    """One planted act: of which pattern, by whom, on whom, with what.  Grows while the period goes on."""

    id: str
    pattern: str
    actor: Person
    not_before_ms: int
    wanted: int  # how many victims it is content with
    attributable: bool = True
    why_not: str = ""
    victims: list[Victim] = field(default_factory=list)
    exposed: dict[Run, Victim] = field(default_factory=dict)  # loaded what the actor had altered, whether or not it did anything to them
    after_revert: dict[Run, Victim] = field(default_factory=dict)  # loaded the old bytes, put back by the actor: the last hand is foreign
    artefacts: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    windows_ms: list[list[int]] = field(default_factory=list)
    detail: dict[str, str] = field(default_factory=dict)
    also: list[str] = field(default_factory=list)  # other patterns that the same traces fit
    is_open: bool = True

    def did(self, time: int, artefact: str = "", host: str = "") -> None:
        """The actor did something at `time`."""
        self.times_ms.append(time)
        if artefact and artefact not in self.artefacts:
            self.artefacts.append(artefact)
        if host and host not in self.hosts:
            self.hosts.append(host)

    def befell(self, job: Job, time: int, effect: str) -> None:
        """The act took effect on a job, which is counted once."""
        if all((victim.job, victim.submit_ms) != (str(job.id), job.submit) for victim in self.victims):
            self.victims.append(Victim(CLUSTER, str(job.id), job.submit, job.start, job.owner.id, time, effect, job.has_probe))

    def was_loaded(self, job: Job, time: int, artefact: str, *, reverted: bool = False) -> None:
        """A job loads what the act has altered, or altered and put back."""
        known, run = self.after_revert if reverted else self.exposed, (str(job.id), job.submit)
        if run not in known:
            known[run] = Victim(CLUSTER, *run, job.start, job.owner.id, time, artefact, job.has_probe)

    @property
    def is_content(self) -> bool:
        return len(self.victims) >= self.wanted

    def as_json(self, silent: frozenset[str]) -> dict[str, Any]:
        """The act as it stands in the truth file.

        Files that only jobs without the probe met, the probe does not show; nor a signal, but in the job that it ended.
        """
        shown = SHOWS[self.pattern]
        met = self.victims if self.pattern in SHOWN_BY_VICTIMS else [*self.victims, *self.exposed.values()]
        if self.artefacts and met and not any(each.probe for each in met):
            silent = silent | {"probe"}
        return {
            "truth": "act",
            "id": self.id,
            "pattern": self.pattern,
            "also": self.also,
            "actor": self.actor.id,
            "attributable": self.attributable,
            "why_not": self.why_not,
            "effective": bool(self.victims),
            "victims": [asdict(victim) for victim in self.victims],
            "exposed": [asdict(each) for each in self.exposed.values()],
            "after_revert": [asdict(each) for each in self.after_revert.values()],
            "artefacts": self.artefacts,
            "hosts": self.hosts,
            "times_ms": sorted(self.times_ms),
            "windows_ms": self.windows_ms,
            "first_effect_ms": min((victim.time_ms for victim in self.victims), default=None),
            "shows": {source: text for source, text in shown.items() if source not in silent},
            "missing": sorted(source for source in shown if source in silent),
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class LookAlike:
    """Something harmless that looks like an act of a pattern."""

    kind: str
    pattern: str
    person: str
    time_ms: int
    job: str = ""
    submit_ms: int | None = None
    host: str = ""
    artefact: str = ""
    ticket: str = ""


class Chronicle(Ledger):
    """The ledger of a simulated cluster: also told by the stories that the simulated week shares."""

    def __init__(self) -> None:
        super().__init__()
        self.deeds: list[Deed] = []
        self.look_alikes: list[LookAlike] = []
        self._expected: dict[tuple[str, int], Deed] = {}
        self.waste = Waste()
        self.holders: dict[tuple[str, int], str] = {}  # attempts that only hold GPUs for an act

    def expect(self, actor: Person, job: Job, deed: Deed) -> None:
        """A shared story is about to do `deed` to `job`."""
        self._expected[actor.id, job.id] = deed

    def act(self, kind: str, actor: Person, job: Job, time: int, detail: dict[str, str]) -> None:
        """A shared story has had its effect."""
        deed = self._expected.get((actor.id, job.id))
        if deed is not None:
            deed.did(time, detail.get("path", ""), detail.get("host", ""))
            deed.befell(job, time, kind)
            deed.detail.update(detail)

    def tampered_load(self, job: Job, tamper: Tamper) -> None:
        """A job has loaded bytes that somebody else wrote; what they do to it is told by their effect."""

    def look_alike(self, kind: str, pattern: str, person: Person, time: int, job: Job | None = None, **where: str) -> None:
        """Something harmless happened."""
        name, submit = ("", None) if job is None else (str(job.id), job.submit)
        self.look_alikes.append(LookAlike(kind, pattern, person.id, time, name, submit, **where))

    def lines(self, silent: frozenset[str]) -> Iterator[dict[str, Any]]:
        """Acts, look-alikes and jobs, each in order of time; then what the acts wasted."""
        for deed in sorted(self.deeds, key=lambda deed: deed.id):
            yield deed.as_json(silent)
        for each in sorted(self.look_alikes, key=lambda each: (each.time_ms, each.kind, each.job)):
            yield {"truth": "look_alike", **asdict(each)}
        for job in sorted(self.jobs, key=_by_id):
            yield {"truth": "job", "cluster": CLUSTER, **job._asdict()}
        yield from self.waste.lines(self.deeds, self.jobs, self.holders)


def _by_id(job: JobTruth) -> tuple[int, int]:
    return int(job.job), job.submit_ms
