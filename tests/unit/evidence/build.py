"""A small site's evidence in one line: records, ranges, a chain, a ring of two keys, a bundle."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipeline.evidence import bundle, verify
from pipeline.evidence.bundle import Case, Exhibit, Line
from pipeline.evidence.chain import Range, Sealer
from pipeline.evidence.merkle import leaf_hash, root_of
from pipeline.evidence.signing import Signer
from pipeline.evidence.verify import FORM
from pipeline.model.outcome import EventRow, Record
from pipeline.model.sealed import ChainHead, Sealed
from pipeline.settings import Settings

TOPIC, PARTITION, LIFE = "logs.access", 3, "c0ffee00"
T0 = 1_760_000_000_000
OLD, NEW, STRANGER = (Signer(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)) for number in (1, 2, 3))
ROTATED = T0 + 60_000
RING = [OLD.ring_entry(T0 - 1000), NEW.ring_entry(ROTATED, OLD)]
WIDTH = 40  # records in a range: two full leaves and half a one
PLAIN, BEHIND = 46, 138  # offsets of records that are their line: in the first leaf of range 2, in the second of range 4
WRAPPED = 47  # the offset of a record that wraps two lines
FILTERED = 48  # ... of one that nothing was stored of
FORMS = (1, FORM)  # of leaves: a record each, as earlier releases made them, and ours

Edit = Callable[[dict[str, bytes]], None]


def line_at(offset: int) -> bytes:
    """A plain log line."""
    return f"Mar  2 03:12:{offset:02d} gpu-012 sshd[41]: Accepted publickey for u017 from 10.0.0.{offset}".encode()


def record(offset: int) -> Record:
    """Plain but for the one that wraps two lines, and one without anything to keep."""
    value: bytes = line_at(offset)
    if offset == WRAPPED:
        value = b'[{"message":"first of two"},{"message":"second \\u00e4"}]'
    if offset == FILTERED:
        value = b"  "
    headers = (("source", b"sshd"), ("host", b"gpu-012"))
    return Record(topic=TOPIC, partition=PARTITION, offset=offset, timestamp=T0 + offset, value=value, key=b"k", headers=headers)


def lines_in(of: Record) -> tuple[bytes, ...]:
    """What ingest would store."""
    if of.offset == FILTERED:
        return ()
    return (b"first of two", "second \u00e4".encode()) if of.offset == WRAPPED else (of.value or b"",)


def rows(of: Record) -> list[EventRow]:
    """Its rows."""
    return [
        EventRow(
            event_time=T0 - 500 + of.offset,
            collected_time=0,
            kafka_time=of.timestamp,
            cluster="main",
            source="sshd",
            kind="login",
            host="gpu-012",
            job="",
            actor="",
            event_id=event_id(of.offset, index),
            sha256=hashlib.sha256(line).hexdigest(),
            attrs={},
            raw=line.decode("utf-8", "surrogateescape"),
            late=False,
            future=False,
            topic=of.topic,
            partition=of.partition,
            offset=of.offset,
            index=index,
        )
        for index, line in enumerate(lines_in(of))
    ]


def event_id(offset: int, index: int = 0) -> str:
    """Of a row."""
    return f"event-{offset}-{index}"


def sealed_range(lo: int, hi: int, last: ChainHead, *, signer: Signer = OLD, time: int = T0 + 10_000, form: int = FORM) -> Sealed:
    """Records [lo, hi), sealed behind `last`."""
    records = [record(offset) for offset in range(lo, hi)]
    told = [row for each in records for row in rows(each)]
    where, sealer = Range(TOPIC, PARTITION, LIFE, lo, hi), Sealer(signer, Settings())
    sealed = sealer.seal(where, records, told, last, time)
    if form == FORM:
        return sealed
    return with_leaves([compact(told) for leaf in sealed.leaves.split("\n") for told in json.loads(leaf)[1]], where, sealer, last, time)


def with_leaves(leaves: Sequence[str], where: Range, sealer: Sealer, last: ChainHead, time: int) -> Sealed:
    """A range of `hi - lo` records that is sealed with other leaves than ours."""
    root = root_of([leaf_hash(leaf.encode()) for leaf in leaves]).hex()
    return msgspec.structs.replace(sealer.again(where, root, where.hi - where.lo, last, time), leaves="\n".join(leaves))


def compact(value: Any) -> str:
    """As a leaf is written."""
    return json.dumps(value, separators=(",", ":"))


@lru_cache
def chain(form: int = FORM, count: int = 5) -> tuple[Sealed, ...]:
    """Ranges of WIDTH records, the last two with the new key."""
    found: list[Sealed] = []
    last = ChainHead()
    for number in range(count):
        new = number >= count - 2
        time = (ROTATED if new else T0) + 1000 * number
        found.append(sealed_range(number * WIDTH, (number + 1) * WIDTH, last, signer=NEW if new else OLD, time=time, form=form))
        last = found[-1].chain_head
    return tuple(found)


def exhibit(offset: int, *, whole: bool = True, form: int = FORM) -> Exhibit:
    """A record with its range."""
    of = record(offset)
    lines = tuple(Line(row.index, row.event_id, row.event_time, row.raw.encode()) for row in rows(of))
    return Exhibit(chain(form)[offset // WIDTH], offset, lines, of.value if whole else None, "events" if whole else "nowhere")


def case(offsets: Sequence[int] = (PLAIN, WRAPPED, BEHIND), *, whole: bool = True, form: int = FORM) -> Case:
    """A finding that cites these records."""
    cites = [
        {
            "finding_id": "f1",
            "role": "cause",
            "event_id": row.event_id,
            "sha256": row.sha256,
            "source": "sshd",
            "event_time": row.event_time,
        }
        for offset in offsets
        for row in rows(record(offset))
    ]
    return Case(
        subject="f1",
        findings=[{"id": "f1", "title": "a job was killed"}],
        evidence=cites,
        unavailable=[{"event_id": "event-gone", "why": "older than what the site keeps"}],
        exhibits=[exhibit(offset, whole=whole, form=form) for offset in offsets],
        chain=chain(form),
        custody=[{"time": T0, "account": "u900@ops", "action": "exported", "subject": "f1", "detail": "", "sha256": "", "software": "0"}],
        ring=RING,
        created=ROTATED + 100_000,
        by="u900@ops",
        settings="0" * 16,
        identities="0" * 16,
    )


def files_of(of: Case | None = None, signer: Signer | None = NEW) -> dict[str, bytes]:
    """The bundle."""
    return bundle.build(of or case(), signer)


def codes(files: Mapping[str, bytes], **asked: Any) -> set[str]:
    """What is wrong with it, for whoever accepts a manifest without signature, unless `asked` says otherwise."""
    return {problem.code for problem in verify.verify_bundle(files, **({"unsigned": True} | asked)).problems}


# --- tampering: whoever has no key can still make the digests of the manifest fit again, by leaving its signature out


def resealed(files: dict[str, bytes], signer: Signer | None = None) -> dict[str, bytes]:
    """The manifest made to fit what is there, and signed by a key that somebody has; unsigned without one."""
    manifest = json.loads(files[verify.MANIFEST])
    names = sorted(files.keys() - {verify.MANIFEST, verify.MANIFEST_SIGNATURE})
    manifest["files"] = {name: hashlib.sha256(files[name]).hexdigest() for name in names}
    files[verify.MANIFEST] = json.dumps(manifest).encode()
    files.pop(verify.MANIFEST_SIGNATURE, None)
    if signer is not None:
        signature = signer.sign(verify.MANIFEST_CONTEXT + files[verify.MANIFEST])
        files[verify.MANIFEST_SIGNATURE] = json.dumps({"key": signer.key, "signature": signature}).encode()
    return files


def on_lines(name: str, change: Callable[[list[Any]], None]) -> Edit:
    """Change a file of JSON lines."""

    def edit(files: dict[str, bytes]) -> None:
        values = verify.lines_of(files[name])
        change(values)
        files[name] = b"".join(json.dumps(value).encode() + b"\n" for value in values)

    return edit


def on_json(name: str, change: Callable[[Any], None]) -> Edit:
    """Change a JSON file."""

    def edit(files: dict[str, bytes]) -> None:
        value = json.loads(files[name])
        change(value)
        files[name] = json.dumps(value).encode()

    return edit


def written(folder: Path, name: str = "b.zip") -> Path:
    """The bundle on disk."""
    bundle.write(files_of(), folder / name)
    return folder / name
