"""What sniffing found in; the lines for `trainwatch.yaml` out, with a comment where only a person knows the value.

The lines can be pasted as they are: every value is valid, and what must be looked at says so after it.  Texts that come from records are
written as JSON strings of ASCII, which are YAML too, so that no name can end its own line or act on a terminal.

Holds: a function of the report, the sample's origin and the input topics.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from pipeline.formats.sniff import Count, Report
from pipeline.model.source import FAMILIES


class Origin(msgspec.Struct, frozen=True):
    """Where the sample came from, and how it was read."""

    topic: str = ""
    file: str = ""  # base name
    zone: str = "UTC"
    zone_is_known: bool = False  # somebody said it


def settings_lines(report: Report, origin: Origin, topics: Mapping[str, Sequence[str]]) -> list[str]:
    """YAML lines, `topics` being the input topics by family; none when no format read anything, or only pieces of a document."""
    if not report.families or report.document:
        return []
    return [*_topics(report, origin, topics), "sources:", *_source(report, origin, topics)]


def _topics(report: Report, origin: Origin, topics: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A line for each family that does not list the topic yet: there its formats would not be asked."""
    missing = [family for family in FAMILIES if family in report.families and origin.topic and origin.topic not in topics[family]]
    if missing:
        yield "kafka:"
    for family in missing:
        names = ", ".join(_quoted(name) for name in (*topics[family], origin.topic))
        yield f"  {family}_topics: [{names}]"


def _source(report: Report, origin: Origin, topics: Mapping[str, Sequence[str]]) -> Iterator[str]:
    family = report.families[0]
    readers = [share.format for share in report.formats if share.lines > share.broken]
    only = readers[0] if len(readers) == 1 and report.claimed else ""
    yield f"  - name: {only or family}"
    topic = origin.topic or next(iter(topics[family]), "")
    if topic:
        yield f"    topic: {_quoted(topic)}"
    if program := _common(report.programs, report.lines):
        yield f"    program: {_quoted(program)}"
    if file := origin.file or _common(report.files, report.lines).rpartition("/")[2]:
        yield f"    file: {_quoted(f'(?:^|/){re.escape(file)}$')}"
    if only:
        yield f"    format: {only}"
    else:
        yield f"    # no format is pinned: {', '.join(readers)} read these lines"
    yield from _zone(report, origin)
    if family == "access" and report.hosts_total == 0:
        yield '    host: ""  # <- the host that wrote them: neither records nor lines name one'
    if family == "training" and report.jobs_total == 0:
        yield "    # no line and no file name tells the job: set job_pattern so that it finds the id in the name of the file"


def _zone(report: Report, origin: Origin) -> Iterator[str]:
    times = report.times
    if not times.without_zone:
        return
    timed = times.with_zone + times.without_zone
    told = f"{times.without_zone} of {timed} times have no zone"
    if times.without_year:
        told += f", {times.without_year} no year"
    likely = times.likely_offset_minutes
    if origin.zone_is_known or likely is None:
        read_as = f"read as {origin.zone} here" if origin.zone_is_known else f"<- read as {origin.zone}: set the zone of the hosts"
        yield f"    zone: {origin.zone}  # {told}; {read_as}"
    elif likely % 60:
        yield f"    zone: {origin.zone}  # <- {told}; likely {offset_text(likely)}: set the zone that has this offset"
    else:
        zone = f"Etc/GMT{-likely // 60:+d}" if likely else "UTC"
        yield f"    zone: {zone}  # {told}; likely {offset_text(likely)}, by their time of collection; better the name of the region"


def offset_text(minutes: int) -> str:
    """`+08:00`."""
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def _common(names: Sequence[Count], lines: int) -> str:
    """The one name that all lines have."""
    return names[0].name if len(names) == 1 and names[0].count == lines else ""


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]*", text) and text.lower() not in _WORDS else json.dumps(text)


_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
