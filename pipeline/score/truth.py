"""Lines of a truth file in; acts, look-alikes and jobs as values out."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec


class Harmed(msgspec.Struct, frozen=True):
    """An attempt that an act harmed, or that loaded what it had altered."""

    job: str
    submit_ms: int
    owner: str
    time_ms: int
    effect: str = ""  # of `exposed`: the path that was loaded


class Act(msgspec.Struct, frozen=True):
    """One planted act of interference."""

    id: str
    pattern: str
    actor: str
    attributable: bool
    effective: bool
    victims: tuple[Harmed, ...]
    exposed: tuple[Harmed, ...]
    artefacts: tuple[str, ...]
    hosts: tuple[str, ...]
    times_ms: tuple[int, ...]
    windows_ms: tuple[tuple[int, ...], ...]
    first_effect_ms: int | None
    after_revert: tuple[Harmed, ...] = ()  # loaded the old bytes, which the actor had put back: the last hand is foreign
    also: tuple[str, ...] = ()  # patterns that the same traces fit
    shows: dict[str, str] = {}  # what sources that arrive show of it
    missing: tuple[str, ...] = ()  # sources that would show it, and do not: they do not arrive, or the jobs ran without the probe
    detail: dict[str, str] = {}


class LookAlike(msgspec.Struct, frozen=True):
    """Something harmless that looks like an act."""

    kind: str
    person: str
    time_ms: int
    job: str = ""
    submit_ms: int | None = None
    host: str = ""
    artefact: str = ""
    pattern: str = ""  # whose acts it looks like


class Job(msgspec.Struct, frozen=True):
    """Why an attempt ended."""

    job: str
    submit_ms: int
    start_ms: int | None
    end_ms: int | None
    state: str
    cause: str


class Wasted(msgspec.Struct, frozen=True):
    """A stretch of an attempt that an act destroyed or wasted."""

    act: str
    kind: str
    job: str
    submit_ms: int
    gpus: int
    start_ms: int
    end_ms: int
    share: float


class Transport(msgspec.Struct, frozen=True):
    """What became of records on their way."""

    duplicates: int = 0  # delivered twice
    broken: dict[str, int] = {}  # values, by how
    late: dict[str, int] = {}  # held back, by what


class Truth(msgspec.Struct, frozen=True):
    """Of one simulated period."""

    acts: tuple[Act, ...]
    look_alikes: tuple[LookAlike, ...]
    jobs: tuple[Job, ...]
    waste: tuple[Wasted, ...] = ()
    transport: Transport = Transport()


def truth_of(lines: Iterable[Mapping[str, Any]]) -> Truth:
    """Raises msgspec.ValidationError for a line of another shape."""
    by_kind: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        by_kind.setdefault(str(line["truth"]), []).append(line)
    return Truth(
        msgspec.convert(by_kind.get("act", []), tuple[Act, ...]),
        msgspec.convert(by_kind.get("look_alike", []), tuple[LookAlike, ...]),
        msgspec.convert(by_kind.get("job", []), tuple[Job, ...]),
        msgspec.convert(by_kind.get("waste", []), tuple[Wasted, ...]),
        msgspec.convert(next(iter(by_kind.get("run", [])), {}), Transport),
    )
