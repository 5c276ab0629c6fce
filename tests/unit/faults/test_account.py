"""What an account lets pass where records were deleted unread."""

import orjson

from pipeline.faults.account import follows_from


def test_a_verdict_follows_from_a_finding_that_owns_up() -> None:
    """That finding is no alert, since a source is missing, and so the job was not harmed by it, as far as is known; others are compared."""
    body = orjson.dumps({"verdict": "unexplained", "cause": "no_record", "findings": ["f1"]})
    assert follows_from(body, frozenset({"f1"}))
    assert not follows_from(body, frozenset({"f2"}))
    assert not follows_from(body, frozenset())
    assert not follows_from(None, frozenset({"f1"}))
    assert not follows_from(orjson.dumps({"detector": "p01_foreign_kill"}), frozenset({"f1"}))
