"""Lines that a container runtime split: from records of pieces to the event of the whole line, as a judge sees it.

P {"step":7,..   P ..   F ..}        one Iteration that cites its pieces      a piece is missing -> text, after its wait
"""

import random
from collections.abc import Iterable, Sequence
from itertools import permutations

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.formats.split_lines import BYTES_MAX, HOLD_MS, PIECE_BYTES_MAX, PIECES_MAX, whole_lines
from pipeline.ingest.splits import SPLITS
from pipeline.ingest.step import build_state, step
from pipeline.jobs.index import EVER, JobIndex
from pipeline.jobs.index import PIECES_MAX as PIECES_OF_JOB_MAX
from pipeline.model.events import AnyBody, CheckpointSaved, Event, Iteration, LinePart, Progress, RankFailed, TrainingLine
from pipeline.model.facts import Fact
from pipeline.model.outcome import EventRow, Filtered, Lost, Outcome, Record, Rejected, Tell
from pipeline.model.source import Source
from pipeline.model.told import decode_told
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from tests import build
from tests.build import CLUSTER, JOB, allocation

FILE = "/var/log/pods/llm_u012-0_1/slurm-7.out"
SIZE = 4_000
LOSS = orjson.dumps({"step": 7, "loss": 2.5, "tokens": ["é" * 40] * 150}).decode()
KILLED = "ERROR:torch.distributed.elastic.multiprocessing.api:failed (exitcode: -9) local_rank: 0 (pid: 4711) of binary: /usr/bin/python "
AUDIT = orjson.dumps({
    "kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": "a1", "stage": "ResponseComplete", "verb": "delete",
    "stageTimestamp": "2026-03-02T00:00:09Z", "objectRef": {"resource": "pods", "name": "x" * 9_000},
}).decode()  # fmt: skip


def pieces(text: str) -> list[bytes]:
    """Cut by bytes, as runtimes do: through a character, if need be."""
    data = text.encode()
    return [data[at : at + SIZE] for at in range(0, len(data), SIZE)]


def cri(
    text: str, *, at: float = 10, file: str = FILE, offset: int | None = 0, stream: str = "stdout", topic: str = "logs.training"
) -> list[Record]:
    """The records of one line, as containerd writes it and a shipper reads it."""
    found = []
    cut = pieces(text)
    for number, piece in enumerate(cut):
        tag = "F" if number == len(cut) - 1 else "P"
        value = f"2026-03-02T00:00:{at:02.0f}.{number:03d}000000Z {stream} {tag} ".encode() + piece + b"\n"
        headers = [("file", file.encode()), ("host", b"gpu-001")]
        if offset is not None:
            headers.append(("offset", str(offset).encode()))
            offset += len(value)
        found.append(build.record(value, number, at=at, headers=headers, topic=topic))
    return found


def docker(text: str, *, name: str = "id7") -> list[Record]:
    """The same as Docker's drivers number the pieces."""
    cut = text.encode().decode()
    parts = [cut[at : at + SIZE] for at in range(0, len(cut), SIZE)]
    return [
        build.record(
            orjson.dumps({
                "log": part, "source": "stdout", "partial_message": "true", "partial_id": name, "partial_ordinal": str(number),
                "partial_last": "true" if number == len(parts) else "false",
            }),
            number,
            at=10,
            headers=[("file", FILE.encode()), ("host", b"gpu-001")],
        )
        for number, part in enumerate(parts, 1)
    ]  # fmt: skip


def ingested(records: Sequence[Record], every: int = 1_000, facts: Iterable[Fact] = (), **changes: object) -> list[Outcome]:
    """Through ingest, which is built again from what it made durable after every so many records."""
    durable = {(fact.case, fact.id): fact for fact in facts}
    found: list[Outcome] = []
    for at in range(0, len(records), every):
        cases = Cases(durable.values())
        _, outcomes = step(build_state(build.settings(**changes), cases), records[at : at + every], NOTHING)
        found += outcomes
        durable = {(fact.case, fact.id): fact for fact in cases.facts()}
    return found


def told(outcomes: Iterable[Outcome]) -> list[Event]:
    """What jobs is told."""
    events = [decode_told(out.fact.body) for out in outcomes if isinstance(out, Tell) and out.stage == "jobs"]
    return [event for event in events if isinstance(event, Event)]


def seen(events: Iterable[Event], passed: int = EVER) -> list[Event]:
    """What a judge sees of them."""
    index = JobIndex(CLUSTER, JOB, 1_000)
    index.add("start", allocation())
    for event in events:
        index.add(event.id, event)
    (case,) = index.cases(build.site(), passed)
    return sorted((event for event in case.all_events() if event.source in (Source.TRAINING, Source.PROBE)), key=lambda each: each.id)


def bodies(records: Sequence[Record], passed: int = EVER) -> list[AnyBody]:
    return [event.body for event in seen(told(ingested(records)), passed)]


def failed(text: str) -> list[AnyBody]:
    """What the line says where nobody split it."""
    return [event.body for event in told(ingested([build.record(text, at=10, headers=[("file", FILE.encode())])]))]


LONG = KILLED + "-x " * 4_000


def test_the_event_of_a_whole_line_is_that_of_the_unsplit_one() -> None:
    """In every shape that pieces come in; a character that was cut in two is whole again."""
    for text, expected in ((LOSS, Iteration(iteration=7, loss=2.5)), (LONG, failed(LONG)[0])):
        assert len(pieces(text)) > 2
        for records in (cri(text), cri(text, offset=None), docker(text)):
            assert bodies(records) == [expected]


def test_it_cites_its_pieces_and_is_called_after_the_first() -> None:
    """Each of them is a row under the id that is cited."""
    outcomes = ingested(cri(LOSS))
    rows = [out for out in outcomes if isinstance(out, EventRow)]
    (event,) = seen(told(outcomes))
    assert event.parts == tuple((row.event_id, row.sha256) for row in rows)
    assert {row.kind for row in rows} == {"line_part"}
    assert [row.attrs["part"] for row in rows] == ["open"] * (len(rows) - 1) + ["last"]
    assert b"".join(row.raw.encode("utf-8", "surrogateescape") for row in rows) == LOSS.encode()
    (again,) = seen(told(ingested(cri(LOSS)[:1])))
    assert again.id == event.id


def test_no_piece_is_a_dead_letter_nor_an_event_of_its_own() -> None:
    """Half an object is none; and the end of a long line may read like another line."""
    text = "x" * 2 * SIZE + f" {KILLED}"
    outcomes = ingested(cri(text))
    assert not [out for out in outcomes if isinstance(out, (Rejected, Filtered))]
    assert {type(event.body) for event in told(outcomes)} == {LinePart}
    assert [type(event.body) for event in seen(told(outcomes))] == [RankFailed]


def test_lines_behind_it_are_lines() -> None:
    """Of the same file and stream, and of the other stream between its pieces."""
    alone = KILLED.replace("4711", "4712") + "y"
    between = cri(KILLED.replace("4711", "4713") + "z", stream="stderr", offset=None)
    long = cri(LONG, offset=None)
    records = [long[0], *between, *long[1:], *cri(alone, at=11, offset=None)]
    assert sorted(body.pid or 0 for body in bodies(records) if isinstance(body, RankFailed)) == [4711, 4712, 4713]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_facts_may_come_in_any_order(order: tuple[int, ...]) -> None:
    """Partitions know nothing of one another."""
    events = told(ingested(cri(LONG)))
    assert len(events) == 4
    assert [event.body for event in seen([events[number] for number in order])] == failed(LONG)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_numbered_records_may_come_in_any_order(order: tuple[int, ...]) -> None:
    """What Docker numbers needs no memory."""
    records = docker(LONG)
    assert bodies([records[number] for number in order]) == failed(LONG)


@pytest.mark.parametrize("every", [1, 2, 3, 100])
def test_batches_and_restarts_do_not_matter(every: int) -> None:
    """Which file is in the midst of a line is durable."""
    records = [*cri(LONG), *cri(LOSS, at=12, file=f"{FILE}.1")]
    whole, cut = (seen(told(ingested(records, size))) for size in (1_000, every))
    assert cut == whole
    assert len(whole) == 2


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_order_batches_and_repetition_do_not_matter(data: st.DataObject) -> None:
    """Files run through one another, each in order in itself; batches are cut anywhere, records come again, facts in any order."""
    lines = [
        [record for text in (LONG, LOSS) for record in cri(text, file=f"{FILE}.{number}", offset=offset)]
        for number, offset in enumerate((0, 70_000))
    ]
    numbered = data.draw(st.permutations(docker(LONG.replace("4711", "4712"))))
    queues = [list(each) for each in (*lines, numbered)]
    records: list[Record] = []
    while any(queues):
        queue = data.draw(st.sampled_from([each for each in queues if each]))
        records.append(queue.pop(0))
        if data.draw(st.integers(0, 4)) == 0:
            records.append(records[-1])
    events = told(ingested(records, data.draw(st.integers(1, 9))))
    found = seen(data.draw(st.permutations(events)))
    assert found == seen(told(ingested([*lines[0], *lines[1], *docker(LONG.replace("4711", "4712"))])))
    assert len(found) == 5


def test_records_that_come_twice_change_nothing() -> None:
    """Each at once, or all of them again."""
    records = cri(LONG)
    for twice in ([each for each in records for _ in range(2)], [*records, *records], [*records[:2], *records]):
        assert [event.body for event in seen(told(ingested(twice)))] == failed(LONG), len(twice)


@pytest.mark.parametrize("gone", range(4))
def test_a_half_finished_line_is_text_after_its_wait(gone: int) -> None:
    """It says what it is and nothing else; before, nothing at all."""
    events = [event for number, event in enumerate(told(ingested(cri(LONG)))) if number != gone]
    first = min(event.event_time for event in events)
    assert seen(events, first + HOLD_MS) == []
    (event,) = seen(events, first + HOLD_MS + 1)
    assert isinstance(event.body, TrainingLine)
    assert event.body.what == "cut_line"
    assert len(event.parts) == 3


def test_a_piece_that_comes_late_completes_it() -> None:
    """A later word replaces an earlier one, as everywhere."""
    events = told(ingested(cri(LONG)))
    assert [event.body for event in seen([*events[1:], events[0]])] == failed(LONG)


def test_a_piece_that_was_lost_on_the_way_is_missed() -> None:
    """Its place in the file tells, though ingest never saw it."""
    records = cri(KILLED + "-x " * 12_000)
    assert bodies(records) == failed(KILLED + "-x " * 12_000)
    del records[1:6]
    assert [type(body) for body in bodies(records)] == [TrainingLine]


def test_pieces_of_a_progress_bar_are_read_alone() -> None:
    """It draws over its own line for hours: its updates are whole up to the last carriage return."""
    update = "\r 12%|#2        | {}/333 [00:51<06:17,  0.78it/s]"
    text = "".join(update.format(number) for number in range(1, 300))
    found = bodies(cri(text))
    assert found
    assert {type(body) for body in found} == {Progress}
    assert not [out for out in ingested(cri(text)) if isinstance(out, Rejected)]


def test_a_line_has_a_bound() -> None:
    """A line that never ends is cut into such as have one; no piece is lost, none is read."""
    records = cri("x" * SIZE * (PIECES_MAX + 6))
    outcomes = ingested(records)
    events = told(outcomes)
    assert len(events) == len([out for out in outcomes if isinstance(out, EventRow)]) == PIECES_MAX + 6
    sizes: dict[str, int] = {}
    for event in events:
        assert isinstance(event.body, LinePart)
        sizes[event.body.line] = sizes.get(event.body.line, 0) + 1
    assert max(sizes.values()) <= PIECES_MAX
    assert sum(len(event.parts) for event in seen(events)) == PIECES_MAX + 6
    assert BYTES_MAX >= PIECES_MAX * 16_384


def test_a_piece_has_a_bound() -> None:
    """What is longer than any runtime writes is kept as a row, and no line is made of it."""
    value = b"2026-03-02T00:00:10.0Z stdout P " + b"x" * (PIECE_BYTES_MAX + 1)
    (event,) = told(ingested([build.record(value, at=10, headers=[("file", FILE.encode())])]))
    assert isinstance(event.body, LinePart)
    assert (len(event.body.payload), event.body.cut) == (PIECE_BYTES_MAX, True)


def test_a_job_has_a_bound() -> None:
    """Whoever prints long lines all day fills no state: the earliest stay, in any order."""
    events = [build.event(at, Source.TRAINING, LinePart(line=str(at), payload=b"x"), job=JOB) for at in range(PIECES_OF_JOB_MAX + 50)]
    kept = []
    for seed in range(3):
        random.Random(seed).shuffle(events)
        index = JobIndex(CLUSTER, JOB, 1_000)
        for event in events:
            index.add(event.id, event)
        kept.append({told.event_time for told in index.told.values() if isinstance(told, Event)})
    assert kept[0] == kept[1] == kept[2]
    assert len(kept[0]) == PIECES_OF_JOB_MAX


def test_the_end_of_a_line_must_come_soon() -> None:
    """Behind the wait a line of the file is a line, whatever the pieces before it."""
    (lone,) = cri(KILLED, at=50, offset=None)
    assert [type(event.body) for event in told(ingested([*cri(LONG)[:2], lone]))] == [LinePart, LinePart, RankFailed]


def test_a_line_of_another_job_is_left_out() -> None:
    """As it would be in one piece."""
    said = orjson.dumps({
        "trainwatch_probe": 1, "kind": "checkpoint_saved", "time_ms": build.ms(9), "host": "gpu-001", "job": "8", "pid": 1, "uid": 5012,
        "path": "/ckpt/x", "sha256": "a" * 64, "size_bytes": 7, "note": "x" * 2 * SIZE,
    }).decode()  # fmt: skip
    assert bodies(cri(said)) == []
    assert [type(body) for body in bodies(cri(said.replace('"job":"8"', '"job":"7"')))] == [CheckpointSaved]


def test_what_no_format_reads_is_kept_as_text() -> None:
    """The rows of its pieces hold it whole."""
    (body,) = bodies(cri("lorem ipsum " * 1_000))
    assert isinstance(body, TrainingLine)
    assert (body.what, len(body.text)) == ("long_line", 4096)


def test_elsewhere_pieces_are_rows_and_a_gap() -> None:
    """Nobody puts together what is no job's: whose line it was is heard no more at that time."""
    outcomes = ingested(cri(AUDIT, topic="logs.access"))
    rows = [out for out in outcomes if isinstance(out, EventRow)]
    assert [(row.source, row.kind) for row in rows] == [("refused", "split_line")] * 3
    assert not [out for out in outcomes if isinstance(out, (Rejected, Filtered, Tell))]
    (lost,) = [out for out in outcomes if isinstance(out, Lost)]
    assert lost.source is Source.KUBERNETES_AUDIT
    whole = [out for out in ingested(cri(AUDIT.replace("x" * 9_000, "x"), topic="logs.access")) if isinstance(out, EventRow)]
    assert [row.kind for row in whole] == ["kubernetes_request"]


def test_nothing_is_remembered_without_split_lines() -> None:
    """The state of ingest is its marks, and the files that are in the midst of a line."""
    cases = Cases()
    state = build_state(build.settings(), cases)
    step(state, cri(KILLED), NOTHING)
    assert not cases.of(SPLITS)
    step(state, cri(LONG)[:1], NOTHING)
    assert len(cases.of(SPLITS)) == 1
    late = build.record(KILLED, at=7_200)
    step(state, [late], NOTHING)
    assert not cases.of(SPLITS)


def test_without_a_file_a_piece_stays_alone() -> None:
    """Nobody knows which pieces are of one line."""
    records = [msgspec.structs.replace(each, headers=()) for each in cri(LONG)]
    rows = [out for out in ingested(records) if isinstance(out, EventRow)]
    assert len({row.attrs["line"] for row in rows if row.kind == "line_part"}) == 3


def test_pieces_are_grouped_by_their_line() -> None:
    """Of two lines at once, each has its own."""
    one, two = docker(LONG, name="a"), docker(LONG.replace("4711", "4712"), name="b")
    mixed = [record for pair in zip(one, two, strict=True) for record in pair]
    assert {body.pid for body in bodies(mixed) if isinstance(body, RankFailed)} == {4711, 4712}
    assert whole_lines([], EVER) == []
