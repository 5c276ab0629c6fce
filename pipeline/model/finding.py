"""What is said of jobs: findings, verdicts and enriched events, each with a canonical body and a transport block.

The canonical body holds only what is true of the records: the same bytes for the same input records, whatever their order, the
partitions, crashes or the runtime.  The transport block holds how it came about: revision, watermarks, counts.  A test compares the
former; a reader of topics gets both.
"""

from enum import StrEnum

import msgspec
import orjson

from pipeline.model.ids import digest
from pipeline.model.source import Source
from pipeline.model.told import Attempt


class Severity(StrEnum):
    """OCSF severities that detectors use."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Checked(StrEnum):
    """The answer to one benign explanation."""

    EXCLUDED = "excluded"  # a record, or a heard source without such a record, rules it out
    CONFIRMED = "confirmed"  # a record proves it: no finding
    NOT_CHECKED = "not_checked"  # the source that would tell is missing


class Status(StrEnum):
    """Where a finding or verdict stands."""

    PROVISIONAL = "provisional"  # the window is open: more may come
    FINAL = "final"  # the watermarks have passed the window
    RETRACTED = "retracted"  # later facts took it back


class Subject(msgspec.Struct, frozen=True, gc=False, array_like=True, order=True):
    """What a finding is about."""

    kind: str  # job | host | artefact | identity | cohort
    cluster: str
    name: str  # raw job id, host, path, identity id, or what the cohort has in common


def subject_of(attempt: Attempt) -> Subject:
    """The job of an attempt."""
    return Subject("job", attempt.cluster, attempt.job)


UNPROVEN = " (its sender is not authenticated)"  # after the summary of a record that anybody may have sent
# Ends what is said of a command that sudo tells the kernel's audit as well, and which that does not tell: anybody writes such a line.
ONLY_LOGGED = ", by a line of the system log alone"
SELF_NAMED = ", under the name that the client gave itself"  # ends what a store tells that asks nobody for a proof: HDFS without Kerberos
OF_ANYBODY = ONLY_LOGGED, SELF_NAMED
NO_LOGIN = " without a login"  # ends what is said of a process whose login uid is not set: a daemon, a timer, a job, or whoever is root
SEVERAL = "several identities acted"  # how the reason begins for which such a finding names nobody


class Evidence(msgspec.Struct, frozen=True, gc=False, order=True, omit_defaults=True):
    """One record that is cited.  All of it is canonical but `host`: by that incidents count who could have written what they rest on."""

    role: str  # effect | cause | owner | saved | written | loaded ...
    event_id: str
    sha256: str  # of the payload line
    source: str
    event_time: int
    summary: str  # one line for people, built from typed fields only
    host: str = ""  # of a host's own log: whose root could have written the record, as far as is known; in no canonical body


class Explanation(msgspec.Struct, frozen=True, gc=False, order=True):
    """One benign explanation, as tested."""

    name: str
    answer: Checked
    by: str = ""  # event id of the record that decided, or "" when an absence decided
    note: str = ""
    missing: tuple[str, ...] = ()  # sources that would have told


class Confidence(msgspec.Struct, frozen=True, gc=False):
    """0..1 with its parts, each named; the product of the parts is the score, so that a reader can follow it."""

    score: float
    parts: tuple[tuple[str, float], ...]


class Finding(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Suspected interference with one subject.  Everything here is canonical but `suspect`, by which incidents group and weigh."""

    detector: str  # p01_foreign_kill
    detector_version: int
    title: str
    severity: Severity
    subject: Subject = Subject("job", "", "")  # empty in what was said before findings were about anything else
    attempt: Attempt | None = None  # of a job
    effect: str  # kind of effect: part of the id
    anchor: str  # what tells two effects of one kind on one attempt apart, e.g. an artefact; part of the id
    owner: str  # identity id of the job's owner
    actor: str  # identity id, or "" when naming is withheld
    actor_withheld: str  # why no name: "" when named
    effect_time: int
    cause_time: int
    closes_at: int  # event time that watermarks must pass before it is final
    summary: str
    evidence: tuple[Evidence, ...]
    checklist: tuple[Explanation, ...]
    confidence: Confidence
    attack: tuple[str, ...]  # MITRE ATT&CK technique ids
    alert: bool  # above the gate
    gate: str  # why not, when it is below
    sources: tuple[Source, ...]  # families the detector needs
    status: Status = Status.PROVISIONAL
    suspect: str = ""  # identity id, also where naming is withheld: for incidents alone, in no canonical body

    @property
    def id(self) -> str:
        """The same on every replay: detector, subject, effect, anchor; never the first evidence seen."""
        return digest("finding", self.detector, self.about, self.effect, self.anchor)

    @property
    def about(self) -> str:
        """The subject in one word: of a job cluster/job/submit/start, else kind:cluster/name."""
        return self.attempt.name if self.attempt else f"{self.subject.kind}:{self.subject.cluster}/{self.subject.name}"


class Verdict(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is said of an ended attempt.  Everything here is canonical."""

    attempt: Attempt
    owner: str
    owner_uid: int | None
    state: str  # the scheduler's
    end: int
    verdict: str  # benign | unexplained | interference
    cause: str  # completed | owner_cancel | time_limit | preempted | node_fail | oom | hardware | app_error | ...
    by: Evidence | None  # the acquitting record
    findings: tuple[str, ...]  # ids
    checklist: tuple[Explanation, ...]
    nodes: tuple[str, ...]
    gpus: int | None
    closes_at: int
    status: Status = Status.PROVISIONAL

    @property
    def id(self) -> str:
        return digest("verdict", self.attempt.name)


class Enriched(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One event that touches a job, with job, owner and the relation of actor to owner."""

    event_id: str
    attempt: Attempt
    owner: str
    event_time: int
    source: str
    kind: str
    host: str
    actor: str
    relation: str  # owner | team | service | admin | root | daemon | foreign | unknown
    matched: str  # job | pid | owner | host | artefact
    sha256: str
    attrs: dict[str, str]

    @property
    def id(self) -> str:
        return digest("enriched", self.event_id, self.attempt.name)


class Transport(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How a value came about: never part of what is compared."""

    revision: int
    detector_version: int = 0
    watermarks: dict[str, int] = {}  # family -> event time passed
    silent: tuple[str, ...] = ()  # families that the detector reads and of which nothing was heard about the time of the effect
    settings: str = ""  # digest
    software: str = ""


class Retraction(Transport, frozen=True, gc=False, kw_only=True):
    """How it came about that a finding was taken back: by the same records other releases and settings may find it."""

    reason: str


def canonical(value: Finding | Verdict | Enriched) -> bytes:
    """The canonical body: JSON with sorted keys, ids included.  Who is suspected without being named stands in no body."""
    body = {"id": value.id, **msgspec.to_builtins(value)}
    if isinstance(value, Finding):
        del body["suspect"]
        for cited in body["evidence"]:
            cited.pop("host", None)
    elif isinstance(value, Verdict) and body["by"]:
        body["by"].pop("host", None)
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


def canonical_digest(value: Finding | Verdict | Enriched) -> str:
    """32 hex digits of the canonical body."""
    return digest(canonical(value))
