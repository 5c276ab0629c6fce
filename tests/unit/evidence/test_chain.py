"""Sealing: what a leaf holds, what the head depends on, and how the chain travels with the state of its partition."""

import ast
import asyncio
import hashlib
import json
import logging
import sys
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from pipeline.evidence import verify
from pipeline.evidence.bundle import is_told, told_of, value_from_lines, write
from pipeline.evidence.chain import Range, Sealer, entry_of
from pipeline.evidence.leaves import leaves_of
from pipeline.evidence.verify import RUN, read_leaf
from pipeline.model.outcome import Record
from pipeline.model.sealed import ChainHead, Sealed
from pipeline.runtime.checkpoint import Checkpoint
from pipeline.runtime.partition import Partition
from pipeline.runtime.state_log import LogReader
from pipeline.runtime.state_record import CLAIM, META, VERSION, Claim, Intent, Meta, Owner, key, pack, unpack
from pipeline.runtime.witness import Witness
from pipeline.settings import DetectSettings, EvidenceSettings, Settings
from pipeline.sink.memory import MemorySink
from pipeline.topology import build_topology
from tests.unit.evidence.build import (
    BEHIND,
    FILTERED,
    LIFE,
    NEW,
    OLD,
    PARTITION,
    PLAIN,
    ROTATED,
    T0,
    TOPIC,
    WIDTH,
    WRAPPED,
    case,
    chain,
    compact,
    event_id,
    exhibit,
    files_of,
    line_at,
    record,
    rows,
    sealed_range,
    with_leaves,
)
from tests.unit.runtime.build import OWNER, partition
from tests.unit.sink.build import range_row

LATER = Owner(2, 2, "n2")


def leaf(of: Record) -> verify.Told:
    """What it tells of one record."""
    (told,) = read_leaf(leaves_of([of], rows(of))[0].decode()).told
    return told


# --- leaves -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", range(40, 50))
def test_a_leaf_holds_the_digest_of_the_value(offset: int) -> None:
    """Whether it was taken over from ingest or made anew; also of a record of which nothing was stored."""
    of = record(offset)
    found = leaf(of)
    assert found.sha256 == hashlib.sha256(of.value or b"").hexdigest()
    assert (found.offset, found.timestamp, len(found.rows)) == (offset, of.timestamp, len(rows(of)))


def test_lines_of_a_record_that_wraps_them_have_digests_of_their_own() -> None:
    """So a line can be shown to be what was read, when the record is gone."""
    assert [sha256 for _, sha256 in leaf(record(WRAPPED)).rows] == [row.sha256 for row in rows(record(WRAPPED))]
    assert leaf(record(FILTERED)).rows == []


@pytest.mark.parametrize(
    "value",
    [b"", b"\xff\xfe not UTF-8", "mit \u00e4".encode(), b"x" * 5000, None],
    ids=["empty", "bytes", "not ASCII", "long", "tombstone"],
)
def test_any_value_has_a_leaf(value: bytes | None) -> None:
    """Key and headers may be anything, too."""
    of = Record(topic=TOPIC, partition=0, offset=1, timestamp=-1, value=value, key=b"\xff", headers=(("h\u00e4", b"\0"), ("h\u00e4", b"")))
    (found,) = read_leaf(leaves_of([of], [])[0].decode()).told
    assert found.sha256 == (None if value is None else hashlib.sha256(value).hexdigest())
    assert found.headers == [["h\u00e4", "AA=="], ["h\u00e4", ""]]


def test_a_digest_is_not_taken_over_from_a_line_of_the_same_length() -> None:
    """Inflated, a line may be as long as the record that held it."""
    of = msgspec.structs.replace(record(1), value=b"#" * len(line_at(1)))
    assert leaf(of).sha256 == hashlib.sha256(of.value or b"").hexdigest()
    row = msgspec.structs.replace(rows(record(1))[0])
    assert read_leaf(leaves_of([of], [row])[0].decode()).told[0].rows == [(row.event_time, row.sha256)]


@pytest.mark.parametrize("count", [0, 1, RUN - 1, RUN, RUN + 1, 3 * RUN])
def test_leaves_are_full_but_for_the_last(count: int) -> None:
    """Records in order, none left out, whatever their number; so the count of a range tells how many leaves it has."""
    found = [read_leaf(text.decode()).told for text in leaves_of([record(offset) for offset in range(count)], [])]
    assert [told.offset for leaf in found for told in leaf] == list(range(count))
    assert [len(leaf) for leaf in found] == [min(RUN, count - begin) for begin in range(0, count, RUN)]


@pytest.mark.parametrize(
    ("sizes", "codes"),
    [
        ([RUN, RUN, 8], set()),
        ([1] * WIDTH, {"count_changed"}),
        ([RUN, 8, RUN], {"count_changed"}),
        ([RUN, RUN, 7], {"count_changed"}),
        ([RUN, 0, RUN, 8], {"leaf_unreadable"}),
        ([40], {"leaf_unreadable"}),
    ],
    ids=["ours", "one each", "the last is full", "one is missing", "one is empty", "one for all"],
)
def test_leaves_that_are_not_full_are_named_though_they_are_signed(sizes: list[int], codes: set[str]) -> None:
    """Else a proof of one range would hold at several places."""
    told = [told for leaf in chain()[0].leaves.split("\n") for told in json.loads(leaf)[1]]
    leaves = [compact([verify.FORM, [told.pop(0) for _ in range(size)]]) for size in sizes]
    where = Range(TOPIC, PARTITION, LIFE, 0, WIDTH)
    entry = entry_of(with_leaves(leaves, where, Sealer(OLD, Settings()), ChainHead(), T0))
    assert {problem.code for problem in verify.check_leaves(entry["statement"], leaves)} == codes


def test_leaves_of_two_forms_are_in_no_range() -> None:
    """In whichever order; of either form alone they are good."""
    ours, first = (chain(form)[0].leaves.split("\n") for form in (verify.FORM, 1))
    where = Range(TOPIC, PARTITION, LIFE, 0, WIDTH)
    for leaves, codes in (
        (first, set()),
        (ours, set()),
        (ours[:1] + first[RUN:], {"count_changed"}),
        (first[:-8] + ours[-1:], {"count_changed"}),
    ):
        entry = entry_of(with_leaves(leaves, where, Sealer(OLD, Settings()), ChainHead(), T0))
        assert {problem.code for problem in verify.check_leaves(entry["statement"], leaves)} == codes


# --- ranges -----------------------------------------------------------------------------------------------------------------------


def test_the_head_depends_on_content_alone() -> None:
    """Sealed again after a crash, later, with a newer key, under other settings: the same head."""
    again = Sealer(NEW, Settings(detect=DetectSettings(kill_window_seconds=1)))
    records = [record(offset) for offset in range(WIDTH)]
    told = [row for each in records for row in rows(each)]
    first = chain()[0]
    second = again.seal(Range(TOPIC, PARTITION, LIFE, 0, WIDTH), records, told, ChainHead(), ROTATED)
    assert first.head == second.head
    assert (first.key, first.settings, first.time) != (second.key, second.settings, second.time)


@pytest.mark.parametrize(
    "other",
    [
        sealed_range(0, WIDTH - 1, ChainHead()),
        sealed_range(1, WIDTH, ChainHead()),
        sealed_range(0, WIDTH, ChainHead(1, "ab" * 32)),
        Sealer(OLD, Settings()).seal(Range(TOPIC, 0, LIFE, 0, WIDTH), [], [], ChainHead(), T0),
        Sealer(OLD, Settings()).seal(Range(TOPIC, PARTITION, "deadbeef", 0, WIDTH), [], [], ChainHead(), T0),
    ],
    ids=["shorter", "later", "behind another", "another partition", "another life"],
)
def test_other_content_has_another_head(other: Sealed) -> None:
    """Whatever the difference."""
    assert other.head != chain()[0].head


def test_a_range_without_records_is_sealed_too() -> None:
    """Markers of transactions: the chain has no hole."""
    empty = sealed_range(5, 5, ChainHead())
    entry = entry_of(msgspec.structs.replace(empty, hi=6))
    assert (empty.count, empty.root) == (0, hashlib.sha256(b"").hexdigest())
    assert list(verify.check_leaves(entry["statement"], [])) == []


def test_a_value_is_what_the_schema_says() -> None:
    """For consumers of the topic."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415

    from pipeline.settings import schemas_folder  # noqa: PLC0415

    schema = json.loads((schemas_folder() / "events" / "trainwatch.evidence.v1.schema.json").read_text())
    for sealed in chain():
        Draft202012Validator(schema).validate(entry_of(sealed))


# --- the chain's head in the state of a partition -----------------------------------------------------------------------------------


def log_with(meta: Meta) -> LogReader:
    """A state log that a dead owner left."""
    read = LogReader()
    for name, value in ((key(CLAIM, OWNER), Claim()), (key(META, OWNER), meta), (key(CLAIM, LATER), Claim())):
        read.take(name, pack(value))
    return read


def owned(meta: Meta) -> Partition:
    """A partition that was taken over."""
    part = partition(read=log_with(meta))
    part.adopt(0, 1000, "unused")
    return part


def test_state_of_a_release_without_evidence_is_read() -> None:
    """A meta of four or five fields begins a chain; ours is read by it, which ignores what it does not know."""
    assert unpack(META, msgspec.msgpack.encode([VERSION, 3, 5, "life"])) == Meta(VERSION, 3, 5, "life")
    old = unpack(META, msgspec.msgpack.encode([VERSION, 3, 5, "life", [5, 9, {}, 3, "t", "s"]]))
    assert isinstance(old, Meta)
    assert old.intent is not None
    assert (old.head, old.intent.root) == (ChainHead(), "")


@pytest.mark.parametrize("seals", [True, False])
def test_the_head_moves_with_the_partition(seals: bool) -> None:
    """Also through the hands of a worker that has no key: the chain goes on behind the gap that this leaves."""
    head = ChainHead(7, "ab" * 32)
    part = owned(Meta(VERSION, 0, 10, "life", head=head))
    part.seals = seals
    part.folded([record(10), record(11)], [])
    work = part.snapshot()
    assert work is not None
    assert [each.offset for each in work.records] == ([10, 11] if seals else [])
    if seals:
        work.seal(sealed_range(10, 12, head), part.owner)
    written = unpack(META, work.writes[-1][1] or b"")
    assert isinstance(written, Meta)
    assert written == work.meta
    assert (written.applied, written.head.number) == (12, 8 if seals else 7)


def test_kept_records_count_as_buffered() -> None:
    """Records of which nothing is stored must not fill the memory."""
    part = partition()
    part.adopt(0, 1000, "life")
    part.seals = True
    part.folded([record(offset) for offset in range(5)], [])
    assert part.buffered == 5


# --- after a crash ------------------------------------------------------------------------------------------------------------------


def sealing(tell: list[str], witness: Witness | None = None) -> Checkpoint:
    """A checkpoint as far as sealing needs it; `tell` hears of forks."""
    nothing = cast("Any", None)
    topology = build_topology(Settings())
    checkpoint = Checkpoint(
        topology,
        MemorySink(),
        nothing,
        nothing,
        nothing,
        nothing,
        originals=nothing,
        source_name="test",
        log=logging.getLogger("test"),
        sealer=Sealer(OLD, Settings()),
        witness=witness,
    )
    checkpoint.forked = tell.append
    return checkpoint


@pytest.mark.parametrize(
    ("root", "settings", "forked"),
    [
        (sealed_range(0, 5, ChainHead()).root, Settings().digest(), False),
        ("00" * 32, Settings().digest(), True),
        ("00" * 32, "other settings", False),
        ("", Settings().digest(), False),
    ],
    ids=["the same", "a fork", "read by other settings", "intended without evidence"],
)
def test_a_range_that_comes_out_otherwise_after_a_crash_is_an_alarm(root: str, settings: str, forked: bool) -> None:
    """The broker gave other records than it had; other settings explain other lines."""
    software = chain()[0].software
    part = owned(Meta(VERSION, 0, 0, LIFE, Intent(0, 5, {}, 0, "token", settings, root, software)))
    part.seals = True
    records = [record(offset) for offset in range(5)]
    part.folded(records, [])
    part.rows = [row for each in records for row in rows(each)]
    work = part.snapshot()
    assert work is not None
    told: list[str] = []
    checkpoint = sealing(told)
    checkpoint._seal(checkpoint._sealer, part, work)  # type: ignore[arg-type]
    assert told == ([work.source.topic] if forked else [])
    assert [each.content for each in work.published] == ["evidence"]
    checkpoint.close()


OVERTAKEN_RANGE = [
    pytest.param("noted", Settings().digest(), id="noted"),
    pytest.param("rooted", Settings().digest(), id="sealed, and killed before it was noted"),
    pytest.param("", Settings().digest(), id="not noted"),
    pytest.param("noted", "other settings", id="noted under other settings"),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("came_to", "settings"), OVERTAKEN_RANGE)
async def test_records_that_kafka_deleted_behind_a_crash_are_no_fork(came_to: str, settings: str, caplog: pytest.LogCaptureFixture) -> None:
    """His seal stands when it had left, and there is one head; else what is left is sealed.  A range that he noted is not noted again."""
    his = sealed_range(0, 5, ChainHead())
    part = owned(Meta(VERSION, 0, 0, LIFE, Intent(0, 5, {}, 5, "token", settings, his.root, his.software, count=his.count)))
    part.seals, part.log_start = True, 3
    left = [record(3), record(4)]
    part.folded(left, [])
    part.rows = [row for each in left for row in rows(each)]
    work = part.snapshot()
    assert work is not None
    told: list[str] = []
    checkpoint = sealing(told)
    stands = came_to != ""
    if stands:
        checkpoint._sink.write_roots([msgspec.structs.replace(his, topic=part.source.topic, partition=part.source.partition)])
    if came_to == "noted":
        checkpoint._sink.write_ranges([range_row(0, 5, topic=part.source.topic, partition=part.source.partition, incarnation=LIFE)])
    await checkpoint._look_behind(part, work)
    assert (work.noted, work.rooted) == (came_to == "noted", stands)
    checkpoint._seal(checkpoint._sealer, part, work)  # type: ignore[arg-type]
    assert told == []
    assert work.sealed is not None
    assert (work.sealed.root == his.root, work.sealed.count, work.sealed.number) == (stands, 5 if stands else 2, his.number)
    assert verify.head_of(entry_of(work.sealed)["statement"]) == work.sealed.head
    assert ("their seal had not left" in caplog.text) is not stands
    checkpoint.close()


# --- witness ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_witness_keeps_the_newest_head_of_each_partition(tmp_path: Path) -> None:
    """Told when it is time, and at the end of what was not told yet."""
    file = tmp_path / "heads.jsonl"
    witness = Witness(EvidenceSettings(witness=f"file:{file}", witness_seconds=3600), logging.getLogger("test"))
    witness.note(chain()[:2])
    await asyncio.sleep(0)  # the telling begins
    witness.note(chain()[2:])
    await witness.close()
    assert [entry["statement"]["number"] for entry in verify.lines_of(file.read_bytes())] == [2, 5]
    assert list(verify.check_witness([entry_of(each) for each in chain()], verify.lines_of(file.read_bytes()))) == []


@pytest.mark.asyncio
async def test_a_witness_that_is_not_reached_holds_nothing_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and told again."""
    folder = tmp_path / "missing"
    witness = Witness(EvidenceSettings(witness=f"file:{folder}/heads.jsonl", witness_seconds=0), logging.getLogger("test"))
    witness.note(chain()[:1])
    await witness.close()
    assert "the witness was not reached" in caplog.text
    folder.mkdir()
    witness.note(chain()[1:2])
    await witness.close()
    assert [entry["statement"]["number"] for entry in verify.lines_of((folder / "heads.jsonl").read_bytes())] == [2]


@pytest.mark.asyncio
async def test_without_a_witness_nothing_is_kept() -> None:
    """The default."""
    witness = Witness(EvidenceSettings(), logging.getLogger("test"))
    witness.note(chain())
    await witness.close()


# --- bundles ------------------------------------------------------------------------------------------------------------------------


def test_the_same_case_gives_the_same_bundle(tmp_path: Path) -> None:
    """Byte for byte, as folder and as zip; and never over something."""
    paths = [tmp_path / name for name in ("one.zip", "two.zip", "three")]
    digests = [write(files_of(), path) for path in paths]
    assert digests[0] == digests[1]
    assert verify.read_bundle(paths[0]) == verify.read_bundle(paths[2]) == files_of()
    with pytest.raises(Exception, match="exists already"):
        write(files_of(), paths[0])


def test_a_record_is_whole_where_a_line_is_all_of_it() -> None:
    """Found by its digest among the stored lines."""
    plain, wrapped = exhibit(PLAIN), exhibit(WRAPPED)
    assert value_from_lines(told_of(plain.sealed, PLAIN), plain.lines) == line_at(PLAIN)
    assert value_from_lines(told_of(plain.sealed, WRAPPED), wrapped.lines) is None
    assert (is_told(plain.sealed, PLAIN), is_told(plain.sealed, 5 * WIDTH)) == (True, False)


def test_segments_are_what_is_there() -> None:
    """A chain with a hole that the exporter left on purpose is two segments, and right."""
    few = msgspec.structs.replace(case((BEHIND,)), chain=[chain()[0], chain()[3], chain()[4]])
    files = files_of(few)
    segments = json.loads(files[verify.MANIFEST])["segments"]
    assert [(each["first"], each["last"]) for each in segments] == [(1, 1), (4, 5)]
    assert verify.verify_bundle(files).problems == []


def test_the_checker_needs_nothing_of_ours() -> None:
    """The standard library and one package."""
    tree = ast.parse(Path(verify.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} - sys.stdlib_module_names == {"cryptography"}


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no zip", "bundle_unreadable"), (None, "bundle_unreadable")],
    ids=["no zip", "not there"],
)
def test_what_is_no_bundle_is_said_so(tmp_path: Path, content: bytes | None, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 of the checker alone."""
    path = tmp_path / "bundle.zip"
    if content is not None:
        path.write_bytes(content)
    assert verify.main([str(path)]) == 2
    assert message in capsys.readouterr().err


def test_the_checker_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0, and 1 with the problems; control characters of an attacker do not reach the terminal."""
    good, bad = tmp_path / "good.zip", tmp_path / "bad"
    write(files_of(), good)
    assert verify.main([str(good), "--trust", OLD.fingerprint[:20]]) == 0
    write({**files_of(), "x\x1b[2J": b""}, bad)
    assert verify.main([str(bad)]) == 1
    said = capsys.readouterr().out
    assert "file_added" in said
    assert "\x1b" not in said


def test_events_of_the_build_are_named() -> None:
    """The report cites them by these."""
    assert [line.event_id for line in exhibit(WRAPPED).lines] == [event_id(WRAPPED, 0), event_id(WRAPPED, 1)]
