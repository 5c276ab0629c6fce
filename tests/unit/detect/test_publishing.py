"""What is taken back, and the reason: it stands beside the canonical body, which is the same for all of them."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import orjson
import pytest

from pipeline.detect.publishing import LATER, Publisher
from pipeline.model.finding import Finding
from pipeline.model.outcome import Publish
from pipeline.model.told import Emitted
from pipeline.stream.cases import Cases
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
