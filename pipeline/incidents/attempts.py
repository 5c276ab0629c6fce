"""Attempts that ended or loaded what others had written, one by one, in; looked up by what incidents ask of them, out.

    what a failed run went on as      who ran the same work at a time      how quick siblings were
    who loaded a writer's bytes       who loaded this file, or what this write had written
    who went on from its checkpoints  who ended within a window

Everything is kept up to date attempt by attempt, since a cluster has twenty thousand and its incidents ask whenever a finding comes; and
whatever is asked is noted (asked.py), so that what was worked out stays until an attempt changes that it rests on.
Holds: the same attempts give the same answers, in whatever order they came.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from statistics import median_low
from typing import NamedTuple

from sortedcontainers import SortedDict

from pipeline.detect.chance import fisher_of
from pipeline.incidents.asked import EVER, Asked, Key, Questions
from pipeline.model.incident import Examined
from pipeline.model.instants import DAY_MS
from pipeline.model.summary import Exposure
from pipeline.model.told import Attempt

RESTART_MS = 7 * DAY_MS
SIBLINGS_MIN = 2
SIBLINGS_MAX = 60  # nearest in time: what ran a year before is no better sibling, and all with all would cost the square
SLOWED_MIN, SLOWER_MIN = 3, 1.05  # attempts, and how slow in the median: as P09 asks
BROKEN_MIN, CHANCE = 3, 0.05  # that broke; and how often as many would by chance
EXPOSED_MAX = 500  # that are asked whether they broke: the test is exact, and takes seconds for ten thousand
FINE, RAN = "COMPLETED", frozenset({"COMPLETED", "TIMEOUT"})
BROKE = frozenset({"FAILED", "OUT_OF_MEMORY"})  # by what ran in it; orders and machines end attempts otherwise
KILLED_FROM_INSIDE = "killed_from_inside"  # the effect of P02, as a verdict's cause
SIDE = SIBLINGS_MAX // 2
Placed = tuple[int, Attempt, Examined]  # by start

ENDS = Key("ends")  # all, by their ends
BEGAN = Key("began")  # all that ran


class Shown(NamedTuple):
    """What bytes do, by those who loaded them."""

    slower: float  # the share of their time that these would not have needed, in the median; 0: not slow, or too few can be compared
    kills: bool  # one of them was ended by itself
    ends: bool  # from a size on they break more often than others at their work that loaded nothing of this hand's
    opens: bool = False  # unpickled by one of them they named what opens shells, sockets or files


NOTHING_SHOWN = Shown(0.0, kills=False, ends=False)


class Attempts:
    """Attempts of one cluster, by name."""

    def __init__(self, examined: Mapping[str, Examined] | None = None) -> None:
        self.questions = Questions()
        self._by_name: dict[str, Examined] = {}
        self._by_time: SortedDict[tuple[int, str], Examined] = SortedDict()
        self._by_key: dict[Key, list[Placed]] = {}
        self._shown: dict[tuple[str, str], tuple[Asked, Shown]] = {}  # by writer and path
        self._breaks: dict[str, tuple[Asked, bool]] = {}  # by writer
        for name, each in (examined or {}).items():
            self.put(name, each)

    def __len__(self) -> int:
        return len(self._by_name)

    def put(self, name: str, each: Examined) -> None:
        """Take one in; its last word counts."""
        if self._by_name.get(name) == each:
            return
        self.drop(name)
        self._by_name[name] = self._by_time[time_of(each), name] = each
        for key in set(_keys(each)):
            insort(self._by_key.setdefault(key, []), (each.attempt.start, each.attempt, each))
        self._changed(name, each)

    def drop(self, name: str) -> None:
        """Nothing is known of it any more."""
        each = self._by_name.pop(name, None)
        if each is not None:
            del self._by_time[time_of(each), name]
            for key in set(_keys(each)):
                placed = self._by_key[key]
                del placed[bisect_left(placed, (each.attempt.start, each.attempt))]
                if not placed:
                    del self._by_key[key]
            self._changed(name, each)

    def _changed(self, name: str, each: Examined) -> None:
        self.questions.changed(ENDS, time_of(each))
        for key in {Key("name", (name,)), *_keys(each)}:
            self.questions.changed(key, each.attempt.start)

    def oldest(self) -> str:
        """Of all that are held, of which there is one at least."""
        return str(self._by_time.peekitem(0)[0][1])

    def before(self, time: int) -> list[str]:
        """Names of those that were over by then."""
        return [name for _, name in self._by_time.irange(maximum=(time, ""), inclusive=(True, False))]

    def get(self, name: str) -> Examined | None:
        """What is known of one."""
        self.questions.ask(Key("name", (name,)))
        return self._by_name.get(name)

    def within(self, first: int, last: int) -> list[Examined]:
        """That ended in a window, in the order of their ends."""
        self.questions.ask(ENDS, first, last)
        inside = (self._by_time[key] for key in self._by_time.irange((first, ""), (last + 1, ""), inclusive=(True, False)))
        return [each for each in inside if each.end is not None]

    def next_of(self, failed: Examined) -> Examined | None:
        """The run that took its work up again."""
        end = failed.end or 0
        work, job = Key("work", (failed.owner, failed.task)), Key("job", (failed.attempt.job,))
        same = (each for each in self._began(work, end + 1, end + RESTART_MS) if each.attempt.submit >= end)
        again = (each for each in self._began(job, end + 1, end + RESTART_MS))
        later = [found for found in (next(same, None), next(again, None)) if found is not None]
        return min(later, key=lambda each: (each.attempt.start, each.attempt), default=None)

    def began(self, since: int, until: int) -> list[Examined]:
        """That began in a window, the first one first."""
        return [*self._began(BEGAN, since, until)]

    def running(self, like: Examined, time: int) -> list[Examined]:
        """Other attempts of its owner at the same work, at a time."""
        return [
            each
            for each in self._all(Key("owner", (like.owner,)), until=time)
            if each.attempt != like.attempt
            and (each.task == like.task or each.attempt.job == like.attempt.job)
            and each.attempt.start >= 0
            and time <= (each.end or 0)
        ]

    def of_owner(self, owner: str, until: int = EVER) -> list[Examined]:
        """All of theirs that had begun by then."""
        return self._all(Key("owner", (owner,)), until)

    def of_task(self, task: str, since: int, until: int) -> list[Examined]:
        """Attempts of anybody at the same kind of work that began in a window, and ended."""
        began = self._began(Key("task", (task,)), since, until)
        return sorted((each for each in began if each.end is not None), key=lambda each: each.attempt.name)

    def same_work(self, like: Examined, since: int, until: int) -> list[Examined]:
        """Other attempts at the same work that ended in a window."""
        same = self._all(Key("work", (like.owner, like.task)) if like.task else Key("job", (like.attempt.job,)), until)
        return [each for each in same if each.attempt != like.attempt and each.end is not None and since <= each.end <= until]

    def untold_after(self, like: Examined, since: int, *, alike: bool) -> list[Examined]:
        """Other attempts at the same work that began later, ended, and of which nothing tells what they went on from: neither a record
        nor, where both tell what they load, that there is none.  `alike`: of the same configuration and size."""
        work = (like.owner, like.task) if like.task else (like.attempt.job,)
        kind = (like.configuration, like.gpus) if alike and like.task else ()
        told = (False,) if like.loads_told else (False, True)
        found = [each for one in told for each in self._began(Key("untold", (one, work, kind)), since, EVER)]
        return sorted(
            (each for each in found if each.attempt != like.attempt and each.end is not None and since <= each.end),
            key=lambda each: each.attempt.name,
        )

    def on_node(self, node: str, since: int, until: int) -> list[Examined]:
        """That held the node and ended in a window."""
        return [each for each in self.within(since, until) if node in each.nodes]

    def exposed_to(self, writer: str) -> list[Examined]:
        """That loaded what this one had written and nobody had put back."""
        return self._all(Key("writer", (writer,)))

    def loaded(self, what: Iterable[str]) -> list[Examined]:
        """That loaded any of these files, or what any of these writes had written: paths and event ids."""
        found = {each.attempt.name: each for load in what for each in self._all(Key("load", (load,)))}
        return [found[name] for name in sorted(found)]

    def went_on_from(self, job: str) -> list[Examined]:
        """Whose first load was a checkpoint that this job had saved."""
        return self._all(Key("from", (job,)))

    def paces_beside(self, slow: Examined, writer: str, accused: Container[str] = ()) -> list[float]:
        """Of siblings of its size that loaded nothing foreign; where they are few, nothing of this writer's.  The nearest in time, and
        of these without those of which the same is said, by name, unless too few are left."""
        key = Key("paced", (slow.configuration, slow.gpus))
        for but in ("", writer):
            nearest = self._nearest(key, slow.attempt.start, SIDE, partial(_is_usual, but))
            if len(nearest) >= SIBLINGS_MIN:
                others = [each.pace for each in nearest if each.attempt.name not in accused and each.pace]
                return others if len(others) >= SIBLINGS_MIN else [each.pace for each in nearest if each.pace]
        return []

    def shown_by(self, writer: str, path: str) -> Shown:
        """What all who loaded this hand's bytes show of what they do."""
        key = writer, path
        known = self._shown.get(key)
        if known is None or not known[0].holds:
            with self.questions.working() as asked:
                self._shown[key] = known = asked, self._show(*key)
        else:
            self.questions.rests_on(known[0])
        return known[1]

    def _show(self, writer: str, path: str) -> Shown:
        loaded = [each for each in self.loaded([path]) if any(_is_by(exposure, writer, path) for exposure in each.exposures)]
        usual = ((each.pace, self.paces_beside(each, writer)) for each in loaded[:SIBLINGS_MAX] if each.pace)
        ratios = sorted(pace / median_low(paces) for pace, paces in usual if paces)
        slow = len(ratios) >= SLOWED_MIN and median_low(ratios) >= SLOWER_MIN
        kills = any(each.cause == KILLED_FROM_INSIDE for each in loaded)
        opens = any(path in each.code_in for each in loaded)
        return Shown(1 - 1 / median_low(ratios) if slow else 0.0, kills, self._break(loaded[:SIBLINGS_MAX], writer), opens)

    def break_by(self, writer: str) -> bool:
        """Do those that loaded anything of this hand's?  Who alters a module for two jobs and puts it back shows little by each."""
        known = self._breaks.get(writer)
        if known is None or not known[0].holds:
            with self.questions.working() as asked:
                ordered = sorted(self.exposed_to(writer), key=lambda each: (each.attempt.start, each.attempt))
                broke = self._break(ordered[:: -(-len(ordered) // EXPOSED_MAX) or 1], writer)  # from the first to the last
                self._breaks[writer] = known = asked, broke
        else:
            self.questions.rests_on(known[0])
        return known[1]

    def _break(self, loaded: Sequence[Examined], writer: str) -> bool:
        """By Fisher's test within each task, since some break anyhow, shared out among the sizes that are asked: some code strikes large
        jobs alone."""
        by_task: dict[str, list[Examined]] = {}
        for each in loaded:
            if each.end is not None and each.task:
                by_task.setdefault(each.task, []).append(each)
        works = [(mine, self._others(task, mine, writer)) for task, mine in by_task.items()]
        sizes = sorted({each.gpus or 0 for mine, _ in works for each in mine})
        for size in sizes:
            tables = [(*_broken(mine, size), *_broken(others, size)) for mine, others in works]
            tables = [table for table in tables if table[1] and table[3]]
            if sum(table[0] for table in tables) >= BROKEN_MIN and fisher_of(tables) <= CHANCE / len(sizes):
                return True
        return False

    def _others(self, task: str, loaded: Sequence[Examined], writer: str) -> list[Examined]:
        """Attempts at a task that loaded nothing of a hand's and ended: the nearest in time to those that did."""
        at = sorted(each.attempt.start for each in loaded)[len(loaded) // 2]
        near = self._nearest(Key("task", (task,)), at, SIBLINGS_MAX)
        return [each for each in near if each.end is not None and all(exposure.writer != writer for exposure in each.exposures)]

    def _nearest(self, key: Key, at: int, side: int, fits: Callable[[Examined], bool] = lambda _: True) -> list[Examined]:
        """So many that fit on each side of a time, in order of their start."""
        placed = self._by_key.get(key, [])
        place = bisect_left(placed, (at,))
        before = [*islice((placed[n][2] for n in range(place - 1, -1, -1) if fits(placed[n][2])), side)]
        after = [*islice((placed[n][2] for n in range(place, len(placed)) if fits(placed[n][2])), side)]
        since = before[-1].attempt.start if len(before) == side else -EVER
        self.questions.ask(key, since, after[-1].attempt.start if len(after) == side else EVER)
        return [*reversed(before), *after]

    def _began(self, key: Key, since: int, until: int) -> Iterator[Examined]:
        """Those of a key that began in a window, the first one first."""
        self.questions.ask(key, since, until)
        placed = self._by_key.get(key, [])
        for place in range(bisect_left(placed, (since,)), len(placed)):
            start, _, each = placed[place]
            if start > until:
                return
            yield each

    def _all(self, key: Key, until: int = EVER) -> list[Examined]:
        """Those of a key that had begun by then, by name."""
        return sorted(self._began(key, -EVER, until), key=lambda each: each.attempt.name)


def _broken(attempts: Iterable[Examined], size: int) -> tuple[int, int]:
    """(those that broke, these and those that ran as long as they should), of this size and larger.  What else ended one says nothing."""
    broke = [broke_down(each) for each in attempts if (each.gpus or 0) >= size and (broke_down(each) or each.state in RAN)]
    return sum(broke), len(broke)


def broke_down(each: Examined) -> bool:
    """Did it end badly, and no record explains it but what it had loaded?"""
    return each.state in BROKE and each.unexplained is not False


def _is_usual(but: str, each: Examined) -> bool:
    """Did it load nothing foreign; or, where a writer is named, nothing of theirs?"""
    return bool(each.pace) and all(but and exposure.writer != but for exposure in each.exposures)


def _is_by(exposure: Exposure, writer: str, path: str) -> bool:
    return exposure.writer == writer and exposure.path == path and not exposure.restored


def time_of(examined: Examined) -> int:
    """When it ended; of one that runs, when it began."""
    return examined.end if examined.end is not None else max(examined.attempt.submit, examined.attempt.start)


def _keys(each: Examined) -> Iterator[Key]:
    yield Key("owner", (each.owner,))
    yield Key("job", (each.attempt.job,))
    if each.attempt.start >= 0:
        yield BEGAN
    if each.owner and each.task:
        yield Key("work", (each.owner, each.task))
        yield Key("task", (each.task,))
    if each.configuration and each.pace:
        yield Key("paced", (each.configuration, each.gpus))
    if each.resumed is not None:
        yield Key("from", (each.resumed[0],))
    else:
        for work in [(each.owner, each.task)] * bool(each.owner and each.task) + [(each.attempt.job,)]:
            for kind in ((), (each.configuration, each.gpus)):
                yield Key("untold", (each.loads_told, work, kind))
    for exposure in each.exposures:
        yield Key("load", (exposure.path,))
        yield Key("load", (exposure.write.event_id,))
        if not exposure.restored:
            yield Key("writer", (exposure.writer,))
