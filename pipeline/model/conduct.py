"""What an event says of a person: an event in, facts for the identities stage out.

    logins            by account, from where and with which key: the first of ten minutes       -> the account
    jobs              each attempt, with the scheduler's last word on it                        -> who submitted it
    changes of user   by su and sudo, but to root: the first of ten minutes; root's, of a day    -> the account that was entered
    sessions          in which a bastion, or runuser, lets one in as another: likewise           -> the account that was entered
    orders            cancels, updates, requests that change something: the first of an hour    -> who gave them
                      and the last of each ten minutes, since others may use his account later
    commands          that ask for such under another's uid than the login's: of ten minutes    -> whose uid it is
    reads, writes     of diagnostics, of artefacts: the first of an hour in each folder         -> the team, else the person

A site has millions of events and some hundred people, so what a person does over and over is folded by rank, which is commutative.  Facts
go to whoever had the account at the time of the event.  Where nobody has it any more they go to its last owner, since that is what access
after the end of employment looks like; the judge looks up the names again, so that a corrected map is heeded.

Reads and writes are told to the team: whether somebody reads and writes in rounds can be said only beside those who work with him.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from pipeline.model import watched
from pipeline.model.actor import actor_of
from pipeline.model.events import (
    Body,
    Event,
    FileTouched,
    Iteration,
    JobRecord,
    JobUpdate,
    KillRequest,
    KubernetesRequest,
    Login,
    ObjectAccess,
    PrivilegeUsed,
    ProcessRun,
    Progress,
    SessionChanged,
)
from pipeline.model.facts import Fact, host_case, identity_case
from pipeline.model.identity import BASTION, LOGIN, Directory, Identity
from pipeline.model.ids import digest, rank
from pipeline.model.instants import DAY_MS, HOUR_MS
from pipeline.model.outcome import Tell
from pipeline.model.source import Source
from pipeline.model.told import attempt_of, encode_told

SPELL_MS, SAMPLE_MS = 600_000, 300_000
PACED_MAX = 50_000
ARGUMENTS_MAX = 64
LATEST = 2**63
DIAGNOSTICS = "diagnostics"
CHANGING = frozenset({"create", "delete", "deletecollection", "patch", "update"})
WRITING = frozenset({"written", "renamed", "truncated", "deleted"})
PHASES = {"end": 2, "start": 1}
NOBODY = frozenset({"root", "daemon", "service"})  # no person; and a service submits and logs in by the million
BASTIONS = frozenset({"teleport", "jumpserver"})
# What tells of a session by itself alone whose it is; su and sudo have lines of their own.
LETS_IN = BASTIONS | {"runuser", "runuser-l"}
TEAM = "team:"  # begins the name of a team's case; no identity is called so, since a name of the map holds no colon


class Folder(msgspec.Struct, frozen=True):
    """An artefact root, as far as conduct is concerned."""

    path: str  # with a slash at its end
    kind: str


class Conduct:
    """Tells what events say of people, under one identity map."""

    def __init__(self, directory: Directory, folders: Sequence[Folder]) -> None:
        self._directory = directory
        self._folders = sorted(folders, key=lambda each: (-len(each.path), each.path))  # the innermost first
        self._diagnostics = tuple(each.path for each in folders if each.kind == DIAGNOSTICS)
        self._paced: dict[tuple[str, str, str, int, bool], int] = {}  # the earliest step told of a span; telling again would be harmless
        self._of: dict[type[Body], Callable[[Event, Any], Sequence[Tell]]] = {
            Login: self._login,
            JobRecord: self._run,
            KillRequest: self._order,
            JobUpdate: self._order,
            KubernetesRequest: self._request,
            ObjectAccess: self._touched,
            FileTouched: self._touched,
            ProcessRun: self._ran,
            PrivilegeUsed: self._entered,
            SessionChanged: self._session,
            Iteration: self._pace,
            Progress: self._pace,
        }

        self.kinds = frozenset(self._of)  # of which something is ever told

    def of(self, event: Event) -> Sequence[Tell]:
        """Facts for identities; of a training step, for the host of whose log it is."""
        tell = self._of.get(type(event.body))
        return tell(event, event.body) if tell is not None else ()

    def _login(self, event: Event, body: Login) -> Sequence[Tell]:
        if body.outcome != "accepted":
            return ()
        who = account(self._directory, event)
        name = digest("login", event.event_time // SPELL_MS, body.user, body.address, body.fingerprint)
        return self._first(who, event, name)

    def _run(self, event: Event, body: JobRecord) -> Sequence[Tell]:
        who = account(self._directory, event)
        attempt = attempt_of(event.cluster, body)
        if who is None or who.role in NOBODY or attempt is None or not attempt.submit:
            return ()
        start = attempt.start if attempt.start >= 0 else None
        name = digest("run", attempt.job, attempt.submit, attempt.start) + event.mark
        # Accounting repeats what the completion record said; of equal phases the prompt source is kept.
        order = rank(PHASES.get(body.phase, 0), event.source is not Source.SACCT)
        short = msgspec.structs.replace(body, start=start, nodes=(), work_dir="", std_out="", submit_host="")
        told = encode_told(msgspec.structs.replace(event, body=short))
        return (Tell("identities", Fact(identity_case(event.cluster, who.id), name, order, told)),)

    def _order(self, event: Event, body: KillRequest | JobUpdate) -> Sequence[Tell]:
        if body.uid is None:
            return ()
        return self._ordered(account(self._directory, event), event, "order", type(body).__name__)

    def _request(self, event: Event, body: KubernetesRequest) -> Sequence[Tell]:
        if body.verb not in CHANGING or body.user.startswith("system:"):
            return ()
        return self._ordered(actor_of(self._directory, event), event, "request", body.verb, body.user)

    def _ordered(self, who: Identity | None, event: Event, *what: str) -> Sequence[Tell]:
        """The first of an hour, and the last of ten minutes: what its owner ordered before hides nothing that others order later."""
        first = self._first(who, event, digest(*what, event.event_time // HOUR_MS))
        if who is None or not first:
            return ()
        order = rank(max(event.event_time, 0), len(event.parts))
        name = digest("last", *what, event.event_time // SPELL_MS) + event.mark
        return (*first, Tell("identities", Fact(identity_case(event.cluster, who.id), name, order, encode_told(event))))

    def _entered(self, event: Event, body: PrivilegeUsed) -> Sequence[Tell]:
        return () if body.run_as == body.user else self._changed(event, body)

    def _changed(self, event: Event, body: PrivilegeUsed) -> Sequence[Tell]:
        if body.refused or body.run_as in ("", "root") or not body.user:
            return ()
        who = account(self._directory, event)
        spell_ms = DAY_MS if body.user == "root" else SPELL_MS  # root's scripts do so all day
        return self._first(who, event, digest("entered", event.event_time // spell_ms, body.user, body.run_as, body.means))

    def _session(self, event: Event, body: SessionChanged) -> Sequence[Tell]:
        """Whoever opens a session as another becomes his user, whichever program lets him."""
        if body.change != "opened" or body.service not in LETS_IN:
            return ()
        became = PrivilegeUsed(user=body.by, run_as=body.user, means=body.service)
        if body.by == body.user and body.service in BASTIONS and self._directory.known(BASTION, body.by, event.event_time) is not None:
            return self._changed(msgspec.structs.replace(event, body=became), became)  # a name there may be another's than here
        return self._entered(msgspec.structs.replace(event, body=became), became)

    def _touched(self, event: Event, body: ObjectAccess | FileTouched) -> Sequence[Tell]:
        folder = next((each for each in self._folders if body.path.startswith(each.path)), None)
        wanted = folder is not None and body.action in ({"read"} if folder.kind == DIAGNOSTICS else WRITING)
        if folder is None or not wanted or body.success is False:
            return ()
        own = isinstance(body, FileTouched) and body.file_uid is not None and body.file_uid in (body.auid, body.uid)
        return self._to_team(event, "read" if folder.kind == DIAGNOSTICS else "own" if own else "written", folder.path)

    def _ran(self, event: Event, body: ProcessRun) -> Sequence[Tell]:
        read = self._read(event, body)
        if not for_another(body):
            return read
        return (*read, *self._first(account(self._directory, event), event, digest("asked", event.event_time // SPELL_MS, body.auid or 0)))

    def _read(self, event: Event, body: ProcessRun) -> Sequence[Tell]:
        """A command that was given a file of the diagnostics: most audit rules record commands, few record reading."""
        if not self._diagnostics or not body.success:
            return ()
        named = any(word.startswith(self._diagnostics) for word in body.arguments[1:ARGUMENTS_MAX])
        return self._to_team(event, "read", self._diagnostics[0]) if named else ()

    def _to_team(self, event: Event, *what: str) -> Sequence[Tell]:
        who = actor_of(self._directory, event)
        if who is None or who.role not in ("member", "admin", "shared"):
            return ()
        group = msgspec.structs.replace(who, id=f"{TEAM}{who.team}") if who.team else who
        return self._first(group, event, digest("touched", who.id, event.event_time // HOUR_MS, *what))

    def _pace(self, event: Event, body: Iteration | Progress) -> Sequence[Tell]:
        """Of a job's steps the first of five minutes: how fast the node is on which this log is written."""
        time = event.event_time
        if not event.job or not event.host:
            return ()
        span = (event.cluster, event.host, event.job, time // SAMPLE_MS, event.unproven)
        if time >= self._paced.get(span, LATEST):
            return ()
        if len(self._paced) >= PACED_MAX:
            self._paced.clear()
        self._paced[span] = time
        elapsed = body.elapsed_ms if isinstance(body, Iteration) else None
        number = body.iteration if isinstance(body, Iteration) else body.step or 0
        short = msgspec.structs.replace(event, body=Iteration(iteration=number, elapsed_ms=elapsed))
        name = f"pace/{event.job}/{time // SAMPLE_MS}{event.mark}"
        return (Tell("hosts", Fact(host_case(event.cluster, event.host), name, rank(LATEST - time), encode_told(short))),)

    def _first(self, who: Identity | None, event: Event, name: str) -> Sequence[Tell]:
        """Of all that says the same in a span of time, the first."""
        if who is None or who.role in NOBODY:
            return ()
        case = identity_case(event.cluster, who.id)
        order = rank(LATEST - max(event.event_time, 0), len(event.parts))
        return (Tell("identities", Fact(case, name + event.mark, order, encode_told(event))),)


def account(directory: Directory, event: Event) -> Identity | None:
    """Whose account it is that an event used, or who had it last; an unknown one stands for itself.

    The account, not the hand: an accepted key may be somebody else's, and that is for the judge.  A job is its submitter's: who had the
    uid when it was submitted.
    """
    directory, body, at = directory.of(event.cluster), event.body, event.event_time
    if isinstance(body, Login):
        uid, login = None, body.user
    elif isinstance(body, PrivilegeUsed):
        uid, login = None, body.run_as
    elif isinstance(body, JobRecord):
        uid, login, at = body.owner_uid, body.owner, at if body.submit is None else body.submit
    elif isinstance(body, (KillRequest, JobUpdate)) or (isinstance(body, ProcessRun) and for_another(body)):
        uid, login = body.uid, ""
    else:
        return actor_of(directory, event)
    who = directory.by_uid(uid, at) if uid is not None else None
    if isinstance(body, Login) and event.source is Source.TELEPORT and (named := directory.known(BASTION, login, at)) is not None:
        return named  # its names are its own
    if (who is None or _unknown(who)) and login:
        who = directory.known(LOGIN, login, at) or who or directory.by_login(login, at)
    if who is not None and _unknown(who):
        return directory.former(uid, login, at) or who
    return who


def for_another(body: ProcessRun) -> bool:
    """Did somebody else's login ask a scheduler for something under this uid?  The kernel keeps the login over su and sudo."""
    return bool(body.success and body.uid and body.auid and body.uid != body.auid) and watched.asks_scheduler(body.arguments)


def _unknown(who: Identity) -> bool:
    return not who.role
