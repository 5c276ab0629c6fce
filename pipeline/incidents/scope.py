"""A campaign and all ended attempts in; what was touched, what is fine, and what cannot be told, out.

    window     from the first act to the last effect
    affected   attempts of findings          exposed     attempts that loaded suspect bytes, whatever came of it
    fine       ended in the window, benign, without suspect bytes
    untold     ended in the window, unexplained; or judged without a source that would have told; days on which a source said nothing

A project is called unaffected only when attempts of it ended in the window and all of them are fine.  Rumours about scale are answered by
these lists, and by what they say is not known.
"""

from collections.abc import Iterable, Mapping, Sequence

from pipeline.incidents.campaigns import artefacts_of
from pipeline.model.finding import Finding
from pipeline.model.incident import Examined, Scope, Traced, Unjudged

LISTED_MAX = 200  # entries of one list in a body; counts are whole
LOADS_MAX = 50
TRACED_MAX = 100
EXAMPLES_MAX = 5


def trace(members: Sequence[Finding], examined: Iterable[Examined]) -> tuple[tuple[Traced, ...], frozenset[str]]:
    """Suspect artefacts with who loaded them after a suspect write, and all attempts that loaded any."""
    since: dict[str, int] = {}
    writers: dict[str, set[str]] = {}
    loaded: dict[str, set[str]] = {}
    for each in members:
        for path in artefacts_of(each):
            since[path] = min(since.get(path, each.cause_time), each.cause_time)
            writers.setdefault(path, set()).add(each.suspect)
            if each.attempt is not None:
                loaded.setdefault(path, set()).add(each.attempt.name)
    written = {item.event_id for each in members for item in each.evidence if item.role == "written"}
    for attempt in examined:
        for exposure in attempt.exposures:
            known = exposure.path in since and exposure.writer in writers[exposure.path] and exposure.written >= since[exposure.path]
            if known or exposure.write.event_id in written:
                since[exposure.path] = min(since.get(exposure.path, exposure.written), exposure.written)
                loaded.setdefault(exposure.path, set()).add(attempt.attempt.name)
    listed = tuple(
        Traced(path=path, since=since[path], loads=len(names), loaded_by=tuple(names[:LOADS_MAX]))
        for path in sorted(since)[:TRACED_MAX]
        for names in (sorted(loaded.get(path, ())),)
    )
    return listed, frozenset(name for names in loaded.values() for name in names)


def scope_of(
    members: Sequence[Finding],
    examined: Mapping[str, Examined],
    loaded: frozenset[str],
    window: tuple[int, int],
    silent_days: Mapping[str, Sequence[str]],
) -> Scope:
    """What a campaign touched.

    `examined` by attempt name; `loaded`: attempts that loaded suspect artefacts; `silent_days`: source -> days on which it was not heard.
    """
    affected = {each.attempt.name for each in members if each.attempt is not None}
    exposed = loaded - affected
    touched = affected | exposed
    inside = [each for _, each in sorted(examined.items()) if each.end is not None and window[0] <= each.end <= window[1]]
    fine = [each for each in inside if each.verdict == "benign" and each.attempt.name not in touched]
    open_ones = [each for each in inside if each.verdict == "unexplained" and each.attempt.name not in touched]
    hurt = [examined[name] for name in sorted(touched) if name in examined]
    users = {each.owner for each in members if each.owner and each.attempt is not None} | {each.owner for each in hurt if each.owner}
    projects = {each.project for each in hurt if each.project}
    not_fine = {each.attempt.name for each in open_ones}
    doubtful = {each.project for each in inside if each.attempt.name in not_fine} | projects
    doubtful_users = {each.owner for each in inside if each.attempt.name in not_fine} | users
    return Scope(
        attempts=tuple(sorted(affected))[:LISTED_MAX],
        users=tuple(sorted(users)),
        projects=tuple(sorted(projects)),
        gpus_max=max((each.gpus or 0 for each in hurt), default=0),
        exposed=len(exposed),
        examined=len(inside),
        unaffected=len(fine),
        unaffected_users=tuple(sorted({each.owner for each in fine if each.owner} - doubtful_users))[:LISTED_MAX],
        unaffected_projects=tuple(sorted({each.project for each in fine if each.project} - doubtful))[:LISTED_MAX],
        unexplained=len(open_ones),
        unjudged=tuple(_unjudged(inside, silent_days)),
    )


def _unjudged(inside: Sequence[Examined], silent_days: Mapping[str, Sequence[str]]) -> Iterable[Unjudged]:
    missing: dict[str, list[str]] = {}
    for each in inside:
        if each.verdict == "unexplained":
            for source in each.missing:
                missing.setdefault(source, []).append(each.attempt.name)
    for source in sorted(missing):
        yield Unjudged(source, "attempts", len(missing[source]), tuple(sorted(missing[source])[:EXAMPLES_MAX]))
    for source in sorted(silent_days):
        if days := silent_days[source]:
            yield Unjudged(source, "days", len(days), tuple(days[:EXAMPLES_MAX]))
