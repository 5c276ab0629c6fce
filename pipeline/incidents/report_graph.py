"""An incident in, who touched what as an inline SVG out: candidates, artefacts, attempts, and lines between them.

The picture adds nothing: beside it the report has the same as a table, which is what a screen reader, a printer and a doubter use.  What
an account did to a job at once, through no artefact, is dashed and passes between the boxes of artefacts, each account's in a gap of its
own: a line that came out of a box would read as if the artefact had done it, and one of two accounts' as if the other had.
"""

from collections.abc import Mapping, Sequence

import msgspec

from pipeline.incidents.campaigns import artefacts_of
from pipeline.incidents.families import REMOVED, family_of, words_of
from pipeline.incidents.report_text import called, safe
from pipeline.model.finding import Finding
from pipeline.model.incident import Incident
from pipeline.model.words import many

COLUMN_MAX = 12  # nodes in one column; what is left out is said
ROW, WIDTH, BOX, HIGH, TOP = 44, 960, 250, 30, 40
TIP = '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto"><path d="M0,0 8,4 0,8z"/></marker></defs>'
NAME_MAX = 30  # characters that a box holds
COLUMNS = (10, 355, 700)
AT_ONCE = ' class="once"'
UNKNOWN = "not known who"  # "nobody" would say that no person did it


class Edge(msgspec.Struct, frozen=True, order=True):
    """One touched another."""

    source: str
    target: str
    what: str


class Graph(msgspec.Struct, frozen=True):
    """Nodes by column and edges between them, in canonical order."""

    people: tuple[str, ...]
    artefacts: tuple[str, ...]
    attempts: tuple[str, ...]
    edges: tuple[Edge, ...]


def graph_of(incident: Incident, findings: Sequence[Finding]) -> Graph:
    """Candidates wrote artefacts that attempts loaded, or harmed attempts at once.

    Who wrote what is told by findings about that artefact: whoever killed a job has not written what it had loaded.  What was removed
    from a folder nobody loaded: the job missed it.
    """
    traced_paths = {traced.path for traced in incident.traced}
    removed = {each.id: artefacts_of(each) for each in findings if family_of(each).cost == REMOVED}
    wrote = {each.id: artefacts_of(each) & traced_paths for each in findings if each.id not in removed}
    paths = traced_paths.union(*removed.values())
    edges: set[Edge] = set()
    for member in incident.members:
        who, gone, mine = member.who or UNKNOWN, removed.get(member.finding, ()), wrote.get(member.finding, ())
        edges |= {Edge(who, path, "wrote") for path in mine} | {Edge(who, path, "removed from") for path in gone}
        edges |= {Edge(path, member.subject, "missed by") for path in gone}
        if not gone and not mine:
            edges.add(Edge(who, member.subject, f"{words_of(member.detector)} ({member.detector})"))
    for traced in incident.traced:
        edges |= {Edge(traced.path, attempt, "loaded by") for attempt in traced.loaded_by}
    people = sorted({edge.source for edge in edges if edge.source not in paths})
    targets = sorted({edge.target for edge in edges if edge.target not in paths})
    return Graph(tuple(people), tuple(sorted(paths)), tuple(targets), tuple(sorted(edges)))


def drawn(graph: Graph) -> str:
    """The picture."""
    places: dict[str, tuple[int, int]] = {}
    shapes: list[str] = []
    left_out = 0
    columns = (graph.people, graph.artefacts, graph.attempts)
    for x, title, names in zip(COLUMNS, ("Accounts", "Artefacts", "Jobs and others"), columns, strict=True):
        shapes.append(f'<text x="{x}" y="20" class="head">{title}</text>')
        left_out += max(0, len(names) - COLUMN_MAX)
        for number, name in enumerate(names[:COLUMN_MAX]):
            y = TOP + number * ROW
            places[name] = (x, y)
            shapes.append(f'<rect x="{x}" y="{y}" width="{BOX}" height="{HIGH}" rx="4"/>')
            shapes.append(f'<text x="{x + 8}" y="{y + 20}">{safe(_short(called(name)))}<title>{safe(name)}</title></text>')
    lines = [_line(places, edge) for edge in graph.edges if edge.source in places and edge.target in places]
    height = TOP + ROW * max(1, *(min(len(names), COLUMN_MAX) for names in columns)) + 10
    note = "<p>Dashed: done to a job or another at once, through no artefact.</p>" if any(AT_ONCE in line for line in lines) else ""
    note += f"<p>Nodes left out of the picture: {left_out}. The table has all.</p>" if left_out else ""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="graph-title graph-text">'
        '<title id="graph-title">Who touched what</title>'
        f'<desc id="graph-text">{many(len({*graph.people} - {UNKNOWN}), "candidate")}, {many(len(graph.artefacts), "artefact")}, '
        f"{many(len(graph.attempts), 'job or other', 'jobs and others')}, {many(len(graph.edges), 'tie')}; the table below says the same."
        f"</desc>{TIP}{''.join(lines)}{''.join(shapes)}</svg>{note}"
    )


def rows_of(graph: Graph) -> list[tuple[str, ...]]:
    """The same as cells."""
    return [(safe(called(edge.source)), safe(edge.what), safe(called(edge.target))) for edge in graph.edges]


def _line(places: Mapping[str, tuple[int, int]], edge: Edge) -> str:
    (x1, top1), (x2, top2) = places[edge.source], places[edge.target]
    start, y1, y2 = x1 + BOX, top1 + HIGH // 2, top2 + HIGH // 2
    kind = ""
    path = f"M{start},{y1} {_bend(start, y1, x2, y2)}"
    if (x1, x2) == (COLUMNS[0], COLUMNS[2]):
        left, right, gap = COLUMNS[1], COLUMNS[1] + BOX, top1 + (HIGH + ROW) // 2
        kind, path = AT_ONCE, f"M{start},{y1} {_bend(start, y1, left, gap)} H{right} {_bend(right, gap, x2, y2)}"
    return f'<path{kind} marker-end="url(#tip)" d="{path}"><title>{safe(edge.what)}</title></path>'


def _bend(x1: int, y1: int, x2: int, y2: int) -> str:
    return f"C{x1 + 40},{y1} {x2 - 40},{y2} {x2},{y2}"


def _short(name: str) -> str:
    return name if len(name) <= NAME_MAX else f"{name[:12]}…{name[-(NAME_MAX - 13) :]}"
