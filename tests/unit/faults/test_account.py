"""What an account lets pass where records were deleted unread, or came to the topics more often than they were sent."""

import msgspec
import orjson

from pipeline.faults.account import follows_from, with_repeats
from pipeline.faults.site import PARTITIONS
from pipeline.model.outcome import Record


def test_a_verdict_follows_from_a_finding_that_owns_up() -> None:
    """That finding is no alert, since a source is missing, and so the job was not harmed by it, as far as is known; others are compared."""
    body = orjson.dumps({"verdict": "unexplained", "cause": "no_record", "findings": ["f1"]})
    assert follows_from(body, frozenset({"f1"}))
    assert not follows_from(body, frozenset({"f2"}))
    assert not follows_from(body, frozenset())
    assert not follows_from(None, frozenset({"f1"}))
    assert not follows_from(orjson.dumps({"detector": "p01_foreign_kill"}), frozenset({"f1"}))


def test_what_a_producer_left_twice_has_to_be_in_the_tables_twice() -> None:
    """And nothing else: neither what was sent twice, nor what nobody sent, nor a copy that is gone."""
    sent = [Record(topic="access", partition=number, offset=number, timestamp=5, value=b"%d" % (number // 2)) for number in range(6)]
    there = [msgspec.structs.replace(each, partition=each.partition % PARTITIONS, offset=at) for at, each in enumerate(sent)]
    assert with_repeats(there, sent) == sent
    stranger = msgspec.structs.replace(there[0], value=b"another")
    assert with_repeats([*there[1:], there[3], there[3], stranger], sent) == [*sent[:4], sent[3], sent[3], *sent[4:]]
