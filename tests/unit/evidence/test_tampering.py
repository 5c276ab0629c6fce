"""Every kind of tampering with a bundle that was thought of is found and named; the untouched bundle is fine."""

import base64
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.evidence import verify
from pipeline.evidence.bundle import Exhibit, Line
from pipeline.evidence.chain import Range, Sealer, entry_of, value_of
from pipeline.evidence.verify import (
    CHAIN,
    CUSTODY,
    FORM,
    KEYS,
    MANIFEST,
    MANIFEST_SIGNATURE,
    RECORDS,
    REPORT,
    RUN,
    SEAL_CONTEXT,
    canonical,
    head_of,
)
from pipeline.model.sealed import ChainHead, Sealed
from pipeline.settings import Settings
from tests.releases import kept
from tests.unit.evidence.build import (
    BEHIND,
    FORMS,
    LIFE,
    NEW,
    OLD,
    PARTITION,
    PLAIN,
    ROTATED,
    STRANGER,
    T0,
    TOPIC,
    WIDTH,
    Edit,
    case,
    chain,
    codes,
    compact,
    files_of,
    on_json,
    on_lines,
    resealed,
    sealed_range,
    with_leaves,
    written,
)

FIRST_FORM = kept.FOLDER / "0.1.0-74e13af28318.zip"


@dataclass(frozen=True)
class Tamper:
    """What somebody does to a bundle, and the code under which it is found although the manifest was made to fit."""

    name: str
    edit: Edit
    code: str


def records(change: Any) -> Edit:
    """On the records."""
    return on_lines(RECORDS, change)


def entries(change: Any) -> Edit:
    """On the chain."""
    return on_lines(CHAIN, change)


def first(name: str, value: Any) -> Any:
    """Set a field of the first record."""
    return lambda found: found[0].update({name: value})


def stated(at: int, **fields: Any) -> Any:
    """Set fields of a statement."""
    return lambda found: found[at]["statement"].update(fields)


def stated_and_headed(at: int, **fields: Any) -> Any:
    """... and make the seal's head fit; the signature cannot be made."""

    def change(found: list[Any]) -> None:
        found[at]["statement"].update(fields)
        found[at]["seal"]["head"] = head_of(found[at]["statement"])

    return change


def sealed_by(number: int, signer: Any) -> Any:
    """Signed by somebody else, all the rest in order."""

    def change(found: list[Any]) -> None:
        seal = found[number]["seal"]
        seal["key"] = signer.key
        found[number]["signature"] = signer.sign(SEAL_CONTEXT + canonical(seal))

    return change


def sealed_at(number: int, time: int, signer: Any) -> Any:
    """The holder of the key signs another time."""

    def change(found: list[Any]) -> None:
        found[number]["seal"]["time"] = time
        sealed_by(number, signer)(found)

    return change


def swap(one: int, other: int) -> Any:
    """Two lines change places."""

    def change(found: list[Any]) -> None:
        found[one], found[other] = found[other], found[one]

    return change


def b64(text: bytes) -> str:
    """As values stand in a bundle."""
    return base64.b64encode(text).decode()


def other_line(found: list[Any]) -> None:
    """The second line of the record that wraps two."""
    found[1]["lines"][1]["raw"] = b64(b"second, changed")


def leaf_and_record(found: list[Any]) -> None:
    """Record and leaf agree on another value."""
    leaf = json.loads(found[0]["leaf"])
    told = leaf if len(leaf) == 6 else leaf[1][PLAIN - WIDTH]
    found[0]["value"] = b64(b"nothing happened")
    told[4] = hashlib.sha256(b"nothing happened").hexdigest()
    found[0]["leaf"] = compact(leaf)
    found[0]["lines"][0]["raw"] = b64(b"nothing happened")


def forked(found: list[Any]) -> None:
    """A second history of range 2, signed with the real key by who holds it."""
    other = sealed_range(WIDTH, 2 * WIDTH, ChainHead(1, "ab" * 32), time=T0 + 2000)
    found.insert(2, entry_of(other))


def another_history(files: dict[str, bytes]) -> None:
    """All ranges sealed anew, with the real keys, so that range 2 lacks a record."""
    last, made = ChainHead(), []
    for number in range(5):
        new = number >= 3
        hi = number * WIDTH + (WIDTH - 1 if number == 2 else WIDTH)
        sealed = sealed_range(number * WIDTH, hi, last, signer=NEW if new else OLD, time=(ROTATED if new else T0) + 1000 * number)
        made.append(sealed)
        last = sealed.chain_head
    files[CHAIN] = b"".join(value_of(each) + b"\n" for each in made)


def own_keys(files: dict[str, bytes]) -> None:
    """A forger signs everything with a key of his own, ring and manifest included."""
    ring = [STRANGER.ring_entry(T0 - 1000)]
    found = verify.lines_of(files[CHAIN])
    for number in range(len(found)):
        sealed_by(number, STRANGER)(found)
    files[CHAIN] = b"".join(canonical(entry) + b"\n" for entry in found)
    files[KEYS] = json.dumps({"v": 1, "keys": ring}).encode()


TAMPERING = [
    # records
    Tamper(
        "a byte of a record",
        records(first("value", b64(b"Mar  2 03:12:06 gpu-012 sshd[41]: Accepted publickey for u018"))),
        "record_changed",
    ),
    Tamper("a stored line of a record that wraps it", records(other_line), "line_changed"),
    Tamper("record and leaf together", records(leaf_and_record), "proof_wrong"),
    Tamper("a record dropped", records(lambda found: found.pop(0)), "evidence_missing"),
    Tamper("a record twice", records(lambda found: found.insert(0, found[0])), "record_doubled"),
    Tamper("records in another order", records(swap(0, 2)), "record_disordered"),
    Tamper("a record of another place", records(lambda found: found.append({**found[2], "offset": BEHIND + 1})), "offset_changed"),
    Tamper("an offset", records(first("offset", PLAIN - 1)), "offset_changed"),
    Tamper("the time of a record", records(first("timestamp", T0 - 3_600_000)), "time_changed"),
    Tamper("the key of a record", records(first("key", b64(b"another"))), "record_key_changed"),
    Tamper("a header of a record", records(first("headers", [["host", b64(b"gpu-013")]])), "headers_changed"),
    Tamper("the event time of a line", records(lambda found: found[0]["lines"][0].update(time=T0)), "line_time_changed"),
    Tamper("a line added", records(lambda found: found[0]["lines"].append({**found[0]["lines"][0], "index": 1})), "line_added"),
    Tamper("a line dropped", records(lambda found: found[1]["lines"].pop()), "line_missing"),
    Tamper(
        "lines of a record swapped",
        records(lambda found: found[1]["lines"].__setitem__(0, {**found[1]["lines"][1], "index": 0})),
        "line_changed",
    ),
    Tamper("the incarnation of a record", records(first("incarnation", "deadbeef")), "root_missing"),
    Tamper("the topic of a record", records(first("topic", "logs.scheduler")), "root_missing"),
    Tamper("the partition of a record", records(first("partition", 0)), "root_missing"),
    Tamper("the range of a record", records(first("lo", 0)), "root_missing"),
    Tamper("a proof", records(lambda found: found[0]["proof"].reverse()), "proof_wrong"),
    Tamper("the place in the range", records(lambda found: found[0].update(position=PLAIN - WIDTH + RUN)), "proof_wrong"),
    Tamper("a leaf that is none", records(first("leaf", "{}")), "leaf_unreadable"),
    # roots, heads, chain
    Tamper("a root", entries(stated(1, root="00" * 32)), "head_wrong"),
    Tamper("a root and its head", entries(stated_and_headed(1, root="00" * 32)), "signature_wrong"),
    Tamper("a head", entries(lambda found: found[1]["seal"].update(head="00" * 32)), "head_wrong"),
    Tamper("a previous head", entries(stated_and_headed(2, previous="00" * 32)), "chain_broken"),
    Tamper("a count", entries(stated_and_headed(1, count=WIDTH - 1)), "signature_wrong"),
    Tamper("an impossible count", entries(stated_and_headed(1, count=WIDTH + 1)), "range_wrong"),
    Tamper("a bound of a range", entries(stated_and_headed(1, hi=2 * WIDTH - 1)), "range_gap"),
    Tamper("a bound over the next range", entries(stated_and_headed(1, hi=2 * WIDTH + 1)), "range_overlap"),
    Tamper("a number", entries(stated_and_headed(1, number=7)), "signature_wrong"),
    Tamper("an incarnation in the chain", entries(stated_and_headed(1, incarnation="deadbeef")), "chain_disordered"),
    Tamper("a range dropped", entries(lambda found: found.pop(2)), "chain_missing"),
    Tamper("the first range dropped", entries(lambda found: found.pop(0)), "chain_missing"),
    Tamper("the last range dropped", entries(lambda found: found.pop()), "chain_missing"),
    Tamper("a range twice", entries(lambda found: found.insert(1, found[1])), "chain_doubled"),
    Tamper("ranges in another order", entries(swap(1, 2)), "chain_disordered"),
    Tamper("a second history of a range", entries(forked), "chain_forked"),
    Tamper("the time of a seal", entries(lambda found: found[1]["seal"].update(time=T0)), "signature_wrong"),
    Tamper("settings of a seal", entries(lambda found: found[1]["seal"].update(settings="f" * 16)), "signature_wrong"),
    Tamper("a seal before the one that it follows", entries(sealed_at(2, T0 + 1000 - 70_000, OLD)), "time_backwards"),
    Tamper("a signature", entries(lambda found: found[1].update(signature="00" * 64)), "signature_wrong"),
    Tamper("signatures of two ranges swapped", entries(lambda f: f[1].update(signature=f[2]["signature"])), "signature_wrong"),
    Tamper("signed by a stranger", entries(sealed_by(1, STRANGER)), "key_unknown"),
    Tamper("signed with the old key long after rotation", entries(sealed_at(4, ROTATED + 90_000_000, OLD)), "key_outside_validity"),
    Tamper("signed with a key before it was valid", entries(sealed_at(1, T0 - 100_000_000, NEW)), "key_outside_validity"),
    Tamper("an entry that is none", entries(lambda found: found.append({"statement": 1})), "bundle_unreadable"),
    # keys
    Tamper("a public key", on_json(KEYS, lambda keys: keys["keys"][1].update(public=STRANGER.public.hex())), "key_changed"),
    Tamper("the validity of a key", on_json(KEYS, lambda keys: keys["keys"][1].update({"from": T0 - 5})), "key_rotation_wrong"),
    Tamper(
        "a key slipped into the ring",
        on_json(KEYS, lambda keys: keys["keys"].append(STRANGER.ring_entry(ROTATED + 1))),
        "key_rotation_wrong",
    ),
    Tamper("a key dropped", on_json(KEYS, lambda keys: keys["keys"].pop(0)), "key_rotation_wrong"),
    Tamper(
        "a key twice in the ring", on_json(KEYS, lambda keys: keys["keys"].append(OLD.ring_entry(ROTATED + 1, NEW))), "key_rotation_wrong"
    ),
    # the report
    Tamper("a citation changed", on_json(REPORT, lambda report: report["evidence"][0].update(sha256="00" * 32)), "evidence_changed"),
    Tamper("another event cited", on_json(REPORT, lambda report: report["evidence"][0].update(event_id="event-9-0")), "evidence_missing"),
    Tamper("a citation dropped", on_json(REPORT, lambda report: report["evidence"].pop(0)), "record_uncited"),
    Tamper("a file missing", lambda files: files.__delitem__(CHAIN), "file_missing"),
    Tamper(
        "a value that stands twice",
        lambda files: files.update({RECORDS: files[RECORDS].replace(b'"value":', b'"value": "bm90aGluZw==", "value":', 1)}),
        "bundle_unreadable",
    ),
    Tamper("a file that is none", lambda files: files.update({RECORDS: b"{"}), "bundle_unreadable"),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tamper", TAMPERING, ids=lambda tamper: tamper.name)
def test_tampering_is_named_although_the_manifest_fits(tamper: Tamper, form: int) -> None:
    """Whoever changes a part and makes all digests fit again is found by what he cannot make."""
    files = files_of(case(form=form))
    tamper.edit(files)
    assert tamper.code in codes(resealed(files) if MANIFEST in files else files)


def test_a_record_that_nobody_can_read_is_named_by_its_line() -> None:
    """A bundle has thousands."""
    files = files_of()
    first, second, *others = files[RECORDS].splitlines()
    files[RECORDS] = b"\n".join([first, json.dumps({**json.loads(second), "position": None}).encode(), *others, b""])
    (problem,) = [each for each in verify.verify_bundle(resealed(files)).problems if each.code == "bundle_unreadable"]
    assert problem.where == f"{RECORDS}, line 2"


@pytest.mark.parametrize("tamper", TAMPERING, ids=lambda tamper: tamper.name)
def test_tampering_is_found_by_the_manifest(tamper: Tamper) -> None:
    """Whoever changes a part and leaves the manifest alone is found by it too."""
    files = files_of()
    tamper.edit(files)
    assert codes(files) & {"file_changed", "file_missing", "bundle_unreadable"}


def test_there_are_enough_kinds() -> None:
    """And each has a name of its own in the list of codes."""
    assert len(TAMPERING) >= 40
    assert {tamper.code for tamper in TAMPERING} <= verify.CODES.keys()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("whole", [True, False], ids=["whole records", "lines alone"])
def test_an_untouched_bundle_is_fine(whole: bool, form: int) -> None:
    """Also where the whole records are gone and lines are all there is."""
    verdict = verify.verify_bundle(files_of(case(whole=whole, form=form)), trust=OLD.fingerprint)
    assert verdict.ok, verdict.problems
    assert (verdict.records, verdict.ranges) == (3, 5)
    assert any("whole bytes are gone" in note for note in verdict.notes) is not whole
    assert any("event-gone" in note for note in verdict.notes)


def test_a_bundle_of_an_earlier_release_is_fine() -> None:
    """As release 0.1.0 at 74e13af28318 wrote it, a leaf for each record, with a checker of its own that we do not run."""
    verdict = verify.verify_bundle(verify.read_bundle(FIRST_FORM), trust=OLD.fingerprint)
    assert (verdict.problems, verdict.records, verdict.ranges) == ([], 3, 5)


def in_leaf(change: Any) -> Edit:
    """On what the leaf of the first record holds: the whole of it, and its records."""

    def edit(found: list[Any]) -> None:
        leaf = json.loads(found[0]["leaf"])
        found[0]["leaf"] = compact(change(leaf, leaf[1]))

    return records(edit)


NEIGHBOURS = [
    ("another record of the leaf is changed", in_leaf(lambda leaf, told: [leaf[0], [[*told[0][:5], []], *told[1:]]]), "proof_wrong"),
    ("records of the leaf in another order", in_leaf(lambda leaf, told: [leaf[0], [told[1], told[0], *told[2:]]]), "proof_wrong"),
    ("another record of the leaf dropped", in_leaf(lambda leaf, told: [leaf[0], told[:-1]]), "proof_wrong"),
    ("the record alone, as if it were a leaf of the first form", in_leaf(lambda _, told: told[PLAIN - WIDTH]), "proof_wrong"),
    ("more records than a leaf has", in_leaf(lambda leaf, told: [leaf[0], told + told]), "leaf_unreadable"),
    ("a leaf without records", in_leaf(lambda leaf, _: [leaf[0], []]), "leaf_unreadable"),
    ("a form of which nobody knows", in_leaf(lambda leaf, told: [leaf[0] + 1, told]), "leaf_unreadable"),
    ("the place in the leaf", records(lambda found: found[0].update(position=PLAIN - WIDTH + 1)), "offset_changed"),
    ("a place behind the last of the leaf", records(lambda f: f[0].update(f[2], position=WIDTH, leaf=last_leaf(3))), "offset_changed"),
    ("a record shown by the entry of its neighbour", records(lambda f: f[0].update(offset=PLAIN - 1)), "offset_changed"),
]  # fmt: skip


def last_leaf(number: int) -> str:
    """Of a range: it has room."""
    return chain()[number].leaves.split("\n")[-1]


@pytest.mark.parametrize(("edit", "code"), [row[1:] for row in NEIGHBOURS], ids=[row[0] for row in NEIGHBOURS])
def test_what_is_done_to_neighbours_in_a_leaf_is_named(edit: Edit, code: str) -> None:
    """By the record whose proof it spoils."""
    files = files_of()
    edit(files)
    found = [problem for problem in verify.verify_bundle(resealed(files), unsigned=True).problems if problem.code == code]
    record = verify.lines_of(files[RECORDS])[0]
    assert [problem.where for problem in found] == [f"{TOPIC}/{PARTITION}@{record['offset']}"]


def test_a_changed_line_is_found_where_the_record_is_gone() -> None:
    """Of a record that wraps its lines the leaf holds their digests."""
    files = files_of(case(whole=False))
    on_lines(RECORDS, other_line)(files)
    assert codes(resealed(files)) == {"line_changed", "evidence_changed"}


@pytest.mark.parametrize(
    ("name", "edit", "code"),
    [
        ("the manifest itself", on_json(MANIFEST, lambda manifest: manifest.update(by="u001@ops")), "manifest_signature_wrong"),
        ("its signature", on_json(MANIFEST_SIGNATURE, lambda signed: signed.update(key=STRANGER.key)), "key_unknown"),
        ("a word beside it", on_json(MANIFEST_SIGNATURE, lambda signed: signed.update(said="u099 did it")), "manifest_signature_added"),
        ("a file added", lambda files: files.update({"extra.txt": b"x"}), "file_added"),
        ("the custody log", lambda files: files.update({CUSTODY: b""}), "file_changed"),
        ("the checker", lambda files: files.update({"verify.py": b"print('OK')"}), "file_changed"),
    ],
)
def test_the_manifest_covers_the_rest(name: str, edit: Edit, code: str) -> None:
    """What no leaf speaks of is signed with the manifest."""
    files = files_of()
    edit(files)
    assert code in codes(files)


def with_comment(content: bytes, name: str = "") -> bytes:
    """On the archive, or on one of its files."""
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        if name:
            archive.getinfo(name).comment = b"u099 did it"
        archive.comment = b"" if name else b"u099 did it"
    return file.getvalue()


def without_entry(content: bytes) -> bytes:
    """A file's bytes, of which the directory does not tell."""
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(zipfile.ZipInfo("z.txt"), "u099 did it")
        archive.filelist.pop()
    return file.getvalue()


def with_folder(content: bytes) -> bytes:
    """That holds no file and has a name."""
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("u099 did it/", b"")
    return file.getvalue()


def behind_the_end_of_a_file(content: bytes) -> bytes:
    """Of its packed bytes, and before their number says so."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as archive:
        for name in old.namelist():
            packed = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            info, whole = zipfile.ZipInfo(name), old.read(name)
            text = packed.compress(whole) + packed.flush() + b"u099 did it"
            archive.writestr(info, text)  # as it is, and then called packed
            info.compress_type, info.CRC, info.file_size = zipfile.ZIP_DEFLATED, zlib.crc32(whole), len(whole)
            file.seek(info.header_offset)
            file.write(info.FileHeader())
            file.seek(0, 2)
    return file.getvalue()


PACKED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "bytes before": (lambda content: b"u099 did it" + content, "archive_added"),
    "bytes behind": (lambda content: content + b"u099 did it", "archive_added"),
    "another archive before": (lambda content: content + content, "archive_added"),
    "a comment": (with_comment, "archive_added"),
    "a comment on a file": (lambda content: with_comment(content, REPORT), "archive_added"),
    "a file that no directory names": (without_entry, "archive_added"),
    "bytes behind the end of a file": (behind_the_end_of_a_file, "archive_added"),
    "a folder": (with_folder, "file_added"),
}


@pytest.mark.parametrize(("change", "code"), PACKED.values(), ids=PACKED)
def test_what_stands_in_the_archive_beside_its_files_is_named(tmp_path: Path, change: Callable[[bytes], bytes], code: str) -> None:
    """No digest covers it, and whoever hands it on says that it was checked."""
    for path in (FIRST_FORM, written(tmp_path)):
        changed = tmp_path / "changed.zip"
        changed.write_bytes(change(path.read_bytes()))
        verdict = verify.verify_bundle(verify.read_bundle(changed), trust=OLD.fingerprint)
        assert {problem.code for problem in verdict.problems} == {code}


def test_whoever_packs_a_bundle_again_is_told_what_his_packer_adds(tmp_path: Path) -> None:
    """Fields for times and owners, sizes behind what was packed: nothing is wrong by that, and nobody signed it."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    file = Pipe()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files_of().items():
            info = zipfile.ZipInfo(name)
            info.extra = b"UT\x05\x00\x01\x00\x00\x00\x00"
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    path = tmp_path / "again.zip"
    path.write_bytes(file.getvalue())
    verdict = verify.verify_bundle(verify.read_bundle(path), trust=OLD.fingerprint)
    assert verdict.problems == []
    assert [note for note in verdict.notes if "fields that packers add" in note]


def test_an_empty_folder_within_a_folder_is_named(tmp_path: Path) -> None:
    """As any name is that the manifest has not."""
    folder = written(tmp_path, "bundle")
    (folder / "u099 did it").mkdir()
    assert codes(verify.read_bundle(folder)) == {"file_added"}


def test_a_forger_with_keys_of_his_own_is_found_by_whoever_knows_the_real_one() -> None:
    """The bundle alone cannot tell: hence the fingerprint."""
    files = files_of()
    own_keys(files)
    assert codes(resealed(files, STRANGER)) == set()
    assert codes(files, trust=OLD.fingerprint) == {"key_untrusted"}


def test_a_forger_who_puts_the_real_key_behind_his_own_is_found() -> None:
    """Anybody may sign a public key as his next one: it says nothing of what stands before it in the ring."""
    files = files_of()
    own_keys(files)
    files[KEYS] = json.dumps({"v": 1, "keys": [STRANGER.ring_entry(T0 - 1000), OLD.ring_entry(ROTATED, STRANGER)]}).encode()
    assert codes(resealed(files, STRANGER)) == set()
    assert codes(files, trust=OLD.fingerprint) == {"key_untrusted"}


def test_the_key_after_rotation_vouches_for_what_it_signed() -> None:
    """And not for the key before it: who knows the new one alone is told to ask for the first."""
    files = files_of()
    assert codes(files, trust=OLD.fingerprint) == set()
    found = verify.verify_bundle(files, trust=NEW.fingerprint).problems
    assert {(problem.code, OLD.key in problem.text) for problem in found} == {("key_untrusted", True)}
    assert len(found) == len([sealed for sealed in chain() if sealed.key == OLD.key])


def test_a_signature_that_was_taken_away_is_missed() -> None:
    """Findings and custody log are under no leaf: without it anybody may have written them anew.  Whoever accepts that is told so."""
    files = files_of()
    on_json(REPORT, lambda report: report["findings"].clear())(files)
    assert codes(resealed(files)) == set()
    for trust in ("", OLD.fingerprint):
        assert codes(files, trust=trust, unsigned=False) == {"manifest_unsigned"}
    assert (
        verify.told(verify.verify_bundle(files, unsigned=True))
        .splitlines()[-1]
        .startswith("OK AS FAR AS IT IS SIGNED, and its manifest is not: ")
    )


def test_a_witness_who_knows_none_of_the_ranges_does_not_vouch_for_them() -> None:
    """Another life of the topic, or a history that he was never told; a head is of its range and all before it."""
    heads = [entry_of(sealed) for sealed in chain()]
    other = [{**head, "statement": {**head["statement"], "incarnation": "deadbeef"}} for head in heads]
    said = [verify.verify_bundle(files_of(), witness=kept).notes for kept in (other, heads[1:2], heads[4:])]
    vouched = [[note.partition(":")[0] for note in notes if "the witness" in note] for notes in said]
    assert vouched == [["the witness vouches for none of the 5 ranges"], ["the witness vouches for 2 of the 5 ranges"], []]


def test_a_second_history_with_the_real_key_is_found_by_the_witness() -> None:
    """The holder of the key may rewrite all of it, and cannot rewrite what he told others."""
    files = files_of(case((BEHIND,)))
    another_history(files)
    witnessed = [entry_of(sealed) for sealed in chain()]
    assert "witness_differs" in codes(resealed(files), witness=witnessed)
    assert codes(files_of(case((BEHIND,))), witness=witnessed) == set()


def test_a_range_that_only_the_witness_knows_is_named() -> None:
    """Heads outside of the segments that the bundle promises are nobody's fault."""
    beyond = entry_of(sealed_range(5 * WIDTH, 6 * WIDTH, chain()[-1].chain_head, signer=NEW, time=ROTATED + 9000))
    assert codes(files_of(), witness=[beyond]) == set()
    files = files_of()
    on_lines(CHAIN, lambda found: found.pop(2))(files)
    assert "witness_unknown" in codes(files, witness=[entry_of(chain()[2])])


def again(offsets: Sequence[int], signer: Any = NEW) -> Sealed:
    """The holder of the key seals a range behind all others, whose leaf tells of these offsets."""
    told = [[offset, T0, None, [], hashlib.sha256(b"nothing happened").hexdigest(), [T0]] for offset in offsets]
    where = Range(TOPIC, PARTITION, LIFE, 5 * WIDTH, 5 * WIDTH + len(told))
    return with_leaves([compact([FORM, told])], where, Sealer(signer, Settings()), chain()[-1].chain_head, ROTATED + 9000)


@pytest.mark.parametrize("offsets", [(PLAIN,), (5 * WIDTH, PLAIN), (5 * WIDTH + 1, 5 * WIDTH), (5 * WIDTH, 5 * WIDTH)])
def test_no_record_is_told_anew_by_a_later_range(offsets: tuple[int, ...]) -> None:
    """The chain goes on as it should and a witness knows it: but a leaf speaks of offsets of its range alone, each once."""
    sealed, lines = again(offsets), (Line(0, "event-new", T0, b"nothing happened"),)
    shown = Exhibit(sealed, offsets[-1], lines, b"nothing happened", "events")
    cites = [{"finding_id": "f1", "role": "cause", "event_id": "event-new", "sha256": hashlib.sha256(b"nothing happened").hexdigest()}]
    made = msgspec.structs.replace(case(()), evidence=cites, exhibits=[shown], chain=[*chain(), sealed])
    assert "leaves_disordered" in codes(files_of(made), witness=[entry_of(each) for each in made.chain])


def test_ranges_far_apart_share_no_offsets() -> None:
    """Those between them are not in the bundle: whoever sealed some offsets twice could else show the one or the other."""
    later = sealed_range(WIDTH // 2, WIDTH + WIDTH // 2, ChainHead(8, "ab" * 32), time=ROTATED)
    made = msgspec.structs.replace(case((5,)), chain=[chain()[0], later])
    assert codes(files_of(made)) == {"range_overlap"}


def test_a_bundle_is_not_older_than_what_is_in_it() -> None:
    """Whoever took the key that was replaced can sign a manifest, and write any date into it."""
    files = files_of()
    on_json(MANIFEST, lambda manifest: manifest.update(created=ROTATED - 70_000))(files)
    assert codes(resealed(files, OLD)) == {"time_backwards"}


@pytest.mark.parametrize("trust", [" ", ":"])
def test_trust_in_nothing_is_no_trust(trust: str) -> None:
    """As where a script has not got the fingerprint."""
    assert codes(files_of(), trust=trust) == {"key_untrusted"}


def test_names_of_the_build_are_those_of_the_chain() -> None:
    """The rows above mean what they say."""
    assert {(each.topic, each.partition, each.incarnation) for each in chain()} == {(TOPIC, PARTITION, LIFE)}
