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

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.errors import UnknownFormat
from pipeline.formats.fields import checked_time, unmapped
from pipeline.formats.json_event import LIST_MAX, at, bool_at, event_object, int_at, list_at, text_at
from pipeline.formats.line import Line, Reading
from pipeline.model.events import CodePushed, Parsed
from pipeline.model.source import Source

PROGRAMS = ("github", "gitlab", "gitea", "forgejo", "webhook")
COMMITS_MAX = 4096  # looked at for files
_TAKEN = frozenset({
    "ref", "before", "after", "created", "deleted", "forced", "commits", "head_commit", "repository", "project", "pusher", "sender",
    "user_username", "object_kind", "event_name", "total_commits_count", "organization", "secret",
})  # fmt: skip


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
                    change=_change(value, before, after),
                    commits=len(commits) if total is None else total,
                    files=tuple(_files(commits)),
                ),
                unmapped=unmapped(value, _TAKEN),
            ),
        )


def _change(value: dict[str, Any], before: str, after: str) -> str:
    if bool_at(value, "deleted") or (after and not after.strip("0")):
        return "deleted"
    if bool_at(value, "created") or (before and not before.strip("0")):
        return "created"
    return "forced" if bool_at(value, "forced") else "pushed"


def _files(commits: list[Any]) -> Iterator[str]:
    """As many files as a field takes, each once."""
    seen: set[str] = set()
    for commit in commits[:COMMITS_MAX]:
        for kind in ("added", "modified", "removed"):
            found = at(commit, kind)
            for name in found if isinstance(found, list) else ():
                if isinstance(name, str) and name not in seen:
                    seen.add(name)
                    yield name[:255]
                    if len(seen) == LIST_MAX:
                        return


FORMAT = GitPush()
