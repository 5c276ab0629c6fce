"""Attempts that ended or loaded what others had written, one by one, in; looked up by what incidents ask of them, out.

    what a failed run went on as      who ran the same work at a time      how quick siblings were
    who loaded a writer's bytes       who loaded this file, or what this write had written
    who went on from its checkpoints  who ended within a window

Everything is kept up to date attempt by attempt, since a cluster has twenty thousand and its incidents ask whenever a finding comes.
Holds: the same attempts give the same answers, in whatever order they came.
"""

from bisect import bisect_left
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Sequence
from statistics import median_low
from typing import NamedTuple

from sortedcontainers import SortedDict

from pipeline.detect.chance import fisher_of
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
BROKE = frozenset({"FAILED", "OUT_OF_MEMORY"})  # by what ran in it; orders and machines end attempts otherwise
KILLED_FROM_INSIDE = "killed_from_inside"  # the effect of P02, as a verdict's cause
Usual = list[tuple[int, Attempt, float]]


class Key(NamedTuple):
    """What attempts are looked up by."""

    what: str  # owner | work | alike | task | job | paced | writer | load | from
    of: tuple[Hashable, ...]


class Shown(NamedTuple):
    """What bytes do, by those who loaded them."""

    slower: float  # the share of their time that these would not have needed, in the median; 0: not slow, or too few can be compared
    kills: bool  # one of them was ended by itself
    ends: bool  # from a size on they break more often than others at their work that loaded nothing of this hand's


NOTHING_SHOWN = Shown(0.0, kills=False, ends=False)


class Attempts:
    """Attempts of one cluster, by name."""

    def __init__(self, examined: Mapping[str, Examined] | None = None) -> None:
        self.by_name: dict[str, Examined] = {}
        self._by_time: SortedDict[tuple[int, str], Examined] = SortedDict()
        self._by_key: dict[Key, dict[str, Examined]] = {}
        self._ordered: dict[Key, list[tuple[int, Attempt, str]]] = {}  # by start
        self._shown: dict[tuple[str, str], Shown] = {}  # by writer and path; asked anew when any attempt changes
        self._breaks: dict[str, bool] = {}  # by writer; asked anew as well
        self._usual: dict[Key, dict[str, Usual]] = {}  # by writer whose bytes were not loaded
        for name, each in (examined or {}).items():
            self.put(name, each)

    def put(self, name: str, each: Examined) -> None:
        """Take one in; its last word counts."""
        self.drop(name)
        self._shown.clear()
        self._breaks.clear()
        self.by_name[name] = self._by_time[time_of(each), name] = each
        for key in _keys(each):
            self._by_key.setdefault(key, {})[name] = each
            self._usual.pop(key, None)
            self._ordered.pop(key, None)

    def drop(self, name: str) -> None:
        """Nothing is known of it any more."""
        each = self.by_name.pop(name, None)
        if each is not None:
            self._shown.clear()
            self._breaks.clear()
            del self._by_time[time_of(each), name]
            for key in set(_keys(each)):
                del self._by_key[key][name]
                self._usual.pop(key, None)
                self._ordered.pop(key, None)
                if not self._by_key[key]:
                    del self._by_key[key]

    def oldest(self) -> str:
        """Of all that are held, of which there is one at least."""
        return str(self._by_time.peekitem(0)[0][1])

    def within(self, first: int, last: int) -> list[Examined]:
        """That ended in a window, in the order of their ends."""
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

    def running(self, like: Examined, time: int) -> list[Examined]:
        """Other attempts of its owner at the same work, at a time."""
        return [
            each
            for each in self._all("owner", like.owner)
            if each.attempt != like.attempt
            and (each.task == like.task or each.attempt.job == like.attempt.job)
            and 0 <= each.attempt.start <= time <= (each.end or 0)
        ]

    def of_owner(self, owner: str) -> list[Examined]:
        """All of theirs."""
        return self._all("owner", owner)

    def of_task(self, task: str, since: int, until: int) -> list[Examined]:
        """Attempts of anybody at the same kind of work that began in a window, and ended."""
        began = self._began(Key("task", (task,)), since, until)
        return sorted((each for each in began if each.end is not None), key=lambda each: each.attempt.name)

    def same_work(self, like: Examined, since: int, until: int, *, alike: bool = False) -> list[Examined]:
        """Other attempts at the same work that ended in a window; `alike`: of the same configuration and size."""
        if alike and like.task:
            same = self._all("alike", like.owner, like.task, like.configuration, like.gpus)
        else:
            same = self._all("work", like.owner, like.task) if like.task else self._all("job", like.attempt.job)
        return [each for each in same if each.attempt != like.attempt and each.end is not None and since <= each.end <= until]

    def on_node(self, node: str, since: int, until: int) -> list[Examined]:
        """That held the node and ended in a window."""
        return [each for each in self.within(since, until) if node in each.nodes]

    def exposed_to(self, writer: str) -> list[Examined]:
        """That loaded what this one had written and nobody had put back."""
        return self._all("writer", writer)

    def loaded(self, what: Iterable[str]) -> list[Examined]:
        """That loaded any of these files, or what any of these writes had written: paths and event ids."""
        found = {name: each for load in what for name, each in self._by_key.get(Key("load", (load,)), {}).items()}
        return [found[name] for name in sorted(found)]

    def went_on_from(self, job: str) -> list[Examined]:
        """Whose first load was a checkpoint that this job had saved."""
        return self._all("from", job)

    def paces_beside(self, slow: Examined, writer: str, accused: Container[str] = ()) -> list[float]:
        """Of siblings of its size that loaded nothing foreign; where they are few, nothing of this writer's.  The nearest in time, and
        of these without those of which the same is said, by name, unless too few are left."""
        key = Key("paced", (slow.configuration, slow.gpus))
        known = self._usual.setdefault(key, {})
        for but in ("", writer):
            if but not in known:
                known[but] = sorted(
                    (each.attempt.start, each.attempt, each.pace)
                    for each in self._by_key.get(key, {}).values()
                    if each.pace and all(but and exposure.writer != but for exposure in each.exposures)
                )
            usual = known[but]
            if len(usual) >= SIBLINGS_MIN:
                at = bisect_left(usual, (slow.attempt.start,))
                nearest = usual[max(0, at - SIBLINGS_MAX // 2) : at + SIBLINGS_MAX // 2]
                others = [pace for _, attempt, pace in nearest if attempt.name not in accused]
                return others if len(others) >= SIBLINGS_MIN else [pace for _, _, pace in nearest]
        return []

    def shown_by(self, writer: str, path: str) -> Shown:
        """What all who loaded this hand's bytes show of what they do."""
        key = writer, path
        if key not in self._shown:
            loaded = [each for each in self.loaded([path]) if any(_is_by(exposure, *key) for exposure in each.exposures)]
            usual = ((each.pace, self.paces_beside(each, writer)) for each in loaded[:SIBLINGS_MAX] if each.pace)
            ratios = sorted(pace / median_low(paces) for pace, paces in usual if paces)
            slow = len(ratios) >= SLOWED_MIN and median_low(ratios) >= SLOWER_MIN
            kills = any(each.cause == KILLED_FROM_INSIDE for each in loaded)
            self._shown[key] = Shown(1 - 1 / median_low(ratios) if slow else 0.0, kills, self._break(loaded[:SIBLINGS_MAX], writer))
        return self._shown[key]

    def break_by(self, writer: str) -> bool:
        """Do those that loaded anything of this hand's?  Who alters a module for two jobs and puts it back shows little by each."""
        if writer not in self._breaks:
            ordered = sorted(self.exposed_to(writer), key=lambda each: (each.attempt.start, each.attempt))
            self._breaks[writer] = self._break(ordered[:: -(-len(ordered) // EXPOSED_MAX) or 1], writer)  # from the first to the last
        return self._breaks[writer]

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
        same = self._in_order(Key("task", (task,)))
        place = bisect_left(same, (at,))
        near = (self.by_name[name] for _, _, name in same[max(0, place - SIBLINGS_MAX) : place + SIBLINGS_MAX])
        return [each for each in near if each.end is not None and all(exposure.writer != writer for exposure in each.exposures)]

    def _began(self, key: Key, since: int, until: int) -> Iterator[Examined]:
        """Those of a key that began in a window, the first one first."""
        ordered = self._in_order(key)
        for place in range(bisect_left(ordered, (since,)), len(ordered)):
            start, _, name = ordered[place]
            if start > until:
                return
            yield self.by_name[name]

    def _in_order(self, key: Key) -> list[tuple[int, Attempt, str]]:
        if key not in self._ordered:
            same = self._by_key.get(key, {})
            self._ordered[key] = sorted((each.attempt.start, each.attempt, name) for name, each in same.items())
        return self._ordered[key]

    def _all(self, what: str, *of: Hashable) -> list[Examined]:
        found = self._by_key.get(Key(what, of), {})
        return [found[name] for name in sorted(found)]


def _broken(attempts: Iterable[Examined], size: int) -> tuple[int, int]:
    """(those that broke, all), of this size and larger."""
    broke = [each.state in BROKE for each in attempts if (each.gpus or 0) >= size]
    return sum(broke), len(broke)


def _is_by(exposure: Exposure, writer: str, path: str) -> bool:
    return exposure.writer == writer and exposure.path == path and not exposure.restored


def time_of(examined: Examined) -> int:
    """When it ended; of one that runs, when it began."""
    return examined.end if examined.end is not None else max(examined.attempt.submit, examined.attempt.start)


def _keys(each: Examined) -> Iterator[Key]:
    yield Key("owner", (each.owner,))
    yield Key("job", (each.attempt.job,))
    if each.owner and each.task:
        yield Key("work", (each.owner, each.task))
        yield Key("task", (each.task,))
        yield Key("alike", (each.owner, each.task, each.configuration, each.gpus))
    if each.configuration and each.pace:
        yield Key("paced", (each.configuration, each.gpus))
    if each.resumed is not None:
        yield Key("from", (each.resumed[0],))
    for exposure in each.exposures:
        yield Key("load", (exposure.path,))
        yield Key("load", (exposure.write.event_id,))
        if not exposure.restored:
            yield Key("writer", (exposure.writer,))
