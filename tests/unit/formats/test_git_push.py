"""Push webhooks: who pushed is who logged in, and commits claim what they like."""

import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch, TimestampOutOfRange, UnknownFormat
from pipeline.formats import registry
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import git_push
from pipeline.model.events import CodePushed, Parsed

READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=1_772_480_460_000)
OLD, NEW, ZEROS = "a" * 40, "b" * 40, "0" * 40
COMMIT = {"id": NEW, "timestamp": "2019-01-01T00:00:00Z", "author": {"username": "u099"}, "added": ["a.py"], "modified": ["b.py", "a.py"]}
HUB: dict[str, Any] = {
    "ref": "refs/heads/main", "before": OLD, "after": NEW, "created": False, "deleted": False, "forced": True, "commits": [COMMIT],
    "pusher": {"name": "u017", "email": "x"}, "sender": {"login": "u017"},
    "repository": {"full_name": "llm/train", "pushed_at": 1772480441},
}  # fmt: skip
LAB: dict[str, Any] = {
    "object_kind": "tag_push", "ref": "refs/tags/v1", "before": ZEROS, "after": NEW, "message": "a tag's own text", "user_username": "u017",
    "user_name": "U 17", "project": {"path_with_namespace": "llm/train"}, "commits": [COMMIT], "total_commits_count": 40,
}  # fmt: skip
GITEA: dict[str, Any] = {
    "ref": "refs/heads/main", "before": OLD, "after": ZEROS, "commits": [], "pusher": {"login": "u017"}, "sender": {"login": "u017"},
    "repository": {"full_name": "llm/train"},
}  # fmt: skip


def parse(value: object) -> Parsed:
    """The event of a body."""
    payload = value if isinstance(value, bytes) else json.dumps(value).encode()
    assert git_push.FORMAT.claims(payload)
    (event,) = git_push.FORMAT.parse(Line(payload=payload), READING)
    return event


ROWS = [
    (HUB, 1_772_480_441_000, "refs/heads/main", OLD, NEW, "forced", 1, ("a.py", "b.py")),
    (LAB, None, "refs/tags/v1", ZEROS, NEW, "created", 40, ("a.py", "b.py")),
    (GITEA, None, "refs/heads/main", OLD, ZEROS, "deleted", 0, ()),
]


@pytest.mark.parametrize(("value", "time", "ref", "before", "after", "change", "commits", "files"), ROWS, ids=["GitHub", "GitLab", "Gitea"])
def test_pushes(
    value: dict[str, Any], time: int | None, ref: str, before: str, after: str, change: str, commits: int, files: tuple[str, ...]
) -> None:
    """The pusher, the server's time or none, and what the push did to its branch."""
    event = parse(value)
    assert event.event_time == time
    assert event.body == CodePushed(
        user="u017", repository="llm/train", ref=ref, before=before, after=after, change=change, commits=commits, files=files
    )


def test_no_wrapper_opens_a_tag() -> None:
    """GitLab's tag pushes have a message, which is not a line of somebody's log."""
    payload = json.dumps(LAB).encode()
    assert [line.payload for line in registry.unwrap(payload, [])] == [payload]


def test_a_delivery_that_comes_twice_has_one_id() -> None:
    """Repository, branch, both ends and the server's time; without that time the line tells."""
    assert parse(HUB).own_id == f"llm/train/refs/heads/main/{OLD}/{NEW}/1772480441"
    assert parse(GITEA).own_id == ""


def test_many_files_are_a_sample() -> None:
    """A push of everything stays a small event."""
    body = parse({**HUB, "commits": [{"added": [f"{number}.py" for number in range(5000)]}] * 100}).body
    assert isinstance(body, CodePushed)
    assert (len(body.files), body.commits) == (64, 100)


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b'{"ref":"a","before":"b","after":', DecodeError),
        (b'{"ref":"a","before":"b","after":"c"}', UnknownFormat),
        (json.dumps({**HUB, "commits": 7}).encode(), SchemaMismatch),
        (json.dumps({**HUB, "forced": "yes"}).encode(), SchemaMismatch),
        (json.dumps({**HUB, "repository": {"pushed_at": 10**17}}).encode(), TimestampOutOfRange),
        (json.dumps({**HUB, "repository": {"pushed_at": 7}}).encode(), TimestampOutOfRange),
    ],
)
def test_broken(payload: bytes, error: type[RejectedRecord]) -> None:
    """What is wrong is said."""
    with pytest.raises(error):
        parse(payload)


REAL = [
    ("payload", "refs/tags/simple-tag", "deleted", 0, ()),
    ("with-new-branch.payload", "refs/heads/master", "created", 1, ("README.md",)),
    ("with-no-username-committer.payload", "refs/heads/master", "created", 1, ("README.md",)),
]


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "ref", "change", "commits", "files"), REAL, ids=[row[0] for row in REAL])
def test_real_deliveries(shared_data: Path, name: str, ref: str, change: str, commits: int, files: tuple[str, ...]) -> None:
    """GitHub's own examples with the values of their notes."""
    value = json.loads((shared_data / f"access/git_push/{name}.json").read_bytes())
    event = parse(value)
    assert isinstance(event.body, CodePushed)
    assert (event.body.user, event.body.repository) == (value["pusher"]["name"], value["repository"]["full_name"])
    assert (event.body.ref, event.body.change, event.body.commits, event.body.files) == (ref, change, commits, files)
    assert event.event_time == value["repository"]["pushed_at"] * 1000
