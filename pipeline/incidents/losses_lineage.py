"""Writes that somebody is suspected of in; attempts that may have loaded their bytes, or built on what was made of them, out.

    write ── loaded by A, which saved a checkpoint ── B goes on from it, by record: it loaded what A had saved
      │                                          └─── C goes on with the same work later, and no record says from what
      └───── D began meanwhile at the work of somebody who loaded it, and no record says what D loaded

B, C and D count in the high reading alone: nothing shows that their results are wrong, and one thing is open; but B in the middle, too,
where A does and no module was altered (`resting`).  Of data and checkpoints, which spoil whatever is made of them, high counts also who may
have gone on from C and D.  Of modules it does not: they spoil results seldom, so that two things would be open.  So they are behind a
finding below its gate, whose followers are left out, and behind code whose results were never seen to differ: of D high counts then what
is seen, that it was slow as others were, or what it lost when it broke down.

What a record excludes is left out: D began after other bytes had been written to that place, as a later load shows; D is of another owner,
and the bytes are a checkpoint; C and A tell what they load, and C told of no checkpoint.  An attempt that saved nothing after its load
leaves nothing to its followers.

Source: that all runs count that loaded tampered bytes, less those shown unaffected, is our own, as no published formula was found; and so
is that one thing may be open, and not two.

Holds: incidents that are put together claim together what they claimed apart, for whom one write has reached another need not reach again:
the claim is the same.  So the cost grows with attempts and writes, and not with their product: a sweep has thousands of attempts.
"""

from bisect import bisect_right
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from heapq import heappop, heappush

from pipeline.incidents.attempts import Attempts, broke_down
from pipeline.incidents.families import family_of
from pipeline.incidents.losses_ended import Gate, LeftOut, Pricing, ended, gated, held_of, known, slowed
from pipeline.loss import claims as claim
from pipeline.loss.claims import Claim
from pipeline.model.finding import Finding
from pipeline.model.incident import Examined
from pipeline.model.instants import DAY_MS
from pipeline.model.summary import Exposure
from pipeline.model.told import Attempt

UNTOLD_MS = DAY_MS  # after the last load that is known, within which others may have loaded the same
Loaded = tuple[Examined, Exposure]


def lineage(
    firm: Sequence[Finding], harming: Sequence[Finding], attempts: Attempts, pricing: Pricing, left_out: LeftOut
) -> Iterator[Claim]:
    """Claims for all of them.  `firm`: findings above their gate on bytes that may spoil results; `harming`: on code of which something
    else was seen, or nothing."""
    for code in (True, False):
        members = [each for each in firm if family_of(each).shared_code is code]
        loads, followed, shared = _loads(members, attempts), Followed(attempts, beyond=not code), _shared(members, attempts)
        for write in sorted(loads):
            for each, why in followed.from_write(loads[write], shared=write in shared):
                gate = Gate(low=False, middle=False, why=why)
                if (held := held_of(each.attempt.name, attempts, pricing, gate, left_out)) is not None:
                    of = (each.attempt, each.nodes, held.gpus)
                    made = claim.invalid(*of, loaded=held.began, end=held.end, diverged=False, evidence=known(write, each.record))
                    yield gated(gate, made)
    for slow in (True, False):
        members = [each for each in harming if (attempts.shown_by(each.suspect, each.anchor).slower > 0) is slow]
        yield from _harmed(members, attempts, pricing, left_out, slow=slow)


def _harmed(members: Sequence[Finding], attempts: Attempts, pricing: Pricing, left_out: LeftOut, *, slow: bool) -> Iterator[Claim]:
    """Who may have loaded their code, and shows what it does: is slow beside others, or broke down."""
    loads, followed, shared = _loads(members, attempts), Followed(attempts, beyond=False), _shared(members, attempts)
    gate = Gate(low=False, middle=False, why=claim.UNTOLD)
    for write in sorted(loads):
        for each in followed.at_their_work(loads[write], shared=write in shared):
            if (held := held_of(each.attempt.name, attempts, pricing, gate, left_out)) is None:
                continue
            if slow:
                yield from slowed([write], loads[write][0][1].writer, held, held.began, attempts)
            elif broke_down(each):
                yield from (made for made in ended([write], held, attempts) if made.kind == "lost_progress")


def resting(claimed: Iterable[Claim], attempts: Attempts, pricing: Pricing, left_out: LeftOut) -> Iterator[Claim]:
    """Who went on, by record, from what was saved after results had become invalid, and so on: middle counts these as it counts those.
    Not of modules, which spoil results seldom, by all that is known."""
    gate, seen = Gate(low=False, middle=True), dict[Attempt, int]()
    open_ones = [(each.middle.start, each.attempt) for each in claimed if each.kind == "invalid" and each.middle]
    while open_ones:
        since, attempt = open_ones.pop()
        source = attempts.get(attempt.name)
        if source is None or since >= seen.get(attempt, 2**62):
            continue
        seen[attempt] = since
        for each in attempts.went_on_from(attempt.job):
            if each.resumed is None or each.attempt == attempt or not since <= each.resumed[1].time <= (source.end or 2**62):
                continue
            if (held := held_of(each.attempt.name, attempts, pricing, gate, left_out)) is not None:
                evidence = known(each.resumed[1].event_id, each.record)
                of = (each.attempt, each.nodes, held.gpus)
                made = claim.invalid(*of, loaded=held.began, end=held.end, diverged=False, evidence=evidence)
                yield gated(held.gate, made)
            open_ones.append((each.attempt.start, each.attempt))


def _loads(members: Iterable[Finding], attempts: Attempts) -> dict[str, list[Loaded]]:
    """By write: who loaded its bytes, by record."""
    since: dict[tuple[str, str], int] = {}
    cited: dict[str, set[str]] = {}
    for each in members:
        key = each.suspect, each.anchor
        since[key] = min(since.get(key, each.cause_time), each.cause_time)
        cited.setdefault(each.suspect, set()).update(item.event_id for item in each.evidence if item.role == "written")
    found: dict[str, list[Loaded]] = {}
    for suspect, ids in sorted(cited.items()):
        for attempt in attempts.exposed_to(suspect):
            for exposure in attempt.exposures:
                write = exposure.write.event_id
                is_of = write in ids or exposure.written >= since.get((suspect, exposure.path), 2**63)
                if exposure.writer == suspect and not exposure.restored and is_of:
                    found.setdefault(write, []).append((attempt, exposure))
    return found


def _shared(members: Sequence[Finding], attempts: Attempts) -> Collection[str]:
    """Writes that others than the owners of the known loads can have loaded."""
    return _loads([each for each in members if not family_of(each).of_run], attempts).keys()


class Followed:
    """What was found of one write after the other; whom one has reached the next need not follow again.  `beyond`: does it matter who went
    on from whom no record puts there?"""

    def __init__(self, attempts: Attempts, *, beyond: bool) -> None:
        self._attempts, self._beyond = attempts, beyond
        self._written: dict[str, list[int]] = {}  # by path: when what was loaded from there had been written
        self._looked: dict[Hashable, list[tuple[int, int]]] = {}  # work -> windows in which it was looked through for the untold
        self._untold: set[Attempt] = set()
        self._reached: dict[tuple[Attempt, bool], int] = {}  # (source, is it one by record) -> since when its saves were followed
        self._asked: dict[Hashable, int] = {}  # work -> since when it was asked for; who began after a later save began after that, too

    def from_write(self, loaded: Sequence[Loaded], *, shared: bool) -> Iterator[tuple[Examined, str]]:
        """Who may have loaded the bytes as well, and who may have gone on from what came of it.  `shared`: can others than the owners of
        the known loads have loaded them?"""
        seen: set[Attempt] = set()  # a load by record does not excuse: it may have gone on from what was spoilt before, too
        open_ones: list[tuple[int, str, int, bool]] = []  # whoever saved first is followed first
        for attempt, exposure in loaded:
            self._put(open_ones, attempt, exposure.load.event_time, recorded=True)
        for each in self.at_their_work(loaded, shared=shared):
            self._put(open_ones, each, each.attempt.start, recorded=False)
            yield each, claim.UNTOLD
        while open_ones:
            _, name, since, recorded = heappop(open_ones)
            source = self._attempts.get(name)
            if source is None or since >= min(self._reached.get((source.attempt, one), 2**62) for one in {recorded, True}):
                continue
            self._reached[source.attempt, recorded] = since
            for each, on_record in self._went_on(source, since, recorded=recorded):
                if each.attempt != source.attempt:
                    self._put(open_ones, each, each.attempt.start, recorded=recorded and on_record)
                    if each.attempt not in seen:
                        seen.add(each.attempt)
                        yield each, claim.DERIVED

    def _put(self, open_ones: list[tuple[int, str, int, bool]], each: Examined, since: int, *, recorded: bool) -> None:
        if recorded or self._beyond:
            heappush(open_ones, (each.saved.time if each.saved else 2**62, each.attempt.name, since, recorded))

    def at_their_work(self, loaded: Sequence[Loaded], *, shared: bool) -> Iterator[Examined]:
        """Of whom no record tells what they loaded, before other bytes were there; each once."""
        since, until = loaded[0][1].written, max(exposure.load.event_time for _, exposure in loaded) + UNTOLD_MS
        until, owners = min(until, self._replaced(loaded[0][1])), frozenset() if shared else frozenset(each.owner for each, _ in loaded)
        for task in sorted({attempt.task for attempt, _ in loaded if attempt.task}):
            looked = self._looked.setdefault((task, owners), [])
            if not any(first <= since and until <= last for first, last in looked):
                looked.append((since, until))
                for each in self._attempts.of_task(task, since, until):
                    if not each.loads_told and (shared or each.owner in owners) and each.attempt not in self._untold:
                        self._untold.add(each.attempt)
                        yield each

    def _replaced(self, exposure: Exposure) -> int:
        """When other bytes were written to that place, as far as loads tell; or never."""
        path = exposure.path
        if path not in self._written:
            self._written[path] = sorted({x.written for each in self._attempts.loaded([path]) for x in each.exposures if x.path == path})
        written = self._written[path]
        after = bisect_right(written, exposure.written)
        return written[after] if after < len(written) else 2**62

    def _went_on(self, source: Examined, since: int, *, recorded: bool) -> Iterator[tuple[Examined, bool]]:
        """From what it saved after `since`: by record, or at the same work where none says from what.  Where the source may itself be
        none, it must be of the same configuration and size as well: two conjectures are worth less than one."""
        for each in self._attempts.went_on_from(source.attempt.job):
            if each.resumed is not None and since <= each.resumed[1].time <= (source.end or 2**62):
                yield each, True
        kind = (source.loads_told,) if recorded else (source.loads_told, source.configuration, source.gpus)
        work = (source.owner, source.task, *kind) if source.task else (source.attempt.job, *kind)
        if source.saved is not None and since <= source.saved.time < self._asked.get(work, 2**62):
            self._asked[work] = source.saved.time
            yield from ((each, False) for each in self._attempts.untold_after(source, source.saved.time, alike=not recorded))
