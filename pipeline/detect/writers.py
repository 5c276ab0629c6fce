"""Who wrote last what a job loaded: the writes before a load in, the accusation that is left out.

An artefact's bytes come from its last write.  When that one is the owner's, or something explains it, nobody before it made these bytes;
so a foreign write accuses only while no explained one lies after it:

    write by u099 @40                        load @90    u099
    write by u099 @40    owner's @60         load @90    nobody: the bytes are the owner's
"""

from collections.abc import Iterable, Sequence

import msgspec

from pipeline.detect.benign import Benign, Suspicion
from pipeline.detect.case import Case, Loaded, evidence
from pipeline.detect.detector import answered, several
from pipeline.detect.lineage import WRITES_MAX
from pipeline.model.actor import actor_of, relation
from pipeline.model.events import Event, FileTouched
from pipeline.model.finding import Checked, Evidence, Explanation
from pipeline.model.source import Source
from pipeline.stream.watermark import Watermarks

WRITING = frozenset({"written", "renamed", "truncated"})


class Accusation(msgspec.Struct, frozen=True):
    """The last write of a file, which nothing explains, and those before it of which the same is true."""

    suspicion: Suspicion
    checklist: tuple[Explanation, ...]
    writes: tuple[Event, ...]
    alone: bool  # all writes in question are accused
    several: bool  # by several identities

    @property
    def of_anothers_file(self) -> bool:
        """Does the kernel say that the file was not the writer's?  Then bytes that some job says it saved are no word for him."""
        return any(item.name in ("own_file", "own_place") and item.answer is Checked.EXCLUDED for item in self.checklist)

    def cited(self, role: str = "written") -> list[Evidence]:
        """Each write as evidence."""
        return [item for write in self.writes for item in evidence(role, write, said_of(write))]

    @property
    def strength(self) -> float:
        return 0.97 if self.alone else 0.9


def said_of(write: Event) -> str:
    """One line for people, without a name: who it was is for the gates to say."""
    body = write.body
    if not isinstance(body, FileTouched):
        return ""
    does = "opened for writing" if body.action == "written" and write.source is Source.AUDITD else body.action  # no record says what
    if body.auid is not None:
        return f"{does} from a login" + (", as root" if body.uid == 0 else "")
    return f"{does} {'without a login' if body.uid is not None else 'by a user of the store' if body.user else 'by nobody named'}"


def writes_of(loaded: Loaded, since: int, actions: frozenset[str] = WRITING) -> list[Event]:
    """Writes of the file itself after `since`, up to its load, that succeeded."""
    return [each for each in loaded.writes if _is_write(each, loaded, actions) and since < each.event_time <= loaded.event.event_time]


def saved_itself(loaded: Loaded, job: str) -> Event | None:
    """What the loading job says that it saved: it is believed, since nobody else prints its output."""
    return next((save for save in loaded.saves if save.job == job), None)


def writes_since_saved(loaded: Loaded, others: Sequence[Event], own: Event | None) -> list[Event]:
    """Writes since the first of these saves of other bytes; where there is none, the last one before, but none before the job's own save.

    Whoever wrote the file can print later, in a job of his own, that it was saved: that is a doubt (`saved_again`), and hides nobody.
    """
    every = writes_of(loaded, -1) or [each for each in (loaded.overwritten,) if each is not None and _is_write(each, loaded, WRITING)]
    every = [each for each in every if own is None or each.event_time > own.event_time]
    since = others[0].event_time if others else -1
    return [each for each in every if each.event_time > since] or every[-1:]


def _is_write(event: Event, loaded: Loaded, actions: frozenset[str]) -> bool:
    body = event.body
    return isinstance(body, FileTouched) and body.success and body.action in actions and body.path == loaded.path


def accusation(
    checks: Iterable[Benign], case: Case, writes: Iterable[Event], effect_time: int, now: Watermarks, *, apart: bool = False
) -> Accusation | None:
    """What is held against the last writer; None when there is none, or an explanation holds for the last write.

    `apart`: of several files that were removed each stands for itself, and none makes good for another.
    """
    checks = tuple(checks)
    newest = sorted(writes, key=lambda each: (each.event_time, each.id))[-WRITES_MAX:]
    accused: list[tuple[Suspicion, tuple[Explanation, ...]]] = []
    for write in newest:
        actor = actor_of(case.site.directory, write)
        if relation(actor, case.owner) == "owner":
            continue
        suspicion = Suspicion(actor, write, effect_time, host=write.host)
        checklist = answered(checks, case, suspicion, now)
        if not any(item.answer is Checked.CONFIRMED for item in checklist):
            accused.append((suspicion, checklist))
    if not accused or not (apart or accused[-1][0].cause is newest[-1]):
        return None
    return _of(accused, len(newest))


def _of(accused: Sequence[tuple[Suspicion, tuple[Explanation, ...]]], writes: int) -> Accusation:
    suspicion, checklist = accused[-1]
    return Accusation(
        suspicion,
        checklist,
        tuple(each.cause for each, _ in accused),
        alone=len(accused) == writes,
        several=several(each for each, _ in accused),
    )
