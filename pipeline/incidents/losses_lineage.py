"""Writes that somebody is suspected of in; attempts that may have loaded their bytes, or built on what was made of them, out.

    write ── loaded by A, which saved a checkpoint ── B goes on from it, by record: it loaded what A had saved
      │                                          └─── C goes on with the same work later, and no record says from what
      └───── D began meanwhile at the work of somebody who loaded it, and no record says what D loaded

B, C and D count in the high reading alone: nothing shows that their results are wrong, and nothing excludes it.  An attempt that saved
nothing behind its load leaves nothing to its followers.

Holds: each write is followed by itself, so that incidents that are put together claim together what they claimed apart; who did the same
work is asked once for each write, since a sweep has thousands of attempts.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from pipeline.incidents.attempts import Attempts
from pipeline.incidents.losses_ended import Gate, LeftOut, Pricing, gated, held_of, known
from pipeline.loss import claims as claim
from pipeline.loss.claims import Claim
from pipeline.model.finding import Finding
from pipeline.model.incident import Examined
from pipeline.model.instants import DAY_MS
from pipeline.model.summary import Exposure

UNTOLD_MS = DAY_MS  # behind the last load that is known, within which others may have loaded the same
Loaded = tuple[Examined, Exposure]


def lineage(
    members: Sequence[Finding], counts: Callable[[Finding], bool], attempts: Attempts, pricing: Pricing, left_out: LeftOut
) -> Iterator[Claim]:
    """Claims for all of them; `counts`: does a finding say that bytes were altered?"""
    loads = _loads([each for each in members if each.suspect and counts(each)], attempts)
    for write in sorted(loads):
        for each, why in _touched(loads[write], attempts):
            gate = Gate(low=False, middle=False, why=why)
            if (held := held_of(each.attempt.name, attempts, pricing, gate, left_out)) is not None:
                of = (each.attempt, each.nodes, held.gpus)
                made = claim.invalid(*of, loaded=held.began, end=held.end, diverged=False, evidence=known(write, each.record))
                yield gated(gate, made)


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


def _touched(loaded: Sequence[Loaded], attempts: Attempts) -> Iterator[tuple[Examined, str]]:
    """Who may have loaded the bytes as well, and who may have gone on from what came of it; each once."""
    seen = {attempt.attempt for attempt, _ in loaded}
    until = max(exposure.load.event_time for _, exposure in loaded) + UNTOLD_MS
    open_ones = [(attempt, exposure.load.event_time) for attempt, exposure in loaded]
    for task in sorted({attempt.task for attempt, _ in loaded if attempt.task}):
        for each in attempts.of_task(task, loaded[0][1].written, until):
            if not each.loads_told and each.attempt not in seen:
                seen.add(each.attempt)
                open_ones.append((each, each.attempt.start))
                yield each, claim.UNTOLD
    open_ones.sort(key=lambda each: each[0].saved.time if each[0].saved else 0, reverse=True)  # whoever saved first is asked first
    asked: dict[tuple[str, ...], int] = {}
    while open_ones:
        source, since = open_ones.pop()
        for each in _went_on(source, since, attempts, asked):
            if each.attempt not in seen:
                seen.add(each.attempt)
                open_ones.append((each, each.attempt.start))
                yield each, claim.DERIVED


def _went_on(source: Examined, since: int, attempts: Attempts, asked: dict[tuple[str, ...], int]) -> Iterator[Examined]:
    """From what it saved behind `since`: by record, or at the same work where none says from what.

    `asked`: since when the same work has been asked for; whoever began behind a later save began behind that one, too.
    """
    for each in attempts.went_on_from(source.attempt.job):
        if each.resumed is not None and since <= each.resumed[1].time <= (source.end or 2**62):
            yield each
    work = (source.owner, source.task) if source.task else (source.attempt.job,)
    if source.saved is not None and since <= source.saved.time < asked.get(work, 2**62):
        asked[work] = source.saved.time
        for each in attempts.same_work(source, source.saved.time, 2**62):
            if each.resumed is None and each.attempt.start >= source.saved.time:
                yield each
