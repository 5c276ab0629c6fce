"""What stages tell incidents, and what is said of an incident: findings of one cause, weighed, with their scope.

    Found      a finding's last word, with whom it suspects, also below the gate        every stage that judges -> incidents
    Examined   an ended attempt: who, how it ended, what it loaded that others wrote,   jobs -> incidents
               and when it had saved and stepped last, by which its loss is counted

The body of an `Incident` is canonical, as that of a finding: the same bytes for the same findings and attempts, however they came.
It names a person only where attribution opens the gate; elsewhere a candidate has a label that is no name: a digest of the identity under
the site's key.  Of a site that has set none, whoever knows all identities can try them.
"""

from collections.abc import Sequence

import msgspec
import orjson

from pipeline.model.finding import Finding, Severity, Status
from pipeline.model.ids import digest, keyed
from pipeline.model.summary import Exposure
from pipeline.model.told import Attempt, Emitted

# --- facts ------------------------------------------------------------------------------------------------------------------------


class Found(msgspec.Struct, frozen=True, gc=False, tag="found", tag_field="told"):
    """A finding as it was said last."""

    finding: Finding


class Mark(msgspec.Struct, frozen=True, gc=False, array_like=True, order=True):
    """When something was recorded, and the record."""

    time: int  # UTC ms
    event_id: str
    path: str = ""  # of a file that was saved; empty: of none, or a release before said it


WITNESSES_MAX = 16
MANY = "many"  # method of a day on which an account was entered in more ways than a fact holds
BY_OTHER = "by other: "  # begins the method by which somebody else became its user, and ends with who: by su, sudo, runuser or a bastion


class Way(msgspec.Struct, frozen=True, gc=False, array_like=True, order=True):
    """How an account was entered on a day.  Whose key it is the map says, which may be corrected later: so not here."""

    day: int  # since 1970
    method: str  # as sshd tells it, with a digest of whose ticket of Kerberos it was; or MANY, or BY_OTHER and more
    key: str  # digest (`short`); empty: entered without one
    place: str  # digest of the address; empty: no record tells it
    first: int = 0  # since when, ms of the day: a login after an act is no session of it; 0: a release before did not say


class LoggedIn(msgspec.Struct, frozen=True, gc=False, tag="logged_in", tag_field="told"):
    """On which days somebody entered an account, as a source tells that anybody could not have written."""

    days: tuple[int, ...]  # since 1970, ascending; not those of keys that, by the map of then, were none of the owner's
    ways: tuple[Way, ...] = ()  # of all days, ascending; empty: a release before did not say


def short(name: str) -> str:
    """What stands for a key or an address in `Way`; empty for none."""
    return digest(name)[:SHORT_CHARS] if name else ""


class Examined(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag="examined", tag_field="told"):
    """An attempt that ended, whatever came of it, or that loaded what others had written."""

    attempt: Attempt
    owner: str
    project: str  # the scheduler's account
    gpus: int | None
    end: int | None  # UTC ms; None: it runs
    verdict: str  # benign | unexplained | interference; empty: it runs
    cause: str
    missing: tuple[str, ...]  # sources that would have told more
    exposures: tuple[Exposure, ...]
    # What its loss is worked out from; of an attempt that runs only what never changes.
    state: str = ""  # the scheduler's
    nodes: tuple[str, ...] = ()
    task: str = ""  # what attempts that do the same work share: account and name without numbers; empty: no record has a name
    configuration: str = ""
    saved: Mark | None = None  # the last checkpoint that its framework said it had saved
    resumed: tuple[str, Mark] | None = None  # of what it loaded first: the job that had saved it, and when
    loads_told: bool = True  # does any record tell of a file that it loaded?
    last_step: Mark | None = None
    steps_apart: int = 0  # ms between two steps that it logs; 0: nobody knows
    timed_out: str = ""  # event id: a collective operation timed out
    pace: float | None = None  # ms a step
    record: str = ""  # event id of the scheduler's word on it
    code_in: tuple[str, ...] = ()  # files whose unpickling named what opens shells, sockets or files: the alteration was code
    unexplained: bool | None = None  # does no record explain its end but what it had loaded?  None: a release before did not say


InCase = Found | Examined | LoggedIn | Emitted
LOGINS = "logins/"  # begins the ids of facts about accounts, of all their days: as a release before told them
ENTERED = "entered/"  # and of BLOCK_DAYS of them: entered/<block>/<account>
BLOCK_DAYS = 28
SHORT_CHARS = 12


def entered_id(account: str, block: int) -> str:
    """Id of the fact on which days of a block an account was entered.  The stage that tells forgets sooner than a campaign ends: a block
    that it has forgotten stays as it was told."""
    return f"{ENTERED}{block}/{account}"


def account_of(fact_id: str) -> str:
    """Whose logins a fact with this id tells."""
    return fact_id.removeprefix(LOGINS) if fact_id.startswith(LOGINS) else fact_id.removeprefix(ENTERED).partition("/")[2]


encode_in_case = msgspec.msgpack.Encoder().encode
decode_in_case = msgspec.msgpack.Decoder(InCase).decode


# --- attribution ------------------------------------------------------------------------------------------------------------------


class Weighed(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What one kind of evidence adds to a hypothesis."""

    kind: str
    statement: str
    low: float  # likelihood ratio against "somebody of whom no record tells"
    high: float
    source: str  # a publication, or "assumption"
    cites: tuple[str, ...]  # event ids


class Hypothesis(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One explanation of what was seen.  `low` and `high` are decimal logarithms of the product of its ratios."""

    kind: str  # did: this identity | borrowed: its account in others' hands | nobody: machine, scheduler, mistake | other: no record tells
    who: str  # label, or identity id where it is named; empty for nobody and other
    low: float
    high: float
    weighed: tuple[Weighed, ...]


class Deciding(msgspec.Struct, frozen=True, gc=False):
    """A source that was not heard and would tell two hypotheses apart."""

    source: str
    why: str


class Witness(msgspec.Struct, frozen=True, gc=False):
    """A host, or a log that no host of the cluster keeps, which alone tells of some acts who did them."""

    place: str
    findings: int  # alerts of the candidate's
    detectors: tuple[str, ...]  # whose they are


class Attribution(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Hypotheses against one another.  No probability, no guilt."""

    named: str  # identity id of the leading candidate, or "" when naming is withheld
    withheld: str  # why; "" when named
    leader: str  # kind/who of the leading hypothesis
    second: str
    gap_low: float | None  # decimal logarithm of the ratio between the two; what both share is left out
    gap_high: float | None
    gap_needed: float  # grows with the number of candidates; over the account in others' hands 0.5 (likelihoods.py)
    candidates: int
    hypotheses: tuple[Hypothesis, ...]  # the leading one first
    clears: tuple[str, ...]  # what would clear the leading candidate
    decides: tuple[Deciding, ...]
    alerts: int = 0  # of the leading candidate's
    alone: tuple[Witness, ...] = ()  # for these of them there is one witness each; the most first, WITNESSES_MAX at most


# --- loss -------------------------------------------------------------------------------------------------------------------------


class Range(msgspec.Struct, frozen=True, array_like=True):
    """Low, middle, high."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Range":
        """Rounded to six places, so that sums in another order are the same."""
        low, middle, high = (round(float(value), 6) for value in values)
        return cls(low, middle, high)


NONE = Range(0.0, 0.0, 0.0)


class Priced(msgspec.Struct, frozen=True, kw_only=True):
    """Hours at one price."""

    hours: float  # GPU-hours; of people's time hours
    per_hour: float  # money; 0 where there is no price
    formula: str  # how that comes about; empty: there is no price


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into one reading of a line, from which it can be worked out again:

        GPU-hours = GPUs of the line x (end - start) x share - elsewhere = the sum of `hours`;  money = the sum of hours x per_hour

    to within rounding at the sixth place.
    """

    reading: str  # low | middle | high
    start: int | None  # UTC ms; None: people's time
    end: int | None
    share: float  # of that time that is lost
    elsewhere: float  # GPU-hours of it that other lines count, or that the nodes do not have
    prices: tuple[Priced, ...]


class LossLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a ledger."""

    ledger: str  # direct | indirect
    kind: str  # invalid | held | hang | lost_progress | slowdown | restart | staff | delay | others: lines that are not listed, together
    attempt: Attempt | None
    gpu_hours: Range
    money: Range
    currency: str
    method: str
    formula: str
    note: str
    evidence: tuple[str, ...]  # event ids; of stated hours what was stated
    gpus: int = 0  # of the attempt, on all its nodes together; 0: of people's time, of lines put together, or a release before did not say
    nodes: int = 0
    inputs: tuple[Input, ...] = ()  # of each reading that claims something; empty: of lines put together, or a release before did not say


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """Both ledgers of an incident, kept apart.  Lines add up to the totals."""

    currency: str = ""  # empty: no prices are set
    direct_gpu_hours: Range = NONE
    direct_money: Range = NONE
    indirect_money: Range = NONE
    unpriced_gpu_hours: float = 0.0  # of the middle reading, before the first price
    gpus: int = 0  # different GPUs that were concerned, at most
    lines: tuple[LossLine, ...] = ()
    unknown: tuple[str, ...] = ()  # what was left out, and why; what makes a wide range wide


# --- incident ---------------------------------------------------------------------------------------------------------------------


class Member(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A finding of the incident."""

    finding: str
    detector: str
    version: int
    severity: Severity
    subject: str
    who: str  # label of whom it suspects, identity id where that one is named; empty: nobody is known, or nobody told
    effect_time: int
    summary: str
    alert: bool
    gate: str
    links: tuple[str, ...]  # what ties it to the others


class Moment(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One cited record on the timeline."""

    event_time: int
    source: str
    role: str
    event_id: str
    sha256: str
    summary: str
    findings: tuple[str, ...]  # the first ones that cite it
    cited_by: int = 0  # findings; 0: said by a release that listed all


class Traced(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A suspect artefact, and every attempt that is known to have loaded it afterwards."""

    path: str
    since: int  # UTC ms, of its first suspect write
    loads: int  # attempts that loaded it
    loaded_by: tuple[str, ...]  # the first of them


class Derived(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A checkpoint that was saved after something suspect had been loaded, and every attempt that is known to have gone on from it."""

    attempt: str  # that saved it last
    saved: int  # UTC ms, the last time that is known
    event_id: str  # of the record of that
    after: str  # the suspect artefact, or the attempt from whose checkpoint it went on itself
    loads: int  # attempts that went on from it
    loaded_by: tuple[str, ...]  # the first of them
    path: str = ""  # the file, or its folder, as the record says; empty: none tells, and it is whatever that attempt saved
    saved_by: tuple[str, ...] = ()  # the first of the attempts that saved there, at different times


class Unjudged(msgspec.Struct, frozen=True, gc=False):
    """What cannot be told because a source is missing."""

    source: str
    what: str  # attempts | days
    amount: int
    examples: tuple[str, ...]


class Other(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A finding of the incident that is not told in full."""

    finding: str
    detector: int  # place in `detectors`
    effect_time: int
    alert: bool


class Scope(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What was touched, what was looked at and is fine, and what cannot be told.  Lists are bounded; counts are whole.

    Of what releases before counts of users and projects said, the lists are the whole.
    """

    attempts: tuple[str, ...]
    users: tuple[str, ...]
    projects: tuple[str, ...]
    affected: int = 0  # attempts of findings that harmed them, or that lost hours beside one
    affected_users: int = 0
    affected_projects: int = 0
    fine_users: int = 0  # all of whose attempts are unaffected
    fine_projects: int = 0
    spared: int = 0  # attempts of findings of which nothing came: refused, or put back before they loaded it
    derived: int = 0  # attempts that loaded nothing suspect, and went on from what such attempts had saved
    gpus_max: int  # of the largest affected attempt
    gpus: int = 0  # different GPUs that affected, exposed and derived attempts held, at most: the sum over nodes
    fine_gpus: int = 0  # likewise of nodes on which none but unaffected attempts ended
    exposed: int  # attempts that loaded suspect artefacts without a finding of their own
    examined: int  # attempts that ended in the window
    unaffected: int  # benign, and known to have loaded nothing suspect
    unaffected_users: tuple[str, ...]
    unaffected_projects: tuple[str, ...]
    unexplained: int  # no record explains their end, no finding accuses anybody
    unjudged: tuple[Unjudged, ...]


class Incident(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Findings of one cause.  Everything here is canonical."""

    cluster: str
    founder: str  # finding id of its earliest member: part of the id
    aliases: tuple[str, ...]  # incident ids that the first of its other findings would have founded: under which it may have been known
    title: str
    severity: Severity
    alert: bool  # at least one member is above its gate
    first: int  # UTC ms
    last: int
    closes_at: int
    members: tuple[Member, ...]
    timeline: tuple[Moment, ...]
    traced: tuple[Traced, ...]
    scope: Scope
    attribution: Attribution
    checklist: tuple[tuple[str, int, int], ...]  # benign explanation, how many members excluded it, how many could not check it
    limits: tuple[str, ...]  # of what is known
    loss: Loss = Loss()
    status: Status = Status.PROVISIONAL
    merged_into: str = ""  # of a retracted one: the incident that has its findings now
    # Lists are bounded, and counts are whole: a campaign of thousands of findings must fit into one message.
    findings: int = 0  # `members` and `others`, and those that stand nowhere
    detectors: tuple[tuple[str, int, int], ...] = ()  # detector, its findings, how many of them are above their gate
    others: tuple[Other, ...] = ()  # by id alone
    records: int = 0  # cited, on the timeline or not
    artefacts: int = 0  # suspect, in `traced` or not
    derived: tuple[Derived, ...] = ()

    @property
    def id(self) -> str:
        """By its earliest member, so that it stays when others join."""
        return incident_id(self.cluster, self.founder)


def incident_id(cluster: str, founder: str) -> str:
    """The id of the incident that a finding founds."""
    return digest("incident", cluster, founder)


def label_of(cluster: str, identity_id: str, key: bytes = b"") -> str:
    """What a candidate is called while naming is withheld; `key` is the site's (`Directory.key`)."""
    return f"person-{keyed(key, 'suspect', cluster, identity_id)[:8]}"


def canonical_incident(value: Incident) -> bytes:
    """The canonical body: JSON with sorted keys, id included."""
    return orjson.dumps({"id": value.id, **msgspec.to_builtins(value)}, option=orjson.OPT_SORT_KEYS)
