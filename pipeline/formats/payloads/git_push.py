"""The body of a push webhook in, of GitHub, GitLab, Gitea or Forgejo; one CodePushed out: who changed which code, and how.

A relay puts the body on a topic as it came.  The name of the event travels in an HTTP header that is lost then, so a push is known by
its fields: `ref`, `before` and `after` with a repository (GitHub, Gitea), or `object_kind` push or tag_push (GitLab).

The actor is who logged in to push (`sender`, `user_username`), never an author of a commit: authors and their times are claims that
anybody can write into a commit.  Therefore the time is the server's `pushed_at` where it is a number (GitHub), else that of collection.
A deleted branch has an `after` of zeros, a new one a `before` of zeros.  Lists of commits are capped by the senders (GitHub 2048,
GitLab 20): `commits` is the sender's total where it tells one, and `files` a sample.

GitHub is verified on the three real deliveries of octokit/webhooks (tests, where present); GitLab and Gitea are not verified on real
lines.  Layout: https://docs.github.com/webhooks/webhook-events-and-payloads#push,
https://docs.gitlab.com/user/project/integrations/webhook_events/, https://docs.gitea.com/usage/webhooks
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any

import msgspec

from pipeline.errors import UnknownFormat
from pipeline.formats.fields import checked_time, unmapped
from pipeline.formats.json_event import (
    LIST_MAX,
    NUMBER_MAX,
    Passing,
    at,
    bool_at,
    event_object,
    int_at,
    list_at,
    passed,
    text_at,
    usual_line,
)
from pipeline.formats.line import Line, Reading
from pipeline.model.events import CodePushed, Parsed
from pipeline.model.source import Source

PROGRAMS = ("github", "gitlab", "gitea", "forgejo", "webhook")
COMMITS_MAX = 4096  # looked at for files
_TAKEN = frozenset({
    "ref", "before", "after", "created", "deleted", "forced", "commits", "head_commit", "repository", "project", "pusher", "sender",
    "user_username", "object_kind", "event_name", "total_commits_count", "organization", "secret",
})  # fmt: skip


class _Home(msgspec.Struct, frozen=True, gc=False):
    full_name: str = ""
    pushed_at: Annotated[int, msgspec.Meta(ge=-NUMBER_MAX, le=NUMBER_MAX)] | None = None


class _Somebody(msgspec.Struct, frozen=True, gc=False):
    login: str = ""
    name: str = ""


class _Commit(msgspec.Struct, frozen=True, gc=False):
    added: list[str] = []
    modified: list[str] = []
    removed: list[str] = []


class _Push(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A push to GitHub or Gitea of the usual types."""

    ref: str
    before: str
    after: str
    repository: _Home
    pusher: _Somebody = _Somebody()
    sender: _Somebody = _Somebody()
    created: bool | None = None
    deleted: bool | None = None
    forced: bool | None = None
    base_ref: Passing = None
    compare: Passing = None
    compare_url: Passing = None
    commits: list[_Commit] = []
    head_commit: msgspec.Raw = msgspec.Raw()
    organization: msgspec.Raw = msgspec.Raw()


_PASSING = "base_ref", "compare", "compare_url"
decode_usual = msgspec.json.Decoder(_Push).decode


class GitPush:
    """The body of one delivery."""

    name = "git_push"
    source = Source.GIT_PUSH
    programs = PROGRAMS
    begins = (b'{"ref"', b'{"object_kind"')
    first_bytes = b"{"

    def claims(self, payload: bytes) -> bool:
        """An object with the two ends of a push."""
        return payload[:1] == b"{" and b'"before"' in payload and b'"after"' in payload and b'"ref"' in payload

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """One push."""
        if (found := usual_line(line, decode_usual)) is not None:
            return (_usual(found),)
        value, _ = event_object(line, reading, PROGRAMS)
        lab = value.get("object_kind") in ("push", "tag_push")
        home = value.get("project" if lab else "repository")
        if not isinstance(home, dict) or not all(isinstance(value.get(name), str) for name in ("ref", "before", "after")):
            raise UnknownFormat("an object that is no push")
        repository = text_at(home, "path_with_namespace") if lab else text_at(home, "full_name")
        user = text_at(value, "user_username") if lab else text_at(value, "sender", "login") or text_at(value, "pusher", "name")
        ref, before, after = (text_at(value, name) for name in ("ref", "before", "after"))
        pushed = home.get("pushed_at")
        time = checked_time(pushed * 1000) if isinstance(pushed, int) and not isinstance(pushed, bool) else None
        commits = list_at(value, "commits")
        total = int_at(value, "total_commits_count")
        return (
            Parsed(
                source=Source.GIT_PUSH,
                event_time=time,
                own_id=f"{repository}/{ref}/{before}/{after}/{pushed if time else ''}" if time else "",
                body=CodePushed(
                    user=user or text_at(value, "pusher", "login"),
                    repository=repository,
                    ref=ref,
                    before=before,
                    after=after,
                    change=_change(bool_at(value, "deleted"), bool_at(value, "created"), bool_at(value, "forced"), before, after),
                    commits=len(commits) if total is None else total,
                    files=tuple(_files([at(commit, kind) for kind in _KINDS] for commit in commits[:COMMITS_MAX])),
                ),
                unmapped=unmapped(value, _TAKEN),
            ),
        )


def _usual(push: _Push) -> Parsed:
    """What `parse` makes of it."""
    ref, before, after, home = push.ref, push.before, push.after, push.repository
    pushed = home.pushed_at
    time = None if pushed is None else checked_time(pushed * 1000)
    body = CodePushed(
        push.sender.login or push.pusher.name or push.pusher.login,
        home.full_name,
        ref,
        before,
        after,
        _change(push.deleted, push.created, push.forced, before, after),
        len(push.commits),
        tuple(_files((commit.added, commit.modified, commit.removed) for commit in push.commits[:COMMITS_MAX])),
    )
    own_id = f"{home.full_name}/{ref}/{before}/{after}/{pushed}" if time else ""
    return Parsed(Source.GIT_PUSH, body, time, "", own_id, passed(_PASSING, (push.base_ref, push.compare, push.compare_url)))


def _change(deleted: bool | None, created: bool | None, forced: bool | None, before: str, after: str) -> str:
    if deleted or (after and not after.strip("0")):
        return "deleted"
    if created or (before and not before.strip("0")):
        return "created"
    return "forced" if forced else "pushed"


_KINDS = "added", "modified", "removed"


def _files(commits: Iterable[Sequence[Any]]) -> Iterator[str]:
    """As many files as a field takes, each once, of the commits' lists by kind."""
    seen: set[str] = set()
    for kinds in commits:
        for found in kinds:
            for name in found if isinstance(found, list) else ():
                if isinstance(name, str) and name not in seen:
                    seen.add(name)
                    yield name[:255]
                    if len(seen) == LIST_MAX:
                        return


FORMAT = GitPush()
