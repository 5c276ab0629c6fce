"""What a detector sees: everything known about one attempt, in canonical order.

In: the facts of a job's case, told apart by attempt.  Out: typed, sorted, without trace of arrival order, partition or clock.

What anybody may have sent, at a site that authenticates others, is seen, and left out of the case's `proven` half: by that a case is
judged once more, so that nobody acquits himself by records of his own making (detector.py).
"""

import posixpath
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

import msgspec

from pipeline.detect import lineage, workload
from pipeline.formats.failures import Traceback, tracebacks, with_neighbours
from pipeline.model.actor import actor_of, relation
from pipeline.model.events import (
    Body,
    CheckpointLoaded,
    ControllerJob,
    Event,
    FileTouched,
    HookFound,
    JobRecord,
    JobUpdate,
    KillRequest,
    KubernetesRequest,
    ModuleImported,
    ObjectAccess,
    ObjectEvent,
    ProcessRun,
    RankFailed,
    StepCancelled,
    TrainingLine,
)
from pipeline.model.finding import SELF_NAMED, UNPROVEN, Evidence, subject_of
from pipeline.model.identity import Directory, Identity
from pipeline.model.instants import DAY_MS
from pipeline.model.runs import REMOVED, run_of
from pipeline.model.source import OF_HOSTS, PER_HOST, Source
from pipeline.model.told import ArtefactUse, Attempt, HostCoverage, NodeTouch, Touch
from pipeline.model.workload import is_workload
from pipeline.settings import DetectSettings
from pipeline.stream.watermark import Watermarks, bucket_of, buckets_covered

AnyBodyType = TypeVar("AnyBodyType", bound=Body)

# End states of Slurm (job_state_string); what is not here is not an end.
ENDED = frozenset({
    "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY", "REQUEUED",
})  # fmt: skip


CLOCK_MS = 5_000  # schedulers state whole seconds
ANSWER_MS = 60_000  # a busy controller may take this long from a request to its answer


class Root(msgspec.Struct, frozen=True):
    """A folder of artefacts."""

    path: str  # with a slash at its end
    kind: str = ""  # checkpoint | environment | framework | hook | dataset ...
    writers: frozenset[str] = frozenset()  # identity ids that may write there; none: the settings do not say


NO_ROOT = Root("")


class Site(msgspec.Struct, frozen=True):
    """What settings say that detectors need; fixed per worker generation."""

    directory: Directory
    windows: DetectSettings
    grace_ms: int
    bucket_ms: int
    roots: tuple[Root, ...] = ()  # the innermost first

    def root_of(self, path: str) -> Root:
        """The innermost root decides: whoever owns a folder has no leave in one below it that is another's.  Below none: NO_ROOT."""
        for root in self.roots:  # as a generator it took twice as long, and is asked of every touch
            if path.startswith(root.path):
                return root
        return NO_ROOT

    def has_leave(self, who: Identity | None, path: str) -> bool:
        """Do the settings let this identity write there?"""
        return who is not None and who.id in self.root_of(path).writers

    def history_of(self, artefact: str) -> lineage.History:
        """An empty one; a dataset is written rarely, and of a run's folder the writes are what was taken from it."""
        is_folder = artefact.endswith("/")
        return lineage.History(all_writes=is_folder, of_dataset=not is_folder and self.root_of(artefact).kind == "dataset")

    def is_foreign(self, event: Event, path: str) -> bool:
        """Is it a write of this artefact by somebody whom the settings do not let write there?"""
        if not isinstance(event.body, FileTouched):
            return False
        allowed = self.root_of(path).writers
        return not allowed or not self.has_leave(actor_of(self.directory, event), path)


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """A record that says who cancelled an attempt, or asked for it."""

    event: Event
    identity: Identity | None
    uid: int | None = None
    name: str = ""  # where the source has no uid


class Loaded(msgspec.Struct, frozen=True):
    """A file that the attempt loaded, with what came before: each by time and id."""

    event: Event
    path: str
    sha256: str
    saves: tuple[Event, ...] = ()  # body: CheckpointSaved; of each job the last
    writes: tuple[Event, ...] = ()  # body: FileTouched; of modules and hooks by who may not write there, and the last if it is behind those
    overwritten: Event | None = None  # the last write before the first of the saves, where who may not wrote nothing after it
    other: Event | None = None  # the last load of other bytes of the same path, by whatever job
    untouched: Event | None = None  # where it lies after the last write by who may not: the last load of other bytes before that
    same: Event | None = None  # the first load of the same bytes, where these came back
    earlier: Event | None = None  # the last write after which `same` was loaded, by a foreign hand that may not
    beside: tuple[Event, ...] = ()  # body: CheckpointSaved, of other files of the same run; of each job the last
    resumed: tuple[Event, ...] = ()  # the loads above, and where something was removed, the last from the folder after it
    removed: tuple[Event, ...] = ()  # body: FileTouched with action `removed`: what somebody took from the run's folder (model/runs.py)
    # Of a module, hook or dataset that had been altered, no record says by whom, before who may not wrote: the last load of other bytes
    # before that, and the first of those that lay there then.
    former: Event | None = None
    altered: Event | None = None

    def told(self) -> Iterator[Event]:
        """What came before it and is worth telling, each once; of a checkpoint the load, too."""
        own = (self.event,) if isinstance(self.event.body, CheckpointLoaded) else ()
        named = (self.overwritten, self.other, self.untouched, self.same, self.earlier, self.former, self.altered)
        ones = (each for each in named if each is not None)
        yield from {each.id: each for each in chain(own, self.saves, self.writes, ones, self.beside, self.removed, self.resumed)}.values()

    @property
    def others_differ(self) -> bool:
        """Are the other bytes not only compiled ones of the same source, which interpreters write themselves?"""
        return self.other is not None and getattr(self.other.body, "sha256", "") != self.sha256


LoadBody = CheckpointLoaded | ModuleImported | HookFound


def bytes_of(body: Body) -> tuple[str, str]:
    """What a load names: of a module the compiled bytes, too, since they are what runs."""
    return str(getattr(body, "sha256", "")), str(getattr(body, "cached_sha256", ""))


class Case:
    """One attempt of one job."""

    def __init__(
        self,
        site: Site,
        attempt: Attempt,
        events: Iterable[Event],
        touches: Iterable[Touch | NodeTouch],
        coverage: Iterable[HostCoverage],
        uses: Iterable[ArtefactUse],
    ) -> None:
        self.site, self.attempt, self.subject = site, attempt, subject_of(attempt)
        self.whole: Case = self
        self._told = tuple(events), tuple(touches), tuple(coverage), tuple(uses)
        self._proven: Case | None = None
        events, touches, coverage, uses = self._told
        self.unproven = any(
            event.unproven
            for told in (events, (each.event for each in touches), (each.load for each in uses), (each.before for each in uses))
            for event in told
            if event is not None
        )
        self._failed: list[tuple[Event, RankFailed]] | None = None
        self._loaded: Sequence[Loaded] | None = None
        self._updates: tuple[list[int], list[int], list[tuple[Event, JobUpdate]]] | None = None  # requests, settings, and these
        self._by_kind: dict[type[Body], list[tuple[Event, Body]]] = {}
        for event in sorted(events, key=lambda each: (each.event_time, each.id)):
            self._by_kind.setdefault(type(event.body), []).append((event, event.body))
        touched = sorted(touches, key=lambda each: (each.event.event_time, each.event.id))
        self.touches: tuple[Touch, ...] = tuple(each for each in touched if isinstance(each, Touch))
        self.node_touches: tuple[NodeTouch, ...] = tuple(each for each in touched if isinstance(each, NodeTouch))
        self._heard: dict[tuple[str, Source], set[int]] = {}  # told by the day
        for told in coverage:
            self._heard.setdefault((told.host, told.source), set()).update(told.buckets)
        self.uses: tuple[ArtefactUse, ...] = tuple(uses)
        records = self.of(JobRecord)
        if is_workload(attempt.job):  # a list may tell of its start; nobody records its end
            phases = {record.phase for _, record in records}
            records = [*records, *(pair for pair in workload.records_of(attempt, self.all_events()) if pair[1].phase not in phases)]
        self.records: tuple[tuple[Event, JobRecord], ...] = tuple(records)
        ends = [(event, record) for event, record in records if record.phase == "end" and record.state in ENDED]
        # jobcomp states the end once; sacct comes later and repeats it, with who cancelled.
        self.end_record: tuple[Event, JobRecord] | None = (
            min(ends, key=lambda pair: (pair[0].source is Source.SACCT, pair[0].id)) if ends else None
        )
        self.end: int | None = max((record.end for _, record in ends if record.end is not None), default=None)
        self.state = self.end_record[1].state if self.end_record else ""
        owners = [record.owner_uid for _, record in records if record.owner_uid is not None]
        self.owner_uid: int | None = min(owners) if owners else None
        names = sorted({record.owner for _, record in records if record.owner})
        began = attempt.submit or attempt.start  # it is the submitter's, whose uid may be given away before it starts
        directory = site.directory.of(attempt.cluster)
        self.owner_unproven = bool(records) and all(event.unproven for event, _ in records)  # it may be anybody's word whose it is
        self.owner: Identity | None = directory.by_uid(self.owner_uid, began) or (directory.by_login(names[0], began) if names else None)
        if self.owner is None and is_workload(attempt.job) and (made := workload.creation(self.all_events())) is not None:
            self.owner = actor_of(directory, made)
        self.nodes: tuple[str, ...] = max((record.nodes for _, record in records), key=lambda nodes: (len(nodes), nodes), default=())
        gpus = [record.gpus for _, record in records if record.gpus is not None]
        self.gpus: int | None = max(gpus) if gpus else None

    @property
    def proven(self) -> "Case":
        """The same without what anybody may have sent; but for whose it is, where nobody else says so."""
        if not self.unproven:
            return self
        if self._proven is None:
            events, touches, coverage, uses = self._told
            self._proven = Case(
                self.site,
                self.attempt,
                [each for each in events if not each.unproven or is_basis(each)],
                [each for each in touches if not each.event.unproven],
                coverage,
                [each for each in uses if not each.load.unproven and not (each.before is not None and each.before.unproven)],
            )
            self._proven.unproven, self._proven.whole = False, self
        return self._proven

    def of(self, kind: type[AnyBodyType]) -> Sequence[tuple[Event, AnyBodyType]]:
        """Events of one kind with their bodies, by event time and id."""
        return [(event, body) for event, body in self._by_kind.get(kind, ()) if isinstance(body, kind)]

    def all_events(self) -> Iterator[Event]:
        """Every event of the attempt's own job, kind by kind."""
        for kind in self._by_kind.values():
            yield from (event for event, _ in kind)

    def ran(self, command: str) -> Sequence[tuple[Event, ProcessRun]]:
        """Runs of a command that named the job: scancel, scontrol."""
        return [(event, run) for event, run in self.of(ProcessRun) if run.arguments and posixpath.basename(run.arguments[0]) == command]

    @property
    def owner_id(self) -> str:
        return self.owner.id if self.owner else ""

    @property
    def work_dir(self) -> str:
        """Where the job ran, as its owner chose."""
        return max((record.work_dir for _, record in self.records), default="")

    def cancelled_by(self) -> Sequence[Cancel]:
        """Every record that names who cancelled: accounting's uid or name, PBS' requestor, who deleted the Kubernetes job.

        A name alone has the uid that is known for it: root's, that of the map, or the owner's, whom the same record names.
        """
        directory, found = self.site.directory.of(self.attempt.cluster), []
        for event, record in self.records:
            at = event.event_time
            if isinstance(event.body, KubernetesRequest):
                if record.cancelled_by:
                    found.append(Cancel(event, actor_of(directory, event), name=record.cancelled_by))
            elif record.cancelled_by_uid is not None:
                found.append(Cancel(event, directory.by_uid(record.cancelled_by_uid, at), record.cancelled_by_uid, record.cancelled_by))
            elif record.cancelled_by:
                who = self.owner if record.cancelled_by == record.owner else directory.by_login(record.cancelled_by, at)
                found.append(Cancel(event, who, who.uid if who else None, record.cancelled_by))
        for event, update in self.of(JobUpdate):
            if update.change == "delete" and not update.refused:
                name = update.value.partition("@")[0]
                who = directory.by_uid(update.uid, event.event_time) or directory.by_login(name, event.event_time)
                found.append(Cancel(event, who, update.uid, name))
        return found

    def kubernetes(self, *acts: str, granted: bool = True) -> Sequence[tuple[Event, KubernetesRequest]]:
        """Requests about the job's objects whose verb or subresource is one of these: delete, patch, exec, eviction ...; any without.

        An exec has the verb `create` or `get`: it is known by its subresource alone.  `granted=False`: those that were refused.
        """
        return [
            (event, body)
            for event, body in self.of(KubernetesRequest)
            if (not acts or (body.subresource or body.verb) in acts) and (workload.granted(body) if granted else workload.refused(body))
        ]

    def object_events(self, *reasons: str) -> Sequence[tuple[Event, ObjectEvent]]:
        """What controllers told of the job's objects: Preempted, Evicted, OOMKilled ...; all without reasons."""
        return [(event, body) for event, body in self.of(ObjectEvent) if not reasons or body.reason in reasons]

    def set_by(self, request: Event) -> Sequence[tuple[Event, JobUpdate]]:
        """What the controller set in the call that this request completed: between it and the completion before.

        The controller writes what it sets, and then who asked: `setting min_memory_node to 1024`, `complete JobId=7 uid=5099`; both may
        be of one millisecond.
        """
        if self._updates is None:  # once, since a job may be updated thousands of times
            updates = self.of(JobUpdate)
            done = sorted({event.event_time for event, body in updates if body.uid is not None})
            settings = [(event, body) for event, body in updates if body.uid is None]
            self._updates = done, [event.event_time for event, _ in settings], settings
        done, times, settings = self._updates
        before = bisect_left(done, request.event_time)
        start = max(request.event_time - self.site.windows.spec_window_seconds * 1000, done[before - 1] + 1 if before else 0)
        return settings[bisect_left(times, start) : bisect_right(times, request.event_time)]

    def befell(self, kind: type[AnyBodyType]) -> Sequence[tuple[Event, AnyBodyType, bool]]:
        """What of one kind befell the attempt's nodes while it ran, and whether it names one of its processes.

        OomKill, Xid, NodeState; and what `model/watched.py` lets through: ProcessRun, PrivilegeUsed, SessionCommand, FileTouched,
        FileIntegrity, AuditRecord (changes of the audit system), KernelLine, RuntimeAlert, KernelCall, ProcessEnded, ObjectEvent.
        """
        return [(touch.event, body, touch.job_pid) for touch in self.node_touches if isinstance(body := touch.event.body, kind)]

    def loaded(self, *kinds: type[LoadBody]) -> Sequence[Loaded]:
        """What the attempt loaded, with the saves, writes and other bytes before each load; of modules those worth telling."""
        if self._loaded is None:  # a dozen detectors and explanations ask, some once for each write
            self._loaded = self._with_histories()
        return [each for each in self._loaded if isinstance(each.event.body, kinds)] if kinds else self._loaded

    def _with_histories(self) -> Sequence[Loaded]:
        uses: dict[str, list[Event]] = {}
        loads: dict[str, Event] = {}
        for use in self.uses:
            loads[use.load.id] = use.load
            if use.before is not None:
                uses.setdefault(use.load.id, []).append(use.before)
        found = []
        firsts: set[tuple[str, tuple[str, str], int, bool]] = set()
        for load in sorted(loads.values(), key=lambda each: (each.event_time, each.id)):
            body = load.body
            if not isinstance(body, (CheckpointLoaded, ModuleImported, HookFound)):
                continue
            if not isinstance(body, CheckpointLoaded):  # of the ranks' words of a day the first is told; others were told before it came
                first = (body.path, bytes_of(body), load.event_time // DAY_MS, load.unproven)
                if first in firsts:
                    continue
                firsts.add(first)
            found.append(self._with_history(load, body, sorted(uses.get(load.id, ()), key=lambda each: (each.event_time, each.id))))
        return found

    def _with_history(self, load: Event, body: LoadBody, before: Sequence[Event]) -> Loaded:
        """Where it is a file of a run, of the run's folder, too: what was told of one load may be of either."""
        removed = [each for each in before if isinstance(each.body, FileTouched) and each.body.action == REMOVED]
        of_file = [each for each in before if isinstance(each.body, FileTouched) or getattr(each.body, "path", "") == body.path]
        mine = self._before(load, body.path, [each for each in of_file if each not in removed])
        folder = run_of(body.path)[0] if isinstance(body, CheckpointLoaded) else ""
        of_run = [*removed, *(each for each in before if not isinstance(each.body, FileTouched))]
        run = self._before(load, folder, of_run) if folder else lineage.Before()
        loads = {each.name: each.event for each in (mine.other, mine.untouched, mine.same, run.resumed) if each is not None}
        earlier = _event(mine.earlier)
        return Loaded(
            load,
            body.path,
            body.sha256,
            saves=_events(mine.saves),
            writes=_events(mine.writes),
            overwritten=_event(mine.overwritten),
            other=_event(mine.other),
            untouched=_event(mine.untouched),
            same=_event(mine.same),
            earlier=earlier if earlier is not None and not self._is_ours(earlier) else None,
            beside=tuple(each.event for each in run.saves if each.path != body.path),
            removed=tuple(each.event for each in run.writes if each.removes),
            resumed=tuple(sorted(loads.values(), key=lambda each: (each.event_time, each.id))),
            former=_event(mine.former),
            altered=_event(mine.altered),
        )

    def _before(self, load: Event, artefact: str, events: Sequence[Event]) -> lineage.Before:
        """What was told of one artefact may be more than is worth telling by now."""
        history = self.site.history_of(artefact)
        for event in (load, *events):
            history.put(lineage.Known(event.event_time, event, b"", event.id, self.site.is_foreign(event, artefact)))
        return history.before(lineage.Known(load.event_time, load, b"", load.id))

    def _is_ours(self, event: Event) -> bool:
        """Did the owner act, a service or the system?  The settings may not list them as writers; a foreign hand they are none."""
        return relation(actor_of(self.site.directory, event), self.owner) in ("owner", "service", "daemon", "root")

    def failed_ranks(self) -> Sequence[tuple[Event, RankFailed]]:
        """Ranks that the launcher says ended, by time; with rank, host and whether it was the first where its block's lines are known."""
        if self._failed is None:
            whole = with_neighbours(event for kind in (RankFailed, TrainingLine) for event, _ in self.of(kind))
            self._failed = [whole.get(event.id, (event, body)) for event, body in self.of(RankFailed)]
        return self._failed

    def tracebacks(self) -> list[Traceback]:
        """What the program said when it failed; of ranks that fail alike within an hour the first one's."""
        return tracebacks(event for event, _ in self.of(TrainingLine))

    def saves_before(self, path: str, time: int) -> list[Event]:
        """Of each job that says it saved this file by then, its last word: by time, the newest of them and its own."""
        saves = {each.id: each for loaded in self.loaded() if loaded.path == path for each in loaded.saves if each.event_time <= time}
        last = {save.job: save for save in sorted(saves.values(), key=lambda each: (each.event_time, each.id))}
        return lineage.newest_saves(sorted(last.values(), key=lambda each: (each.event_time, each.id)), last.get(self.attempt.job))

    def requests(self) -> Sequence[tuple[Event, KillRequest]]:
        """Requests to the controller but those that it refused, or that had no effect.

        A request is logged before its permission is checked, and the answer is a line of its own: a request that was refused a moment
        later must neither acquit a kill that follows it nor accuse who made it of the cancel that the owner asked for afterwards.
        """
        said = self.of(KillRequest)
        vain: set[str] = set()
        # Of a refusal both lines may come: one names a signal, the other does not.  Each line answers the last request before it.
        for with_signal in (False, True):
            open_requests: dict[int, list[Event]] = {}
            for event, body in sorted(said, key=lambda each: (each[0].event_time, each[1].refused or each[1].no_effect, each[0].id)):
                asked = open_requests.setdefault(body.uid, [])
                if not body.refused and not body.no_effect:
                    asked.append(event)
                elif (body.signal is not None) is with_signal and asked and event.event_time - asked[-1].event_time <= ANSWER_MS:
                    vain.add(asked.pop().id)
        return [(event, body) for event, body in said if not body.refused and not body.no_effect and event.id not in vain]

    def controller(self, *changes: str) -> tuple[Event, ControllerJob] | None:
        """The controller's first word of one of these changes while the attempt ran.

        What it says before the start is about the run before: a requeue ends one attempt and submits the next.
        """
        return next(((event, body) for event, body in self.of(ControllerJob) if body.change in changes and self._ran(event)), None)

    def step_cancelled(self, *reasons: str) -> tuple[Event, StepCancelled] | None:
        """slurmstepd's first word with one of these reasons, while the attempt ran."""
        return next(((event, body) for event, body in self.of(StepCancelled) if body.reason in reasons and self._ran(event)), None)

    def _ran(self, event: Event) -> bool:
        return event.event_time >= self.attempt.start - CLOCK_MS

    def missing(self, now: Watermarks, source: Source, start: int, end: int, hosts: Collection[str] = ()) -> tuple[str, ...]:
        """What was not heard in [start, end], or not kept, and would have told: names of sources, with the host where hosts are concerned.

        Empty: the source was heard throughout and has passed `end`, so that an absence means something.
        """
        cluster = self.attempt.cluster
        if source in PER_HOST:
            if not hosts and self.attempt.start >= 0:
                return (str(source),)  # it ran, but no record says where: nobody knows which host to ask
            absent = [
                host
                for host in sorted(set(hosts))
                if not self._heard_on(host, source, start, end) or now.lost(cluster, source, host, start, end)
            ]
            silent = not now.passed(cluster, source, end)
            return tuple(f"{source} on {host}" for host in absent) or ((str(source),) if silent else ())
        gap = self.site.windows.coverage_gap_seconds * 1000
        first = bucket_of(max(start - gap, 0), self.site.bucket_ms)
        heard_before = now.heard_within(cluster, source, first, start)
        heard_after = now.heard_within(cluster, source, bucket_of(end, self.site.bucket_ms), end + gap)
        whole = heard_before and heard_after and not now.lost(cluster, source, "", start, end)
        return () if whole and now.passed(cluster, source, end) else (str(source),)

    def _heard_on(self, host: str, source: Source, start: int, end: int) -> bool:
        return buckets_covered(self._heard.get((host, source), frozenset()), start, end, self.site.bucket_ms)


def _event(known: lineage.Known | None) -> Event | None:
    return known.event if known is not None else None


def _events(known: Iterable[lineage.Known]) -> tuple[Event, ...]:
    return tuple(each.event for each in known)


def is_basis(event: Event) -> bool:
    """Does it say whose the job is, and when it ran?"""
    return isinstance(event.body, JobRecord) or (isinstance(event.body, KubernetesRequest) and workload.creates(event.body))


def based(events: Sequence[Event]) -> Sequence[Event]:
    """Where a known sender says whose a job is, nobody else does."""
    if any(event.unproven for event in events) and any(is_basis(event) and not event.unproven for event in events):
        return [event for event in events if not event.unproven or not is_basis(event)]
    return events


def evidence(role: str, event: Event, summary: str) -> tuple[Evidence, ...]:
    """An event as evidence; an assembled one cites each record it was made from."""
    cited = event.parts or ((event.id, event.sha256),)
    summary += SELF_NAMED if isinstance(event.body, FileTouched | ObjectAccess) and event.body.self_named else ""
    summary += UNPROVEN if event.unproven else ""
    host = (event.shipper or event.host) if event.source in OF_HOSTS else ""
    return tuple(Evidence(role, event_id, sha256, event.source.value, event.event_time, summary, host) for event_id, sha256 in cited)
