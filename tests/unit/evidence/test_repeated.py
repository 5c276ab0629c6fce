"""A row that comes again with another elapsed time: several lines of one event, and each that is cited is proved and missed by itself."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from pipeline.evidence import verify
from pipeline.evidence.bundle import Case, Cited
from pipeline.evidence.chain import Sealer
from pipeline.evidence.from_files import Exhibits, seal_all
from pipeline.evidence.verify import RECORDS, REPORT
from pipeline.model.outcome import EventRow
from pipeline.settings import Settings
from tests.unit.evidence.build import OLD, T0, Edit, case, codes, files_of, on_json, on_lines, record, resealed, rows
from tests.unit.evidence.test_erasure import SIGNED

EVENT = "48213-running"
FIRST, SECOND, THIRD, OTHER = 1, 2, 3, 4  # offsets: an hourly export each, and a record of something else


def row_at(offset: int) -> EventRow:
    (row,) = rows(record(offset))
    return row if offset == OTHER else msgspec.structs.replace(row, event_id=EVENT)


def cite(offset: int) -> Cited:
    row = row_at(offset)
    return row.event_id, row.sha256


FOUND = [row_at(offset) for offset in (FIRST, SECOND, THIRD, OTHER)]
READ = [record(row.offset) for row in FOUND]
CHAIN = seal_all(READ, FOUND, Sealer(OLD, Settings()), T0 + 10_000)


def bundle_of(cited: Sequence[Cited], shown: Sequence[Cited] | None = None, **fields: Any) -> Case:
    """A finding that cites these lines; `shown`: of others, where something is not there."""
    evidence = [{"finding_id": "f1", "role": "cause", "event_id": event, "sha256": sha256} for event, sha256 in cited]
    exhibits = list(Exhibits(READ, FOUND, CHAIN).of(cited if shown is None else shown))
    return msgspec.structs.replace(case(), evidence=evidence, exhibits=exhibits, chain=CHAIN, **({"unavailable": []} | fields))


def offsets(files: dict[str, bytes]) -> list[int]:
    return [each["offset"] for each in verify.lines_of(files[RECORDS])]


@pytest.mark.parametrize("cited", [(FIRST,), (SECOND,), (FIRST, THIRD), (SECOND, THIRD, OTHER)])
def test_each_line_that_is_cited_is_in_the_bundle(cited: tuple[int, ...]) -> None:
    """And none beside: which of the lines of an event it is, its sha256 tells."""
    files = files_of(bundle_of([cite(offset) for offset in cited]))
    assert (codes(files), offsets(files)) == (set(), list(cited))


def test_of_an_event_without_a_line_that_is_named_the_first_is_shown() -> None:
    """What is cited by its event alone; and what is cited as a line that was never read, which the check then calls changed."""
    assert offsets(files_of(bundle_of([], [(EVENT, "")]))) == [FIRST]
    files = files_of(bundle_of([(EVENT, "00" * 32)]))
    assert (codes(files), offsets(files)) == ({"evidence_changed"}, [FIRST])


def another(offset: int) -> dict[str, Any]:
    """The record of another line, as a bundle would have it."""
    (found,) = verify.lines_of(files_of(bundle_of([cite(offset)]))[RECORDS])
    return dict(found)


def altered(found: list[Any]) -> None:
    found[1]["value"] = found[1]["lines"][0]["raw"] = "bm90aGluZyBoYXBwZW5lZA=="


def lines_exchanged(found: list[Any]) -> None:
    found[0]["lines"], found[1]["lines"] = found[1]["lines"], found[0]["lines"]


TAMPERING: list[tuple[str, Edit, set[str]]] = [
    ("altered", on_lines(RECORDS, altered), {"record_changed", "line_changed", "evidence_changed"}),
    ("dropped", on_lines(RECORDS, lambda found: found.pop()), {"evidence_missing"}),
    ("the first dropped", on_lines(RECORDS, lambda found: found.pop(0)), {"evidence_missing"}),
    ("exchanged for the other", on_lines(RECORDS, lambda found: found.__setitem__(1, found[0])), {"record_doubled", "evidence_missing"}),
    ("exchanged for one that is not cited", on_lines(RECORDS, lambda found: found.__setitem__(1, another(THIRD))), {"evidence_changed"}),
    ("the lines of both exchanged", on_lines(RECORDS, lines_exchanged), {"line_changed", "line_time_changed"}),
    ("a third added", on_lines(RECORDS, lambda found: found.append(another(THIRD))), {"record_uncited"}),
    ("cited as another", on_json(REPORT, lambda report: report["evidence"][1].update(sha256="00" * 32)), {"evidence_changed"}),
    ("cited as the first", on_json(REPORT, lambda report: report["evidence"][1].update(sha256=cite(FIRST)[1])), {"record_uncited"}),
]


@pytest.mark.parametrize(("edit", "expected"), [row[1:] for row in TAMPERING], ids=[row[0] for row in TAMPERING])
def test_one_of_two_lines_is_missed_although_the_other_is_there(edit: Edit, expected: set[str]) -> None:
    """Each by itself, whoever made the manifest fit."""
    files = files_of(bundle_of([cite(FIRST), cite(SECOND)]))
    edit(files)
    assert codes(resealed(files)) == expected


def test_the_line_that_is_missed_is_named() -> None:
    """By its sha256: the event alone would not tell which."""
    files = files_of(bundle_of([cite(FIRST), cite(SECOND)]))
    on_lines(RECORDS, lambda found: found.pop())(files)
    (problem,) = verify.verify_bundle(resealed(files), unsigned=True).problems
    assert problem.text.endswith(f"sha256 {cite(SECOND)[1]}")


def gone(offset: int, **fields: Any) -> dict[str, Any]:
    event, sha256 = cite(offset)
    return {"event_id": event, "sha256": sha256, "why": "its row is not in ClickHouse any more", **fields}


def test_what_is_told_of_one_line_excuses_no_other() -> None:
    """Retention took one of two: told, and nothing is wrong; and nothing may stand in its place."""
    both = [cite(FIRST), cite(SECOND)]
    files = files_of(bundle_of(both, [cite(FIRST)], unavailable=[gone(SECOND)]))
    verdict = verify.verify_bundle(files)
    assert verdict.problems == []
    assert any(f"event {EVENT}, sha256 {cite(SECOND)[1]}, is cited and not in the bundle" in note for note in verdict.notes)
    assert codes(files_of(bundle_of(both, [cite(FIRST)], unavailable=[gone(FIRST)]))) == {"evidence_missing"}
    assert codes(files_of(bundle_of(both, [cite(FIRST), cite(THIRD)], unavailable=[gone(SECOND)]))) == {"record_uncited"}


def test_an_erasure_is_of_one_line() -> None:
    """That of another line of the event explains nothing."""
    said = {sha256: msgspec.structs.replace(SIGNED, event_id=EVENT, sha256=sha256).signed(OLD) for _, sha256 in (cite(FIRST), cite(SECOND))}
    for erased, expected in ((SECOND, set()), (FIRST, {"erasure_wrong"})):
        told = gone(SECOND, erasure=msgspec.structs.asdict(said[cite(erased)[1]]))
        assert codes(files_of(bundle_of([cite(FIRST), cite(SECOND)], [cite(FIRST)], unavailable=[told]))) == expected


def test_a_bundle_of_the_release_before_is_fine() -> None:
    """It chose records by event alone, so one may be there of which another line is cited; and it excused events, not lines."""
    files = files_of(
        bundle_of(
            [cite(SECOND), cite(OTHER)], [cite(FIRST), cite(SECOND)], unavailable=[{"event_id": row_at(OTHER).event_id, "why": "gone"}]
        )
    )
    assert codes(files) == {"record_uncited"}
    on_json(REPORT, lambda report: report.update(v=1))(files)
    assert codes(resealed(files)) == set()
    assert hashlib.sha256(READ[1].value or b"").hexdigest() == json.loads(files[REPORT])["evidence"][0]["sha256"]
