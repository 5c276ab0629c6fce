"""What is taken back, and the reason: it stands beside the canonical body, which is the same for all of them."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import orjson
import pytest

from pipeline.detect.publishing import LATER, Publisher, _is_silent
from pipeline.model.finding import Finding
from pipeline.model.outcome import Publish
from pipeline.model.source import Source
from pipeline.model.told import Emitted
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks, bucket_of
from tests import build
from tests.build import job_end, kill, rank_failed

ID = "p01_foreign_kill"


class Row(NamedTuple):
    """A finding that is judged no more: what it was said by, and why it is taken back."""

    name: str
    said: dict[str, Any]  # fields of the finding
    under: str  # settings
    reason: str


NOW = "5e771265"
ROWS = [
    Row("a late record", {}, NOW, LATER),
    Row("another version", {"detector_version": 0}, NOW, rf"version \d+ of {ID} does not find it"),
    Row("a detector that is gone", {"detector": "p99_gone"}, NOW, "there is no p99_gone any more"),
    Row("other settings", {}, "0ld", "the settings are others than 0ld, under which it was said"),
    Row("both", {"detector_version": 0}, "0ld", rf"version \d+ of {ID} does not find it; the settings are others than 0ld, .*"),
    Row("said by a release that did not note its settings", {}, "", LATER),
]


def settle(emitted: dict[str, Emitted], judged: Iterable[Finding], settings: str = NOW) -> list[dict[str, Any]]:
    """What is published, as OCSF has it."""
    publisher = Publisher(Cases(), settings)
    outcomes = publisher.settle(b"case", emitted, tuple(judged), build.now(), lambda _: None)
    return [orjson.loads(out.value) for out in outcomes if isinstance(out, Publish)]


def taken_back(row: Row) -> dict[str, Any]:
    """The blocks of the retraction."""
    (found,) = build.judge(ID, kill(97), rank_failed(98), job_end(100))
    emitted: dict[str, Emitted] = {}
    (said,) = settle(emitted, [msgspec.structs.replace(found, **row.said)], row.under)
    assert "reason" not in said["unmapped"]["trainwatch"]["transport"]
    (gone,) = settle(emitted, ())
    assert settle(emitted, ()) == [], "it is said once"
    blocks: dict[str, Any] = gone["unmapped"]["trainwatch"]
    return blocks


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_retraction_says_why(row: Row) -> None:
    """In the transport block: records, release or settings."""
    blocks = taken_back(row)
    assert blocks["canonical"]["status"] == "retracted"
    assert "reason" not in blocks["canonical"]
    assert re.fullmatch(row.reason, blocks["transport"]["reason"])


def test_the_reason_is_in_no_body() -> None:
    """Whatever was changed, the last word on the finding is the same."""
    late, settings = (taken_back(row)["canonical"] for row in (ROWS[0], ROWS[3]))
    assert late == settings


@pytest.mark.parametrize(
    ("source", "heard_hours_ago", "is_silent"),
    [
        (Source.AUDITD, 0.5, False),
        (Source.AUDITD, 5, True),
        (Source.JOBCOMP, 5, False),
        (Source.JOBCOMP, 30, True),
        (Source.GIT_PUSH, 300, False),
        (Source.SSHD, None, True),
    ],
)
def test_a_source_is_silent_that_was_not_heard_about_the_time(source: Source, heard_hours_ago: float | None, is_silent: bool) -> None:
    """What hosts log all the time within an hour, else within a day; of what comes late whether it ever was."""
    heard = [] if heard_hours_ago is None else [bucket_of(build.T0 - round(heard_hours_ago * 3_600_000), build.BUCKET_MS)]
    marks = {(build.CLUSTER, source): (build.T0, build.T0)} if heard else {}
    now = Watermarks(marks, {(build.CLUSTER, source): frozenset(heard)}, build.BUCKET_MS)
    assert _is_silent(build.CLUSTER, source, build.T0, now) is is_silent
