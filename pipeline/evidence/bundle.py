"""What a report cites, the records behind it and their chains in; the files of a bundle out, and onto the disk.

    report.json     findings as published, what each cites, what could not be put in and why
    records.jsonl   each cited record: bytes, key, headers, times, stored lines, place in its range, leaf, inclusion proof of the leaf
    chain.jsonl     statements with seals: the ranges of these records and all between them, or their neighbours where these are too many
    keys.json       public keys with validity        custody.jsonl   who did what with this evidence
    verify.py       the checker                      README.txt      how to use it
    manifest.json   sha256 of all these, signed with the site's key where the exporter has it

A line is cited by the id of its event and its sha256: a source that repeats a row as time goes by, as sacct does of a job that runs, gives
several lines one id, and each that is cited is there.

A leaf is of a run of records, so the proof of one shows key, headers, times and digests of those beside it, and no line of theirs; the
digest of an erased line, too.

Holds: the same input gives the same bytes, also as a zip; nothing here reads a clock, a server, or a private key.
"""

import base64
import hashlib
import json
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from pipeline import __version__
from pipeline.errors import ConfigError, require
from pipeline.evidence import verify
from pipeline.evidence.chain import value_of
from pipeline.evidence.merkle import inclusion_proof, leaf_hash, levels_of
from pipeline.evidence.signing import Signer
from pipeline.evidence.verify import MANIFEST_CONTEXT, Told, canonical, fingerprint, read_leaf
from pipeline.model.sealed import Sealed

ZIP_TIME = (1980, 1, 1, 0, 0, 0)
README = """trainwatch evidence bundle

  python verify.py .                                    in this folder, or name the zip
  python verify.py . --trust FINGERPRINT                a key that the site told you by another way
  python verify.py . --witness heads.jsonl              heads that somebody kept outside of the site

It needs Python 3.9 or later and the package cryptography, and no network. Exit code 0: nothing is wrong; 1: something is, and it is named;
2: it was not checked.
The head of verify.py says what is proved, what is not, and how every hash is made: take that file from a release of trainwatch rather than
from here if you do not trust whoever handed you the bundle.
A leaf tells of up to 15 records beside the one that it proves: keys, headers, times and hashes. Hand it to nobody who may not know these.
"""


Cited = tuple[str, str]  # event id; sha256 of the line, or "": whichever line of the event is first


class Line(msgspec.Struct, frozen=True):
    """A row of `events`."""

    index: int
    event_id: str
    time: int  # event time, UTC ms
    raw: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.raw).hexdigest()


class Exhibit(msgspec.Struct, frozen=True):
    """A record with the range that proves it."""

    sealed: Sealed
    offset: int
    lines: tuple[Line, ...]
    value: bytes | None  # None: nobody has the whole bytes any more
    value_from: str = "nowhere"  # events | hold | kafka

    @property
    def order(self) -> tuple[str, int, str, int]:
        return self.sealed.topic, self.sealed.partition, self.sealed.incarnation, self.offset


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """All that goes into a bundle."""

    subject: str
    findings: Sequence[Mapping[str, Any]]
    evidence: Sequence[Mapping[str, Any]]  # finding_id, role, event_id, sha256 ...
    unavailable: Sequence[Mapping[str, Any]]  # event_id, sha256, why; of a line that was erased also the erasure
    exhibits: Sequence[Exhibit]
    chain: Sequence[Sealed]
    custody: Sequence[Mapping[str, Any]]
    ring: Sequence[Mapping[str, Any]]
    created: int  # UTC ms
    by: str
    settings: str
    identities: str
    extra: Mapping[str, bytes] = {}  # further files, e.g. the report for people


class _Tree(msgspec.Struct, frozen=True):
    """The leaves of a range, read once for all of its records."""

    leaves: list[str]
    places: dict[int, tuple[int, int]]  # offset -> number of its leaf, and of the record in the leaf
    levels: list[list[bytes]]


@lru_cache(maxsize=4)  # records come in the order of their ranges
def _tree(text: str) -> _Tree:
    leaves = text.split("\n")
    places: dict[int, tuple[int, int]] = {}
    for number, leaf in enumerate(leaves):
        with suppress(*verify.ODD):  # one that cannot be read speaks of nothing; the check of the chain names it
            for at, told in enumerate(read_leaf(leaf).told):
                places.setdefault(told.offset, (number, at))
    return _Tree(leaves, places, levels_of([leaf_hash(each.encode()) for each in leaves]))


def is_told(sealed: Sealed, offset: int) -> bool:
    """Does a leaf of the range tell of the offset?"""
    return offset in _tree(sealed.leaves).places


def told_of(sealed: Sealed, offset: int) -> Told:
    """What a leaf tells of the offset, which must be one of the range."""
    tree = _tree(sealed.leaves)
    require(offset in tree.places, f"offset {offset} is not in the range from {sealed.lo} to {sealed.hi}")
    number, at = tree.places[offset]
    return read_leaf(tree.leaves[number]).told[at]


def value_from_lines(told: Told, lines: Iterable[Line]) -> bytes | None:
    """The record's bytes, where a stored line is the whole record."""
    return next((line.raw for line in lines if line.sha256 == told.sha256), None)


def build(case: Case, signer: Signer | None = None) -> dict[str, bytes]:
    """The files, by name."""
    chain = _ordered(case.chain)
    report = {
        "v": verify.CITES_LINES,
        "subject": case.subject,
        "findings": list(case.findings),
        "evidence": list(case.evidence),
        "unavailable": list(case.unavailable),
    }
    files = {
        verify.REPORT: _pretty(report),
        verify.RECORDS: _json_lines(map(_record, sorted(case.exhibits, key=lambda each: each.order))),
        verify.CHAIN: b"".join(value_of(sealed) + b"\n" for sealed in chain),
        verify.KEYS: _pretty({"v": 1, "keys": list(case.ring)}),
        verify.CUSTODY: _json_lines(case.custody),
        "verify.py": Path(verify.__file__).read_bytes(),
        "README.txt": README.encode(),
        **case.extra,
    }
    manifest = {
        "v": 1,
        "subject": case.subject,
        "created": case.created,
        "by": case.by,
        "software": __version__,
        "settings": case.settings,
        "identities": case.identities,
        "segments": _segments(chain),
        "fingerprints": [fingerprint(bytes.fromhex(entry["public"])) for entry in case.ring],
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
    }
    text = _pretty(manifest)
    files[verify.MANIFEST] = text
    if signer is not None:
        files[verify.MANIFEST_SIGNATURE] = canonical({"key": signer.key, "signature": signer.sign(MANIFEST_CONTEXT + text)})
    return dict(sorted(files.items()))


def resting_on(subject: str, incident: Mapping[str, Any] | None, findings: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """Records on which an incident, and what its findings exclude, rest beside those that the findings cite: event id -> (whose, as what).

    `incident`: its canonical body, or None; `findings`: theirs.  A line of loss was worked out from some, a checkpoint that is traced
    forward was saved by one, and a harmless explanation was ruled out by one, or left open.
    """
    found: dict[str, tuple[str, str]] = {}
    if incident is not None:
        lines = incident.get("loss", {}).get("lines", ())  # an earlier release told no loss
        found |= {each["event_id"]: (subject, "saved after something suspect was loaded") for each in incident.get("derived", ())}
        found |= {name: (subject, "loss") for line in lines if line["ledger"] == "direct" for name in line["evidence"]}
    for body in findings:
        found |= {item["by"]: (str(body["id"]), f"explanation {item['name']}") for item in body.get("checklist", ())}
    found.pop("", None)
    return found


def cited_beside(by: str, role: str, line: Line) -> dict[str, Any]:
    """A citation as those of findings are."""
    return {
        "finding_id": by, "role": role, "event_id": line.event_id, "sha256": line.sha256, "source": "", "event_time": line.time,
        "summary": "",
    }  # fmt: skip


def write(files: Mapping[str, bytes], path: Path) -> str:
    """A zip where the name ends so, else a folder; answers with the sha256 of the zip, or of the manifest.  Never over something, and for
    this account alone: it names people."""
    try:
        if path.exists():
            raise ConfigError(f"{path} exists already", advice="Name another file: a bundle is never written over.")
        if path.suffix != ".zip":
            path.mkdir(mode=0o700, parents=True)
            for name, content in files.items():
                target = path / name
                target.write_bytes(content)
            return hashlib.sha256(files[verify.MANIFEST]).hexdigest()
        with open(path, "xb", opener=_private) as file, zipfile.ZipFile(file, "w") as archive:
            for name, content in files.items():
                info = zipfile.ZipInfo(name, ZIP_TIME)
                info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(info, content)
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error}", advice="Name a file in a folder that you may write to.") from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _record(exhibit: Exhibit) -> dict[str, Any]:
    sealed, told, tree = exhibit.sealed, told_of(exhibit.sealed, exhibit.offset), _tree(exhibit.sealed.leaves)
    number, at = tree.places[exhibit.offset]
    text = tree.leaves[number]
    return {
        **{name: getattr(sealed, name) for name in ("topic", "partition", "incarnation", "lo", "hi")},
        "offset": exhibit.offset,
        "timestamp": told.timestamp,
        "key": told.key,
        "headers": told.headers,
        "value": None if exhibit.value is None else base64.b64encode(exhibit.value).decode(),
        "value_from": exhibit.value_from,
        "lines": [
            {"index": line.index, "event_id": line.event_id, "time": line.time, "raw": base64.b64encode(line.raw).decode()}
            for line in exhibit.lines
        ],
        "leaf": text,
        "position": number * read_leaf(text).run + at,
        "proof": [each.hex() for each in inclusion_proof(tree.levels, number)],
    }


def _ordered(chain: Iterable[Sealed]) -> list[Sealed]:
    """By partition and number, each head once."""
    unique = {(each.topic, each.partition, each.incarnation, each.number, each.lo, each.hi, each.head): each for each in chain}
    return [unique[key] for key in sorted(unique)]


def _segments(chain: Sequence[Sealed]) -> list[dict[str, Any]]:
    """Runs of consecutive numbers: what the bundle promises to hold without a hole."""
    segments: list[dict[str, Any]] = []
    for sealed in chain:
        where = {name: getattr(sealed, name) for name in ("topic", "partition", "incarnation")}
        last = segments[-1] if segments else {}
        if all(last.get(name) == value for name, value in where.items()) and sealed.number <= last["last"] + 1:
            last["last"] = sealed.number
        else:
            segments.append({**where, "first": sealed.number, "last": sealed.number})
    return segments


def _pretty(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"


def _json_lines(values: Iterable[Any]) -> bytes:
    return b"".join(canonical(value) + b"\n" for value in values)
