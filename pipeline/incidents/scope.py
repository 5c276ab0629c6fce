"""A campaign and all ended attempts in; what was touched, what is fine, and what cannot be told, out.

    window     from the first act to the last effect
    affected   attempts of findings, but where nothing came of it; those that a queue or a node made lose hours, by an alert about it
    spared     attempts of findings of which nothing came
    exposed    attempts that loaded suspect bytes, whatever came of it
    derived    went on from what an affected or exposed attempt had saved after its load, or from what such a one had saved, and so on
    fine       ended in the window, benign, and told what it loaded: nothing suspect
    GPUs       of these, node by node: touched as many as its attempts held together, or the node has, since which of them no record tells;
               fine as many as one held, of nodes on which none but fine attempts ended, and of which no finding tells
    untold     ended in the window, unexplained; or did not tell what it loaded; or judged without a source that would have told; days on
               which a source said nothing

Suspect is what somebody wrote.  A folder from which newer checkpoints were removed is not: what the job took up instead nobody had touched.
Nor are former bytes that were put back.

A project is called unaffected only when attempts of it ended in the window and all of them are fine.  Rumours about scale are answered by
these lists, and by what they say is not known.
"""

from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush

from pipeline.incidents.attempts import Attempts
from pipeline.incidents.campaigns import artefacts_of
from pipeline.incidents.families import NOTHING_CAME, REMOVED, RESTORED, family_of
from pipeline.model.finding import Finding
from pipeline.model.incident import Derived, Examined, Mark, Scope, Traced, Unjudged
from pipeline.model.source import Source

EXAMPLES_MAX = 30


def trace(members: Sequence[Finding], attempts: Attempts) -> tuple[Traced, ...]:
    """Suspect artefacts with who loaded them after a suspect write: those that findings are about, and what else their writes altered."""
    since: dict[str, int] = {}
    writers: dict[str, set[str]] = {}
    loaded: dict[str, set[str]] = {}
    for each in members:
        for path in artefacts_of(each) if _altered(each) else ():
            since[path] = min(since.get(path, each.cause_time), each.cause_time)
            writers.setdefault(path, set()).add(each.suspect)
            if each.attempt is not None:
                loaded.setdefault(path, set()).add(each.attempt.name)
    written = {item.event_id for each in members for item in each.evidence if item.role == "written"}
    for attempt in attempts.loaded(written):
        for exposure in attempt.exposures:
            if exposure.write.event_id in written and not exposure.restored:
                since[exposure.path] = min(since.get(exposure.path, exposure.written), exposure.written)
                writers.setdefault(exposure.path, set()).add(exposure.writer)
                loaded.setdefault(exposure.path, set()).add(attempt.attempt.name)
    for attempt in attempts.loaded(since):
        for exposure in attempt.exposures:
            path = exposure.path
            if path in since and exposure.writer in writers[path] and exposure.written >= since[path] and not exposure.restored:
                loaded.setdefault(path, set()).add(attempt.attempt.name)
    return tuple(
        Traced(path=path, since=since[path], loads=len(names), loaded_by=tuple(names))
        for path in sorted(since)
        for names in (sorted(loaded.get(path, ())),)
    )


def _altered(finding: Finding) -> bool:
    """Is what it is about, or what an attempt loaded of it, other than it had been?"""
    return family_of(finding).cost != REMOVED and finding.effect not in RESTORED


def derive(traced: Iterable[Traced], attempts: Attempts) -> tuple[Derived, ...]:
    """Checkpoints that were saved after something suspect was loaded, and whoever went on from them, as far as records lead.

    One for each path, however many attempts saved there; where no record tells one from the root on, one for each attempt.
    """
    open_ones: list[tuple[int, str, str]] = []  # (since when it is in doubt, attempt, after what)
    for artefact in traced:
        for name in artefact.loaded_by:
            if (known := attempts.get(name)) is not None:
                loads = [each.load.event_time for each in known.exposures if each.path == artefact.path and not each.restored]
                open_ones.append((min(loads, default=known.attempt.start), name, artefact.path))
    heapify(open_ones)
    followed: set[str] = set()
    saved: dict[tuple[str, str], list[tuple[Mark, str, str, str]]] = {}  # -> (save, who saved, after what, who went on from it or nobody)
    while open_ones:
        since, name, after = heappop(open_ones)
        if name in followed:
            continue
        followed.add(name)
        attempt = attempts.get(name)
        if attempt is None:
            continue
        end = attempt.end if attempt.end is not None else 2**62
        went_on = [(each, each.resumed[1]) for each in attempts.went_on_from(attempt.attempt.job) if each.resumed and each is not attempt]
        went_on = [(each, save) for each, save in went_on if since <= save.time <= end]
        saves = [(save, each.attempt.name) for each, save in went_on]
        saves += [(attempt.saved, "")] if attempt.saved and attempt.saved.time >= since else []
        for save, by in saves:
            # What a framework printed as its user typed it may be another file in each attempt's folder.
            whole = save.path.startswith("/") or "://" in save.path
            saved.setdefault(("" if whole else name, save.path), []).append((save, name, after, by))
        for each, _ in went_on:
            heappush(open_ones, (each.attempt.start, each.attempt.name, name))
    return tuple(sorted((_derived(saves) for saves in saved.values()), key=lambda each: (each.saved, each.path, each.attempt)))


def _derived(saves: Sequence[tuple[Mark, str, str, str]]) -> Derived:
    """Of one artefact, in the order in which it was followed."""
    last, attempt, _, _ = max(saves)
    names = sorted({by for _, _, _, by in saves if by})
    return Derived(
        attempt=attempt,
        saved=last.time,
        event_id=last.event_id,
        after=saves[0][2],
        loads=len(names),
        loaded_by=tuple(names),
        path=last.path,
        saved_by=tuple(sorted({name for _, name, _, _ in saves})),
    )


def scope_of(
    members: Sequence[Finding],
    attempts: Attempts,
    traced: Iterable[Traced],
    derived: Iterable[Derived],
    window: tuple[int, int],
    silent_days: Mapping[str, Sequence[str]],
    gpus_per_node: int,
    beside: Iterable[str] = (),
) -> Scope:
    """What a campaign touched.  `silent_days`: source -> days on which it was not heard; `beside`: attempts that lost hours by what was
    done to a queue or a node.

    Of an attempt that does not tell what it loads nobody knows whether that was fine, however well it ended, and whatever is suspect.
    """
    traced = tuple(traced)
    harmed = [each for each in members if each.attempt is not None and each.effect not in NOTHING_CAME]
    affected = {each.attempt.name for each in harmed if each.attempt is not None} | {*beside}
    exposed = {name for each in traced for name in each.loaded_by} - affected
    behind = {name for each in derived for name in each.loaded_by} - affected - exposed
    touched = affected | exposed | behind
    spared = {each.attempt.name for each in members if each.attempt is not None} - touched
    inside = attempts.within(*window)
    untouched = [(each, each.verdict) for each in inside if each.attempt.name not in touched]
    untold = [each for each, verdict in untouched if verdict == "benign" and not each.loads_told]
    fine = [each for each, verdict in untouched if verdict == "benign" and each.loads_told]
    open_ones = [each for each, verdict in untouched if verdict == "unexplained"]
    hurt = [known for name in sorted(touched) if (known := attempts.get(name)) is not None]
    users = {each.owner for each in harmed if each.owner} | {each.owner for each in hurt if each.owner}
    projects = {each.project for each in hurt if each.project}
    unknown = [*open_ones, *untold]
    fine_users = {each.owner for each in fine if each.owner} - users - {each.owner for each in unknown}
    fine_projects = {each.project for each in fine if each.project} - projects - {each.project for each in unknown}
    held, hosts = _held(hurt), {each.subject.name for each in members if each.subject.kind == "host"}
    doubted = held.keys() | hosts | _held([*(each for each, verdict in untouched if verdict != "benign"), *untold]).keys()
    return Scope(
        attempts=tuple(sorted(affected)),
        users=tuple(sorted(users)),
        projects=tuple(sorted(projects)),
        affected=len(affected),
        affected_users=len(users),
        affected_projects=len(projects),
        fine_users=len(fine_users),
        fine_projects=len(fine_projects),
        gpus_max=max((each.gpus or 0 for each in hurt), default=0),
        gpus=sum(min(sum(of_each), max(*of_each, gpus_per_node)) for of_each in held.values()),
        fine_gpus=sum(max(of_each) for node, of_each in _held(fine).items() if node not in doubted),
        exposed=len(exposed),
        spared=len(spared),
        derived=len(behind),
        examined=len(inside),
        unaffected=len(fine),
        unaffected_users=tuple(sorted(fine_users)),
        unaffected_projects=tuple(sorted(fine_projects)),
        unexplained=len(open_ones),
        unjudged=tuple(_unjudged(inside, untold, silent_days)),
    )


def _held(attempts: Iterable[Examined]) -> dict[str, list[int]]:
    """Node -> how many GPUs each of them held there."""
    found: dict[str, list[int]] = {}
    for each in attempts:
        for node in each.nodes:
            found.setdefault(node, []).append(-(-(each.gpus or 0) // len(each.nodes)))
    return found


def _unjudged(inside: Sequence[Examined], untold: Sequence[Examined], silent_days: Mapping[str, Sequence[str]]) -> Iterable[Unjudged]:
    missing: dict[str, list[str]] = {Source.PROBE.value: [each.attempt.name for each in untold]} if untold else {}
    for each in inside:
        if each.verdict == "unexplained":
            for source in each.missing:
                missing.setdefault(source, []).append(each.attempt.name)
    for source in sorted(missing):
        yield Unjudged(source, "attempts", len(missing[source]), tuple(sorted(missing[source])[:EXAMPLES_MAX]))
    for source in sorted(silent_days):
        if days := silent_days[source]:
            yield Unjudged(source, "days", len(days), tuple(days[:EXAMPLES_MAX]))
