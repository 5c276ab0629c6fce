"""Locks and a folder of advisories in, which of the locked versions they speak of out: `deploy/audit FOLDER`.

The folder holds records of the OSV schema as files of YAML or JSON, at any depth: a checkout of PyPA's advisory-database, or the archive
for PyPI that osv.dev gives away, unpacked.  For machines that reach no advisory service.
"""

import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import click
import yaml
from packaging.version import InvalidVersion, Version

LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
ENDS_FIRST = ("fixed", "introduced", "last_affected")  # of one version
OLD = timedelta(days=7)  # advisories come every day: a folder without one of this age is not kept up


class Known(NamedTuple):
    """One advisory that a locked version falls under."""

    package: str
    version: str
    advisory: str
    mended: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.package} {self.version}: {self.advisory}, mended in {', '.join(self.mended) or 'no release'}"


def normalised(name: str) -> str:
    """A package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def version_of(text: str) -> Version | None:
    """None for what no release can be called."""
    try:
        return Version(text)
    except InvalidVersion:
        return None


def in_range(version: Version, events: Iterable[Mapping[str, str]]) -> bool:
    """Whether the last event at or before the version began the fault; `last_affected` ends it after itself.

    Events come in any order, as the schema allows.
    """
    dated = [(version_of(text), ENDS_FIRST.index(kind)) for event in events for kind, text in event.items() if kind in ENDS_FIRST]
    inside = False
    for at, kind in sorted((at, kind) for at, kind in dated if at is not None):
        if version > at or (version == at and ENDS_FIRST[kind] != "last_affected"):
            inside = ENDS_FIRST[kind] == "introduced"
    return inside


def locked(lock: str) -> list[tuple[str, str]]:
    """Names and versions of a lock, or of several one after the other: each once."""
    return sorted({(normalised(name), text) for name, text in LOCKED.findall(lock)})


def known(lock: str, records: Iterable[Mapping[str, Any]]) -> Iterator[Known]:
    """What the records say of the locked versions.  Withdrawn ones say nothing; a git range tells of no release."""
    versions = defaultdict(list)
    for name, text in locked(lock):
        versions[name].append(text)
    for record in records:
        if record.get("withdrawn"):
            continue
        for affected in record.get("affected", ()):
            package = affected.get("package", {})
            if package.get("ecosystem") != "PyPI":
                continue
            ranges = [each.get("events", ()) for each in affected.get("ranges", ()) if each.get("type") == "ECOSYSTEM"]
            listed = {version_of(str(each)) for each in affected.get("versions", ())}
            for text in versions.get(name := normalised(str(package.get("name", ""))), ()):
                version = version_of(text)
                if version and (version in listed or any(in_range(version, events) for events in ranges)):
                    fixed = (event["fixed"] for events in ranges for event in events if "fixed" in event)
                    yield Known(name, text, str(record["id"]), tuple(fixed))


def records_below(folder: Path) -> Iterator[Mapping[str, Any]]:
    """All files of the folder that are advisories."""
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".json", ".yaml"):
            continue
        text = path.read_text(encoding="utf-8")
        read = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        if isinstance(read, dict) and "affected" in read and "id" in read:
            yield read


def moment(value: object) -> datetime:
    """A time of a record; YAML reads some by itself."""
    found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def report(lock: str, folder: Path, now: datetime) -> int:
    """Says what is found.  0: nothing, by advisories of these days; 1: something; 3: nothing, but they are old, or there are none."""
    records = list(records_below(folder))
    found = list(known(lock, records))
    for each in found:
        click.echo(each)
    click.echo(f"{len(locked(lock))} packages looked up in {len(records)} advisories, {len(found)} vulnerabilities known")
    newest = max((moment(each["modified"]) for each in records if "modified" in each), default=None)
    if found:
        return 1
    if newest is None or now - newest > OLD:
        told = f"the newest is of {newest.date()}" if newest else "there is none"
        click.echo(f"of later faults these advisories know nothing: {told}", err=True)
        return 3
    return 0


if __name__ == "__main__":
    seconds, below, *locks = sys.argv[1:]
    both = "\n".join(Path(lock).read_text(encoding="utf-8") for lock in locks)
    sys.exit(report(both, Path(below), datetime.fromtimestamp(int(seconds), UTC)))
