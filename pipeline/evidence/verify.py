"""A bundle in; everything that is wrong with it out, each with a code, a place and a sentence.  Needs no site and nothing of trainwatch.

This file and the package `cryptography` are enough: `python verify.py BUNDLE [--trust FINGERPRINT] [--witness FILE]`, or
`trainwatch evidence verify BUNDLE`.  It defines all formats, and trainwatch writes them by it:

    record      [offset, timestamp, key, [[header, value], ...], sha256 of the value, rows]       key and header values in base64
                rows: what was stored of it, in order: event time where the value itself is the line, else [event time, sha256 of the line]
    leaf        RUN records of a range in order, the last leaf of a range those that are left, as a JSON text: [2, [record, ...]]
                of the first form: the text of one record alone; both are under roots that are good, never in one range
    root        Merkle tree of RFC 6962 over the leaves of a range: sha256(00 leaf), sha256(01 left right)
    statement   {v, topic, partition, incarnation, number, lo, hi, count, root, previous}: this range follows the one with head `previous`
    head        sha256(02 statement): names the range and all before it
    seal        {head, key, time, settings, identities, software}, signed with Ed25519
    key         {id, public, from, by, signature}: the next key is signed by the one before, the first by itself
    manifest    {files: name -> sha256, segments, ...}: signed when the exporter had the key
    report      {evidence: [{event_id, sha256 of the line, ...}, ...], ...}: several lines may be of one event, and each is cited by itself
    erasure     {time, account, reason, place and sha256 of a line, ...}: why a line is gone, signed with the site's key

What a good bundle proves: these bytes were record N of that topic when the range was sealed; nothing was put between, taken out or moved
since; the seal was made with this key.  It does not prove that the record was true when it was written, nor, without a witness or a
fingerprint that you got elsewhere, that the holder of the key did not make two histories.
Of a zip or folder that is names and contents of its files; whatever else it holds is named, but for times and modes.
A leaf tells also of the records beside the one that it proves: keys, headers, times and digests, no line.

Texts are canonical JSON: keys sorted, no spaces, ASCII.  Times are milliseconds since 1970-01-01 UTC.
"""

import argparse
import base64
import hashlib
import json
import re
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    if __name__ != "__main__":
        raise
    sys.stderr.write("not checked: this needs the package cryptography: python -m pip install cryptography\n")
    sys.exit(2)  # 1 would say that something is wrong with the bundle

LEAF, NODE, HEAD = b"\0", b"\1", b"\2"
FORM, RUN = 2, 16  # of the leaves that are made now; records in each, which belongs to the form
EMPTY_ROOT = hashlib.sha256(b"").digest()
SEAL_CONTEXT = b"trainwatch evidence seal v1\n"
KEY_CONTEXT = b"trainwatch evidence key v1\n"
MANIFEST_CONTEXT = b"trainwatch evidence manifest v1\n"
ERASURE_CONTEXT = b"trainwatch evidence erasure v1\n"
KEY_ID_DIGITS = 16
OVERLAP_MS = 86_400_000  # a key may still sign this long after the next one is valid: workers are restarted one by one
CLOCKS_MS = 60_000  # clocks of two workers may differ by this much
UNSIGNED = "the manifest is not signed"
MANIFEST, MANIFEST_SIGNATURE = "manifest.json", "manifest.signature.json"
SIGNED = {"key", "signature"}  # all that the signature of a manifest says
REPORT, RECORDS, CHAIN, KEYS, CUSTODY = "report.json", "records.jsonl", "chain.jsonl", "keys.json", "custody.jsonl"
CITES_LINES = 2  # form of the report from which on each record is cited by a line's sha256, not by its event alone
REQUIRED = (MANIFEST, REPORT, RECORDS, CHAIN, KEYS, CUSTODY)
FILE_BYTES_MAX = 4 << 30
ODD = (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)  # what values raise that are none of a bundle
LOCAL, ENTRY, END, END_64 = 30, 46, 22, 76  # bytes of the headers of a zip, without the names, fields and comments in them
DESCRIPTOR, DESCRIBED_LATER = b"PK\x07\x08", 8  # of sizes behind a file's bytes, where its flags say so
BAD_ZIP = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError)
ACCEPT_UNSIGNED = "accept a manifest that nobody signed: whoever exported had no key, and you know how the bundle came"
NO_FINGERPRINT = "--trust is empty: leave it out, or name a fingerprint"  # e.g. a variable that a script forgot to set
DRIVE = re.compile(r"[A-Za-z]:")

Entry = Mapping[str, Any]  # one line of chain.jsonl: statement, seal, signature

CODES = {
    "bundle_unreadable": "it is no bundle, or a part of it cannot be read",
    "file_missing": "a file that the manifest names is not there",
    "file_added": "a file that the manifest does not name",
    "archive_added": "the archive holds bytes that are of no file, or a comment: nobody signed them",
    "file_changed": "a file has another sha256 than the manifest says",
    "manifest_signature_wrong": "the manifest was changed after it had been signed",
    "manifest_signature_added": "beside the signature of the manifest stands what nobody signed",
    "manifest_unsigned": "nobody signed the manifest: findings, report and custody log are anybody's (--unsigned: you know how they came)",
    "key_changed": "a public key does not fit its id, or its entry was changed",
    "key_rotation_wrong": "a key was not signed by the one before it",
    "key_unknown": "signed with a key that is not in the ring",
    "key_untrusted": "the ring does not hold the key that you trust, or this was signed by a key that stands before it",
    "key_outside_validity": "signed before the key was valid, or after the next one had replaced it",
    "signature_wrong": "the seal was changed, or signed by somebody else",
    "head_wrong": "the statement was changed after it had been sealed",
    "chain_broken": "a range does not follow the one before it",
    "chain_missing": "ranges are missing from the chain",
    "chain_disordered": "entries of the chain are out of order",
    "chain_doubled": "one entry stands twice",
    "chain_forked": "two different histories of the same offsets",
    "chain_reread": "the same records were read into other lines by another release or other settings",
    "range_gap": "offsets between two ranges are under no root",
    "range_overlap": "two ranges share offsets",
    "range_wrong": "a range with impossible numbers",
    "incarnation_changed": "a statement of another life of the topic",
    "time_backwards": "a range was sealed before the one that it follows",
    "count_changed": "another number of records than the statement, or the form of the leaves, says",
    "leaf_unreadable": "a leaf is not what a leaf looks like",
    "leaves_changed": "the leaves do not give the root",
    "leaves_disordered": "leaves are not in the order of their offsets",
    "proof_wrong": "the record is not in the range: its leaf and proof do not give the signed root",
    "root_missing": "no signed root for the range of a record",
    "record_changed": "the bytes of a record are not those that were sealed",
    "offset_changed": "a record has another offset than was sealed",
    "time_changed": "a record has another time than was sealed",
    "record_key_changed": "a record has another key than was sealed",
    "headers_changed": "a record has other headers than were sealed",
    "record_doubled": "a record stands twice",
    "record_disordered": "records are out of order",
    "record_uncited": "a record that the report does not cite",
    "line_changed": "a stored line is not the one that was sealed",
    "line_time_changed": "a stored line has another event time than was sealed",
    "line_missing": "a line that was sealed is not there",
    "line_added": "a line that was never sealed",
    "erasure_wrong": "a line is said to have been erased, and the site did not sign that",
    "evidence_missing": "the report cites a line that is not in the bundle",
    "evidence_changed": "the report cites a line by another sha256 than it has",
    "witness_differs": "a witness was given another head for the same range",
    "witness_unknown": "a witness was given heads of ranges that are not in the chain",
}


class Problem(NamedTuple):
    """One thing that is wrong."""

    code: str  # of CODES
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.code}: {self.where}: {self.text}"


class Unreadable(Exception):
    """The bundle cannot be read at all."""


# --- formats ------------------------------------------------------------------------------------------------------------------------


def canonical(value: Any) -> bytes:
    """The one text of a JSON value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def head_of(statement: Mapping[str, Any]) -> str:
    """The name of a range and of all before it."""
    return hashlib.sha256(HEAD + canonical(statement)).hexdigest()


def key_id(public: bytes) -> str:
    """The name of a key; the whole fingerprint is the sha256."""
    return fingerprint(public)[:KEY_ID_DIGITS]


def fingerprint(public: bytes) -> str:
    """What one party tells another about a key, by telephone or on paper."""
    return hashlib.sha256(public).hexdigest()


def key_text(entry: Mapping[str, Any]) -> bytes:
    """What the key before signs of a key."""
    return KEY_CONTEXT + canonical({name: entry[name] for name in ("id", "public", "from", "by")})


def erasure_text(erasure: Mapping[str, Any]) -> bytes:
    """What the site signs of an erasure."""
    return ERASURE_CONTEXT + canonical({**erasure, "signing_key": "", "signature": ""})


def is_signed(public: bytes, signature: str, text: bytes) -> bool:
    """Did the holder of the key sign this?"""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(bytes.fromhex(signature), text)
    except (InvalidSignature, ValueError):
        return False
    return True


def is_included(leaf: bytes, position: int, count: int, proof: Sequence[str], root: str) -> bool:
    """Is it leaf `position` of the `count` under the root?"""
    if not 0 <= position < count:
        return False
    found, siblings, last = hashlib.sha256(LEAF + leaf).digest(), [bytes.fromhex(each) for each in proof], count - 1
    while last > 0:
        if position % 2 or position < last:
            if not siblings:
                return False
            sibling = siblings.pop(0)
            found = hashlib.sha256(NODE + sibling + found if position % 2 else NODE + found + sibling).digest()
        position, last = position // 2, last // 2
    return not siblings and found.hex() == root


class Told(NamedTuple):
    """What a leaf tells of one record."""

    offset: int
    timestamp: int
    key: str | None
    headers: list[list[str]]
    sha256: str | None
    rows: list[tuple[int, str]]  # event time, sha256 of the line


class Leaf(NamedTuple):
    """A leaf, taken apart."""

    run: int  # records that it has room for
    told: list[Told]


def read_leaf(text: str) -> Leaf:
    """Of either form.  Raises ValueError when it is none."""
    fields = json.loads(text)
    if not isinstance(fields, list) or len(fields) not in (2, 6):
        raise ValueError("a leaf has two fields, of the first form six")
    if len(fields) == 6:
        return Leaf(1, [_told(fields)])
    form, records = fields
    if form != FORM or not isinstance(records, list) or not 0 < len(records) <= RUN:
        raise ValueError(f"no leaf of form {FORM} with 1 to {RUN} records")
    return Leaf(RUN, [_told(record) for record in records])


def _told(fields: Any) -> Told:
    if not isinstance(fields, list) or len(fields) != 6:
        raise ValueError("a leaf tells six things of a record")
    offset, timestamp, key, headers, sha256, stored = fields
    if not isinstance(offset, int) or not isinstance(timestamp, int) or not isinstance(stored, list) or not isinstance(headers, list):
        raise ValueError("a field of a leaf has a wrong type")
    rows = []
    for row in stored:
        time, line = (row, sha256) if isinstance(row, int) else row
        rows.append((time, line))
    return Told(offset, timestamp, key, headers, sha256, rows)


# --- keys ---------------------------------------------------------------------------------------------------------------------------


class Ring:
    """The public keys of a site, and since when each is valid.  A broken entry is a problem and no key.

    Whom you trust vouches for himself and the keys after him: anybody may sign a public key as the one that follows his own.
    """

    def __init__(self, entries: Sequence[Mapping[str, Any]], trust: str = "") -> None:
        self.problems: list[Problem] = []
        self.fingerprints: list[str] = []
        self._keys: dict[str, tuple[bytes, int, int | None]] = {}  # id -> public, valid from, to
        before = ""
        for number, entry in enumerate(entries):
            where = f"keys.json, key {number}"
            try:
                public, start, name = bytes.fromhex(entry["public"]), int(entry["from"]), str(entry["id"])
                text, by, signature = key_text(entry), str(entry["by"]), str(entry["signature"])
            except ODD as error:
                self.problems.append(Problem("key_changed", where, f"it cannot be read: {error!r}"))
                continue
            if key_id(public) != name:
                self.problems.append(Problem("key_changed", where, f"the id is {name}, that of the key {key_id(public)}"))
                continue
            signer = self._keys[by][0] if by in self._keys else public if by == name and not before else b""
            if name in self._keys:
                self.problems.append(Problem("key_rotation_wrong", where, f"{name} stands twice"))
                continue
            if by != (before or name) or not is_signed(signer or public, signature, text):
                self.problems.append(Problem("key_rotation_wrong", where, f"{name} is not signed by {before or 'itself'}"))
                continue
            if before:
                old, since, _ = self._keys[before]
                self._keys[before] = old, since, start + OVERLAP_MS
            self._keys[name] = public, start, None
            self.fingerprints.append(fingerprint(public))
            before = name
        wanted, names = trust.lower().replace(":", "").strip(), [*self._keys]
        there = [each.startswith(wanted) for each in self.fingerprints if len(wanted) >= KEY_ID_DIGITS]
        self._before_trust = frozenset(names[: there.index(True)] if wanted and any(there) else ())
        self._first = self.fingerprints[0] if self.fingerprints else ""
        if trust and not any(there):
            self.problems.append(Problem("key_untrusted", "keys.json", f"no key has the fingerprint {wanted}"))

    def check(self, name: str, time: int | None, signature: str, text: bytes, where: str, code: str) -> Iterator[Problem]:
        """A signature by a key, at a time."""
        if name not in self._keys:
            yield Problem("key_unknown", where, f"signed with key {name}")
            return
        public, start, end = self._keys[name]
        if name in self._before_trust:
            first = f"ask the site whether its first key is {self._first}"
            yield Problem("key_untrusted", where, f"key {name} stands before the one that you trust: {first}")
        if not is_signed(public, signature, text):
            yield Problem(code, where, f"key {name} did not sign this")
        elif time is not None and (time < start - CLOCKS_MS or (end is not None and time > end)):
            yield Problem("key_outside_validity", where, f"key {name} is valid from {start} to {end or 'now'}, signed at {time}")


# --- chains -------------------------------------------------------------------------------------------------------------------------


def place_of(statement: Mapping[str, Any]) -> str:
    """`logs.access/3 [17, 42)`."""
    return f"{statement.get('topic')}/{statement.get('partition')} [{statement.get('lo')}, {statement.get('hi')})"


_STATEMENT = {"v": int, "topic": str, "partition": int, "incarnation": str, "number": int, "lo": int, "hi": int, "count": int} | {
    "root": str,
    "previous": str,
}
_SEAL = {"head": str, "key": str, "time": int, "settings": str, "identities": str, "software": str}


def is_readable(entry: Any) -> bool:
    """Is it a statement with a seal, each field of the right type?"""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("signature"), str):
        return False
    parts = (entry.get("statement"), _STATEMENT), (entry.get("seal"), _SEAL)
    return all(
        isinstance(part, Mapping) and part.keys() == kinds.keys() and all(type(part[name]) is kind for name, kind in kinds.items())
        for part, kinds in parts
    )


def check_entry(entry: Entry, ring: Ring) -> Iterator[Problem]:
    """One statement and its seal."""
    statement, seal = entry["statement"], entry["seal"]
    where = place_of(statement)
    if not 0 <= statement["lo"] < statement["hi"] or not 0 <= statement["count"] <= statement["hi"] - statement["lo"]:
        yield Problem("range_wrong", where, f"{statement['count']} records")
    if (statement["number"] == 1) != (statement["previous"] == "") or statement["number"] < 1:
        yield Problem("chain_broken", where, f"number {statement['number']} follows {statement['previous'] or 'nothing'}")
    if head_of(statement) != seal["head"]:
        yield Problem("head_wrong", where, f"sealed as {seal['head']}, is {head_of(statement)}")
    yield from ring.check(seal["key"], seal["time"], entry["signature"], SEAL_CONTEXT + canonical(seal), where, "signature_wrong")


def check_chain(entries: Sequence[Any], ring: Ring, *, before: Entry | None = None) -> Iterator[Problem]:
    """Entries of one partition in order; `before` is the one before the first, where it is known."""
    last = before
    for number, entry in enumerate(entries):
        if not is_readable(entry):
            yield Problem("bundle_unreadable", f"entry {number} of the chain", "it is no statement with a seal")
            continue
        yield from check_entry(entry, ring)
        if last is not None:
            yield from _check_step(last, entry)
        if last is None or entry["statement"]["number"] >= last["statement"]["number"]:
            last = entry


def _check_step(last: Entry, entry: Entry) -> Iterator[Problem]:
    old, new = last["statement"], entry["statement"]
    where = place_of(new)
    if old["incarnation"] != new["incarnation"]:
        yield Problem("incarnation_changed", where, f"{new['incarnation']} follows {old['incarnation']}")
        return
    if old == new:
        yield Problem("chain_doubled", where, f"number {new['number']} stands twice")
        return
    if new["number"] == old["number"] or (new["lo"], new["hi"]) == (old["lo"], old["hi"]):
        yield Problem("chain_forked", where, f"number {old['number']} has head {head_of(old)}, {new['number']} {head_of(new)}")
        return
    if new["number"] < old["number"]:
        yield Problem("chain_disordered", where, f"number {new['number']} stands behind {old['number']}")
        return
    if new["number"] > old["number"] + 1:
        yield Problem("chain_missing", where, f"numbers {old['number'] + 1} to {new['number'] - 1} are not there")
        return
    if new["previous"] != head_of(old):
        yield Problem("chain_broken", where, f"follows {new['previous']}, the one before is {head_of(old)}")
    if new["lo"] > old["hi"]:
        yield Problem("range_gap", where, f"offsets {old['hi']} to {new['lo'] - 1} are under no root: evidence was off")
    elif new["lo"] < old["hi"]:
        yield Problem("range_overlap", where, f"the range before ends at {old['hi']}")
    if entry["seal"]["time"] < last["seal"]["time"] - CLOCKS_MS:
        yield Problem("time_backwards", where, f"sealed at {entry['seal']['time']}, the one before at {last['seal']['time']}")


def check_leaves(statement: Mapping[str, Any], texts: Sequence[str]) -> Iterator[Problem]:
    """All leaves of a range against its root."""
    where = place_of(statement)
    level = [hashlib.sha256(LEAF + text.encode()).digest() for text in texts]
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        level = [hashlib.sha256(NODE + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)] + odd
    if (level[0] if level else EMPTY_ROOT).hex() != statement["root"]:
        yield Problem("leaves_changed", where, "a leaf was changed, added, dropped or moved")
    leaves: list[Leaf] = []
    for number, text in enumerate(texts):
        try:
            leaves.append(read_leaf(text))
        except ODD as error:
            yield Problem("leaf_unreadable", f"{where}, leaf {number}", str(error))
            return
    count, run = sum(len(leaf.told) for leaf in leaves), leaves[0].run if leaves else 1
    if count != statement["count"]:
        yield Problem("count_changed", where, f"leaves tell of {count} records, sealed {statement['count']}")
    if any((leaf.run, len(leaf.told)) != (run, run) for leaf in leaves[:-1]) or any(leaf.run != run for leaf in leaves[-1:]):
        yield Problem("count_changed", where, f"leaves of several forms, or one before the last with other than {run} records")
    last = -1
    for told in (told for leaf in leaves for told in leaf.told):
        if told.offset <= last or not statement["lo"] <= told.offset < statement["hi"]:
            yield Problem("leaves_disordered", where, f"offset {told.offset} behind {last}")
            return
        last = told.offset


def check_witness(entries: Iterable[Entry], heads: Iterable[Any], segments: Sequence[Mapping[str, Any]] | None = None) -> Iterator[Problem]:
    """Heads that somebody else kept, against the chain.  `segments`: the witness may know ranges outside of these."""
    numbered = {_numbered(entry["statement"]): entry for entry in entries}
    for kept in heads:
        if not is_readable(kept):
            yield Problem("bundle_unreadable", "a line of the witness", "it is no statement with a seal")
            continue
        statement = kept["statement"]
        found = numbered.get(_numbered(statement))
        if found is not None and head_of(found["statement"]) != kept["seal"]["head"]:
            text = f"number {statement['number']}: {kept['seal']['head']} was witnessed, the chain has {head_of(found['statement'])}"
            yield Problem("witness_differs", place_of(statement), text)
        elif found is None and (segments is None or any(_within(statement, segment) for segment in segments)):
            yield Problem("witness_unknown", place_of(statement), f"number {statement['number']} was witnessed and is not in the chain")


def _numbered(statement: Mapping[str, Any]) -> tuple[Any, ...]:
    return statement["topic"], statement["partition"], statement["incarnation"], statement["number"]


def _within(statement: Mapping[str, Any], segment: Mapping[str, Any]) -> bool:
    same = all(statement[name] == segment[name] for name in ("topic", "partition", "incarnation"))
    return bool(same and segment["first"] <= statement["number"] <= segment["last"])


# --- records ------------------------------------------------------------------------------------------------------------------------


def _check_named(record: Any, statements: Mapping[tuple[Any, ...], Mapping[str, Any]], line: int) -> list[Problem]:
    """What `check_record` says of a line, which may be no record at all: then the line is named."""
    try:
        return list(check_record(record, statements))
    except ODD as error:
        return [Problem("bundle_unreadable", f"{RECORDS}, line {line}", f"{type(error).__name__}: {error}")]


def check_record(record: Mapping[str, Any], statements: Mapping[tuple[Any, ...], Mapping[str, Any]]) -> Iterator[Problem]:
    """One record of a bundle: what it says of itself against its leaf, and the leaf against the signed root."""
    where = f"{record['topic']}/{record['partition']}@{record['offset']}"
    try:
        leaf = read_leaf(record["leaf"])
    except ODD as error:
        yield Problem("leaf_unreadable", where, str(error))
        return
    place, at = divmod(record["position"], leaf.run)
    offsets = [told.offset for told in leaf.told]
    statement = statements.get((record["topic"], record["partition"], record["incarnation"], record["lo"], record["hi"]))
    if statement is None:
        yield Problem("root_missing", where, f"no statement on [{record['lo']}, {record['hi']})")
    elif not is_included(record["leaf"].encode(), place, -(-statement["count"] // leaf.run), record["proof"], statement["root"]):
        yield Problem("proof_wrong", where, f"leaf {place} of {place_of(statement)}")
    elif offsets != sorted(
        each for each in {*offsets} if statement["lo"] <= each < statement["hi"]
    ):  # else a later range could tell it anew
        text = f"its leaf tells of offsets {offsets[0]} to {offsets[-1]}, which are out of order or not in {place_of(statement)}"
        yield Problem("leaves_disordered", where, text)
    if at >= len(leaf.told):
        yield Problem("offset_changed", where, f"its leaf tells of {len(leaf.told)} records, it is said to be number {at}, from 0")
        return
    told = leaf.told[at]
    if told.offset != record["offset"]:
        yield Problem("offset_changed", where, f"sealed as offset {told.offset}")
    if told.timestamp != record["timestamp"]:
        yield Problem("time_changed", where, f"sealed with time {told.timestamp}")
    if told.key != record["key"]:
        yield Problem("record_key_changed", where, f"sealed with key {told.key}")
    if told.headers != record["headers"]:
        yield Problem("headers_changed", where, "sealed with other headers")
    if record["value"] is not None and _sha256(record["value"]) != told.sha256:
        yield Problem("record_changed", where, f"sealed with sha256 {told.sha256}")
    yield from check_lines(told, [(line["index"], line["time"], _sha256(line["raw"])) for line in record["lines"]], where)


def check_lines(told: Told, lines: Sequence[tuple[int, int, str]], where: str) -> Iterator[Problem]:
    """Stored lines (number in the record, event time, sha256) against what was sealed of them."""
    seen = set()
    for index, time, sha256 in lines:
        if not 0 <= index < len(told.rows) or index in seen:
            yield Problem("line_added", where, f"line {index} of {len(told.rows)}")
            continue
        seen.add(index)
        if told.rows[index][1] != sha256:
            yield Problem("line_changed", where, f"line {index}: sealed with sha256 {told.rows[index][1]}, is {sha256}")
        if told.rows[index][0] != time:
            yield Problem("line_time_changed", where, f"line {index}: sealed with event time {told.rows[index][0]}, is {time}")
    if missing := set(range(len(told.rows))) - seen:
        yield Problem("line_missing", where, f"line {min(missing)} of {len(told.rows)}")


def _sha256(text: str) -> str:
    return hashlib.sha256(base64.b64decode(text, validate=True)).hexdigest()


def check_citations(report: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """What the report cites, by event and sha256 of the line, against what is there: several lines may be of one event."""
    lines = [[(line["event_id"], _sha256(line["raw"])) for line in record["lines"]] for record in records]
    there, cited = _by_event(each for some in lines for each in some), _by_event(_cited(each) for each in report["evidence"])
    by_line = report.get("v", 1) >= CITES_LINES
    excused = {(each["event_id"], each.get("sha256", "")) for each in report["unavailable"]}
    excused |= {(event, sha256) for event in cited.keys() - there.keys() if (event, "") in excused for sha256 in cited[event]}
    missing = {
        event: {sha256 for sha256 in some - there.get(event, set()) if (event, sha256) not in excused} for event, some in cited.items()
    }
    spare = {event for event, some in cited.items() if there.get(event, set()) - some}
    for number, record in enumerate(records):
        # One that is cited and missing may be a line of this record, changed, and that is told below.
        needed = (event in cited and (not by_line or sha256 in cited[event] or missing[event]) for event, sha256 in lines[number])
        if not any(needed):
            yield Problem("record_uncited", f"{record['topic']}/{record['partition']}@{record['offset']}", "nothing in the report needs it")
    for each in report["evidence"]:
        event, sha256 = _cited(each)
        where = f"finding {each['finding_id']}"
        if sha256 in missing[event] and event in spare:
            yield Problem("evidence_changed", where, f"event {event} is cited as {sha256}")
        elif sha256 in missing[event]:
            yield Problem("evidence_missing", where, f"event {event} ({each['role']}), sha256 {sha256}")


def _cited(evidence: Mapping[str, Any]) -> tuple[str, str]:
    return evidence["event_id"], evidence["sha256"]


def _by_event(lines: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Event id -> sha256 of its lines."""
    found: dict[str, set[str]] = {}
    for event, sha256 in lines:
        found.setdefault(event, set()).add(sha256)
    return found


def check_erased(report: Mapping[str, Any], ring: Ring) -> Iterator[Problem]:
    """What is said to have been erased: by the site, and that very line?"""
    for each in report["unavailable"]:
        erasure, where = each.get("erasure"), f"event {each['event_id']}"
        if erasure is None:
            continue
        if erasure["event_id"] != each["event_id"]:
            yield Problem("erasure_wrong", where, f"the erasure is of event {erasure['event_id']}")
        elif each.get("sha256", "") not in ("", erasure["sha256"]):
            yield Problem("erasure_wrong", where, f"cited as {each['sha256']}, the erasure is of {erasure['sha256']}")
        text = erasure_text(erasure)
        yield from ring.check(erasure["signing_key"], erasure["time"], erasure["signature"], text, where, "erasure_wrong")


# --- bundles ------------------------------------------------------------------------------------------------------------------------


class Files(dict[str, bytes]):
    """The files of a bundle by name, and what lay beside them in the archive."""

    problems: Sequence[Problem] = ()
    notes: Sequence[str] = ()


def read_bundle(path: Path) -> Files:
    """The files of a folder or zip, and as an empty file what else has a name there.  Raises Unreadable."""
    try:
        if path.is_dir():
            if link := next((each for each in path.rglob("*") if each.is_symlink()), None):
                raise Unreadable(f"{link} is a link: what it leads to is no part of a bundle")
            found = [each for each in sorted(path.rglob("*")) if not (each.is_dir() and any(each.iterdir()))]
            return Files({each.relative_to(path).as_posix(): each.read_bytes() if each.is_file() else b"" for each in found})
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            for info in infos:
                _require_harmless(info)
            if len({info.filename for info in infos}) != len(infos):
                raise Unreadable("a name stands twice in the archive")
            if sum(info.file_size for info in infos) > FILE_BYTES_MAX:
                raise Unreadable(f"more than {FILE_BYTES_MAX} bytes")
            within = {parent.as_posix() for info in infos for parent in PurePosixPath(info.filename).parents}
            named = [info for info in infos if not info.is_dir() or info.file_size or info.filename.removesuffix("/") not in within]
            files = Files({info.filename: archive.read(info) for info in named})
            files.problems, files.notes = _beside(file, archive, path.name)
            return files
    except (OSError, *BAD_ZIP) as error:
        raise Unreadable(f"{path}: {error}") from error


def _require_harmless(info: zipfile.ZipInfo) -> None:
    """Nothing is unpacked here, but people do, once a bundle is said to be fine.  Raises Unreadable."""
    name = info.orig_filename
    path = PurePosixPath(name)
    leads_out = name != info.filename or "\\" in name or DRIVE.match(name) or path.is_absolute() or ".." in path.parts
    if leads_out or str(path) != name.removesuffix("/") or stat.S_ISLNK(info.external_attr >> 16):
        raise Unreadable(f"the name {name!r} leads out of the archive, or is not what it seems")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Unreadable(f"{name!r} is packed in a way in which no bundle is")


def _beside(file: BinaryIO, archive: zipfile.ZipFile, name: str) -> tuple[list[Problem], list[str]]:
    """What an archive holds beside its files: no digest covers it, and whoever opens the archive otherwise may read it."""
    infos, problems = archive.infolist(), []
    comments = [comment for comment in (archive.comment, *(info.comment for info in infos)) if comment]
    problems += [Problem("archive_added", name, f"a comment: {comment[:100]!r}") for comment in comments]
    size, end = file.seek(0, 2), END + len(archive.comment)
    spare, fields = size - end, 0
    if _at(file, max(size - end - 20, 0), 4) == b"PK\x06\x07":
        spare -= END_64
    for info in infos:
        title, local = struct.unpack("<HH", _at(file, info.header_offset + LOCAL - 4, 4))
        start = info.header_offset + LOCAL + title + local
        spare -= LOCAL + ENTRY + 2 * title + local + len(info.extra) + len(info.comment) + info.compress_size
        fields += local + len(info.extra)
        if info.flag_bits & DESCRIBED_LATER:
            spare -= 16 if _at(file, start + info.compress_size, 4) == DESCRIPTOR else 12
        if info.compress_type == zipfile.ZIP_DEFLATED:
            packed = zlib.decompressobj(-zlib.MAX_WBITS)
            packed.decompress(_at(file, start, info.compress_size), info.file_size + 1)
            spare += len(packed.unused_data)
    if spare:
        problems.append(Problem("archive_added", name, f"{spare} bytes before, between or behind the files"))
    return problems, [f"{fields} bytes in the archive are fields that packers add, times for one: nobody signed them"] if fields else []


def _at(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)


def lines_of(content: bytes) -> list[Any]:
    """JSON lines.  Raises ValueError or RecursionError."""
    return [_json(line) for line in content.splitlines() if line]


def heads_of(content: bytes) -> list[Any]:
    """What a witness kept.  Raises ValueError, also where he kept nothing: whoever asks him must not take that for an answer."""
    heads = lines_of(content)
    if not heads:
        raise ValueError("the witness kept no head")
    return heads


def _json(content: bytes) -> Any:
    return json.loads(content, object_pairs_hook=_once)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values under one name another reader may take the one that was not checked."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in an object")
    return found


class Verdict(NamedTuple):
    """What came of it."""

    problems: list[Problem]
    notes: list[str]
    fingerprints: list[str]
    records: int = 0
    ranges: int = 0

    @property
    def ok(self) -> bool:
        return not self.problems


def verify_bundle(files: Mapping[str, bytes], *, trust: str = "", witness: Sequence[Any] = (), unsigned: bool = False) -> Verdict:
    """Check everything; a first problem does not hide the others.  `unsigned`: a manifest without signature is accepted, and said."""
    beside = files if isinstance(files, Files) else Files()
    missing = [name for name in REQUIRED if name not in files]
    if missing:
        return Verdict([Problem("file_missing", name, "every bundle has it") for name in missing] + [*beside.problems], [], [])
    try:
        manifest, report, keys = (_json(files[name]) for name in (MANIFEST, REPORT, KEYS))
        records, chain = lines_of(files[RECORDS]), lines_of(files[CHAIN])
        lines_of(files[CUSTODY])
        ring = Ring(keys["keys"], trust)
        problems = [*beside.problems, *_check_files(files, manifest, ring), *ring.problems]
        if MANIFEST_SIGNATURE not in files and not unsigned:
            problems.append(
                Problem("manifest_unsigned", MANIFEST, "its signature is not there: whoever exported had no key, or somebody took it away")
            )
        problems += _check_chains(chain, manifest["segments"], ring)
        problems += _check_created(manifest["created"], chain)
        statements = {_ranged(entry["statement"]): entry["statement"] for entry in chain if is_readable(entry)}
        problems += _check_order(records)
        for line, record in enumerate(records, 1):
            problems += _check_named(record, statements, line)
        problems += check_citations(report, records)
        problems += check_erased(report, ring)
        if witness:
            problems += check_witness((entry for entry in chain if is_readable(entry)), witness, manifest["segments"])
        notes = [*_notes(files, report, records, trust=trust, witness=witness), *beside.notes]
        notes += _unwitnessed(chain, manifest["segments"], witness) if witness else []
    except ODD as error:
        return Verdict([Problem("bundle_unreadable", "a file of the bundle", f"{type(error).__name__}: {error}")], [], [])
    return Verdict(problems, notes, ring.fingerprints, len(records), len(chain))


def _notes(files: Mapping[str, bytes], report: Mapping[str, Any], records: Sequence[Any], *, trust: str, witness: object) -> Iterator[str]:
    """What is not wrong, and not proved either."""
    if not trust:
        yield "the keys are the bundle's own: compare their fingerprints with those that the site gave you by another way (--trust)"
    if not witness:
        yield "no witness was asked: the holder of the key could have sealed a second history (--witness)"
    if MANIFEST_SIGNATURE not in files:
        yield f"{UNSIGNED}: report and custody log are only as good as the way by which they came"
    if bare := sum(record["value"] is None for record in records):
        yield f"of {bare} records the whole bytes are gone: proved is that the site read these lines from a record with the sealed sha256"
    for each in report["unavailable"]:
        line = f", sha256 {each['sha256']}," if each.get("sha256") else ""
        yield f"event {each['event_id']}{line} is cited and not in the bundle: {each['why']}"


def _unwitnessed(chain: Iterable[Any], segments: Iterable[Mapping[str, Any]], witness: Iterable[Any]) -> Iterator[str]:
    """What no witness vouches for: a second history may bear another incarnation, or lie after the last head that he knows."""
    kept = {_numbered(each["statement"]) for each in witness if is_readable(each)}
    ours = [entry["statement"] for entry in chain if is_readable(entry)]
    known = 0
    for segment in segments:
        inside = [statement for statement in ours if _within(statement, segment)]
        last = max((statement["number"] for statement in inside if _numbered(statement) in kept), default=0)
        known += sum(statement["number"] <= last for statement in inside)
    if known < len(ours):
        yield f"the witness vouches for {known or 'none'} of the {len(ours)} ranges: the others the holder of the key could have made anew"


def _check_files(files: Mapping[str, bytes], manifest: Mapping[str, Any], ring: Ring) -> Iterator[Problem]:
    named = manifest["files"]
    for name in sorted(named.keys() - files.keys()):
        yield Problem("file_missing", name, "the manifest names it")
    for name in sorted(files.keys() - named.keys() - {MANIFEST, MANIFEST_SIGNATURE}):
        yield Problem("file_added", name, "the manifest does not name it")
    for name in sorted(named.keys() & files.keys()):
        if hashlib.sha256(files[name]).hexdigest() != named[name]:
            yield Problem("file_changed", name, "its sha256 is another than in the manifest")
    if MANIFEST_SIGNATURE in files:
        signed = _json(files[MANIFEST_SIGNATURE])
        text = MANIFEST_CONTEXT + files[MANIFEST]
        yield from ring.check(signed["key"], manifest["created"], signed["signature"], text, MANIFEST, "manifest_signature_wrong")
        if added := sorted(signed.keys() - SIGNED):
            yield Problem("manifest_signature_added", MANIFEST_SIGNATURE, f"{', '.join(added)[:100]}")


def _check_chains(chain: Sequence[Any], segments: Sequence[Mapping[str, Any]], ring: Ring) -> Iterator[Problem]:
    """Each segment that the manifest promises, in the order of the file; nothing outside of them."""
    left = list(chain)
    for segment in segments:
        ours = [entry for entry in left if is_readable(entry) and _within(entry["statement"], segment)]
        taken = set(map(id, ours))
        left = [entry for entry in left if id(entry) not in taken]
        yield from check_chain(ours, ring)
        where = f"{segment['topic']}/{segment['partition']}"
        numbers = {entry["statement"]["number"] for entry in ours}
        if gone := [number for number in (segment["first"], segment["last"]) if number not in numbers]:
            yield Problem("chain_missing", where, f"number {gone[0]} of the segment {segment['first']} to {segment['last']}")
    for entry in left:
        if is_readable(entry):
            yield from check_entry(entry, ring)
            yield Problem("chain_disordered", place_of(entry["statement"]), "in no segment that the manifest names")
        else:
            yield Problem("bundle_unreadable", "an entry of the chain", "it is no statement with a seal")
    yield from _forks(chain)
    yield from _check_apart(chain)


def _check_created(created: int, chain: Sequence[Any]) -> Iterator[Problem]:
    """Whoever has an old key may write an old date: a bundle is no older than what is in it."""
    newest = max((entry["seal"]["time"] for entry in chain if is_readable(entry)), default=created)
    if created < newest - CLOCKS_MS:
        yield Problem("time_backwards", MANIFEST, f"made at {created}, and a range in it was sealed at {newest}")


def _check_apart(chain: Sequence[Any]) -> Iterator[Problem]:
    """Ranges with others between them that are not there share no offsets either; of neighbours see `_check_step`."""
    last: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for new in sorted((entry["statement"] for entry in chain if is_readable(entry)), key=_numbered):
        old = last.get(_numbered(new)[:-1], new)
        if new["number"] > old["number"] + 1 and new["lo"] < old["hi"]:
            yield Problem("range_overlap", place_of(new), f"number {old['number']}, before it, ends at {old['hi']}")
        last[_numbered(new)[:-1]] = new


def _forks(chain: Sequence[Any]) -> Iterator[Problem]:
    heads: dict[tuple[Any, ...], str] = {}
    for entry in chain:
        if is_readable(entry):
            head = heads.setdefault(_ranged(entry["statement"]), entry["seal"]["head"])
            if head != entry["seal"]["head"]:
                yield Problem("chain_forked", place_of(entry["statement"]), f"heads {head} and {entry['seal']['head']}")


def _ranged(statement: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(statement[name] for name in ("topic", "partition", "incarnation", "lo", "hi"))


def _check_order(records: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    last: tuple[Any, ...] = ()
    for record in records:
        place = (record["topic"], record["partition"], record["incarnation"], record["offset"])
        if last and place == last:
            yield Problem("record_doubled", f"{place[0]}/{place[1]}@{place[3]}", "stands twice")
        elif last and place < last:
            yield Problem("record_disordered", f"{place[0]}/{place[1]}@{place[3]}", "stands behind a later one")
        last = place


def main(words: Sequence[str] | None = None) -> int:
    """The command.  0: nothing is wrong; 1: something is; 2: it cannot be read."""
    parser = argparse.ArgumentParser(description="Check a trainwatch evidence bundle, offline.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--trust", help="fingerprint of a key of the site, 16 digits or more, that you got elsewhere")
    parser.add_argument("--witness", type=Path, help="heads that somebody else kept, JSON lines")
    parser.add_argument("--unsigned", action="store_true", help=ACCEPT_UNSIGNED)
    wanted = parser.parse_args(words)
    if wanted.trust is not None and not wanted.trust.strip():
        parser.error(NO_FINGERPRINT)
    try:
        witness = heads_of(wanted.witness.read_bytes()) if wanted.witness else []
        verdict = verify_bundle(read_bundle(wanted.bundle), trust=wanted.trust or "", witness=witness, unsigned=wanted.unsigned)
    except (Unreadable, OSError, ValueError, RecursionError) as error:
        sys.stderr.write(f"bundle_unreadable: {ascii(str(error))[1:-1]}\n")
        return 2
    sys.stdout.write(told(verdict))
    return 0 if verdict.ok else 1


def _word(verdict: Verdict) -> str:
    """What is read first must not say more than was shown: whoever takes the signature away may take records away as well."""
    if not verdict.ok:
        return "WRONG"
    return "OK AS FAR AS IT IS SIGNED, and its manifest is not" if any(each.startswith(UNSIGNED) for each in verdict.notes) else "OK"


def told(verdict: Verdict) -> str:
    """For people.  Escaped: texts in a bundle may have been written by an attacker."""
    lines = [*map(str, verdict.problems), *(f"note: {note}" for note in verdict.notes)]
    lines += [f"key {each}" for each in verdict.fingerprints]
    found = {"record": verdict.records, "range": verdict.ranges, "problem": len(verdict.problems)}
    counts = ", ".join(f"{count} {noun}{'s' * (count != 1)}" for noun, count in found.items())
    lines.append(f"{_word(verdict)}: {counts}")
    return "".join(f"{ascii(line)[1:-1]}\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
