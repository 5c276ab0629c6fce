"""Reads simulated records back with nothing but regular expressions: neither the simulator's code nor the pipeline's parsers.

What the tests of this folder say of a period, they say of what stands in its records.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from pipeline.simulate import Record, Week

LOCAL = ZoneInfo("Asia/Shanghai")
UTC = ZoneInfo("UTC")
UNSET = 4294967295
AUDIT = re.compile(r"type=(?P<type>[A-Z_]+) msg=audit\((?P<time>\d+\.\d{3}):(?P<serial>\d+)\): (?P<body>.*)", re.DOTALL)
PAIR = re.compile(r'(\w+)=("[^"]*"|[^ ]+)')


@dataclass(frozen=True)
class Text:
    """One line with what its envelope says."""

    topic: str
    collected: int
    line: str
    host: str
    file: str
    offset: int | None


@dataclass(frozen=True)
class Kill:
    """A signal as auditd told it."""

    host: str
    time: int
    signal: int
    success: bool
    auid: int
    uid: int
    sender: int
    target: int
    target_uid: int
    comm: str


@dataclass(frozen=True)
class Touch:
    """A file opened for writing, renamed onto or deleted."""

    host: str
    time: int
    success: bool
    auid: int
    uid: int
    path: str
    collected: int


@dataclass
class Audit:
    """One assembled audit event."""

    host: str
    time: int
    serial: int
    collected: int
    fields: dict[str, str] = field(default_factory=dict)
    targets: list[dict[str, str]] = field(default_factory=list)
    paths: list[dict[str, str]] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)


class Told:
    """All that the records of a period tell, each thing once, in order of collection."""

    def __init__(self, week: Week) -> None:
        self.week = week
        self.records = list(dict.fromkeys(week.records))

    @cached_property
    def texts(self) -> list[Text]:
        """Every readable line."""
        return [text for record in self.records if (text := _text(record)) is not None]

    @cached_property
    def jobcomp(self) -> list[dict[str, Any]]:
        """Events of the jobcomp plugin."""
        return [json.loads(text.line) for text in self.texts if text.line.startswith('{"jobid":')]

    @cached_property
    def finishes(self) -> list[dict[str, Any]]:
        """Jobcomp events of ended jobs."""
        return [event for event in self.jobcomp if "@end" in event]

    @cached_property
    def controller(self) -> list[tuple[int, str]]:
        """(UTC ms, text) of slurmctld.log."""
        found = [text for text in self.texts if text.file.endswith("slurmctld.log")]
        return [(instant(text.line[1:24], LOCAL), text.line[26:]) for text in found]

    @cached_property
    def accounting(self) -> list[dict[str, str]]:
        """Rows of sacct by column name."""
        rows = [text.line.split("|") for text in self.texts if "sacct" in text.file]
        names = rows[0]
        return [dict(zip(names, row, strict=True)) for row in rows if row != names]

    @cached_property
    def output(self) -> dict[str, list[str]]:
        """Lines of each job's output file, by job id."""
        files: dict[str, list[str]] = {}
        for text in self.texts:
            if found := re.search(r"slurm-(\d+)\.out$", text.file):
                files.setdefault(found[1], []).append(text.line)
        return files

    @cached_property
    def probe(self) -> list[dict[str, Any]]:
        """Events of the probe."""
        return [json.loads(text.line) for text in self.texts if text.line.startswith('{"trainwatch_probe":1')]

    @cached_property
    def audit(self) -> list[Audit]:
        """Audit events, assembled."""
        events: dict[tuple[str, str, str], Audit] = {}
        for text in self.texts:
            if (found := AUDIT.fullmatch(text.line)) is None:
                continue
            key = (text.host, found["time"], found["serial"])
            time = round(float(found["time"]) * 1000)
            event = events.setdefault(key, Audit(text.host, time, int(found["serial"]), text.collected))
            event.kinds.append(found["type"])
            pairs = {name: value.strip('"') for name, value in PAIR.findall(found["body"].partition("\x1d")[0])}
            if found["type"] == "OBJ_PID":
                event.targets.append(pairs)
            elif found["type"] == "PATH":
                event.paths.append(pairs)
            elif found["type"] == "SYSCALL":
                event.fields = pairs
        return list(events.values())

    @cached_property
    def kills(self) -> list[Kill]:
        """Every kill(2)."""
        return [
            Kill(
                event.host, event.time, int(event.fields["a1"], 16), event.fields["success"] == "yes", int(event.fields["auid"]),
                int(event.fields["uid"]), int(event.fields["pid"]), int(target["opid"]), int(target["ouid"]), event.fields["comm"],
            )
            for event in self.audit
            for target in event.targets
            if event.fields.get("syscall") == "62"
        ]  # fmt: skip

    @cached_property
    def touches(self) -> list[Touch]:
        """Every change of a file: its name as it is afterwards, or was before it was deleted."""
        return [
            Touch(
                event.host, event.time, event.fields["success"] == "yes", int(event.fields["auid"]), int(event.fields["uid"]),
                event.paths[-1]["name"], event.collected,
            )
            for event in self.audit
            if event.fields.get("syscall") in ("257", "82", "87")
        ]  # fmt: skip

    @cached_property
    def ranks(self) -> dict[tuple[str, int], list[dict[str, Any]]]:
        """Process starts that the probe told, by host and pid."""
        found: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for event in self.probe:
            if event["kind"] == "process_started":
                found.setdefault((event["host"], event["pid"]), []).append(event)
        return found

    def is_covered(self, identity: str, at: int, *, host: str = "", job: str = "") -> bool:
        """Whether some ticket of the settings covers an act."""
        return any(
            identity in ticket["identities"]
            and instant(ticket["start"]) <= at < instant(ticket["end"])
            and (not ticket["hosts"] or host in ticket["hosts"])
            and (not ticket["jobs"] or job in ticket["jobs"])
            for ticket in self.week.settings["tickets"]
        )

    @cached_property
    def identity(self) -> dict[int, str]:
        """Identity ids by uid."""
        return {entry["uid"]: entry["id"] for entry in self.week.settings["identities"]}


def instant(text: str, zone: ZoneInfo = UTC) -> int:
    """UTC ms of an ISO time; of `zone` when it names none."""
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp() * 1000)


def _text(record: Record) -> Text | None:
    headers = {name: value.decode() for name, value in record.headers}
    if headers:
        offset = int(headers["offset"])
        return Text(record.topic, record.timestamp, record.value.decode(), headers["host"], headers["file"], offset)
    try:
        event = json.loads(record.value)
    except ValueError:
        return None
    if "jobid" in event:
        return Text(record.topic, record.timestamp, record.value.decode(), "", "", None)
    if "log" in event:
        log = event["log"]
        return Text(record.topic, record.timestamp, event["message"], event["host"]["name"], log["file"]["path"], log["offset"])
    return Text(record.topic, record.timestamp, event["message"], event["host"], event["file"], None)


def by_file(texts: list[Text]) -> Iterator[tuple[tuple[str, str], list[Text]]]:
    """Lines of each file that has offsets, in order of offset."""
    files: dict[tuple[str, str], list[Text]] = {}
    for text in texts:
        if text.offset is not None:
            files.setdefault((text.host, text.file), []).append(text)
    for name, lines in files.items():
        yield name, sorted(lines, key=lambda text: text.offset or 0)
