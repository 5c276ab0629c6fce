"""Writes as stores, watchers and repositories tell them in; the same as FileTouched out, so that a detector knows one kind.

    ObjectAccess   s3://bucket/key, or a path of HDFS         action as the store's format names it; reads and lists give nothing
    FileIntegrity  a watcher's path, with the bytes' hash     who did it only where the kernel's audit told the watcher
    KernelCall     a call that names a path and may write     only calls whose name says so: a policy may watch reads, too
    CodePushed     git://repository/path of each file         the pusher is who logged in

The event keeps its id, source and digest: it is the same evidence.  Of Lustre's changelog a root can match only where names were resolved
to paths before: the changelog itself names files by their folder's id.
"""

from collections.abc import Iterator

import msgspec

from pipeline.model.events import CodePushed, Event, FileIntegrity, FileTouched, KernelCall, ObjectAccess

CHANGED = frozenset({"written", "renamed", "deleted", "truncated", "attributes"})
PATHS_MAX = 16  # arguments of a call
FILES_MAX = 1_000  # of a push
# Names within functions of the kernel -> what they do to the path they name.
_CALLS = (
    ("unlink", "deleted"), ("rmdir", "deleted"), ("rename", "renamed"), ("truncate", "truncated"), ("write", "written"),
    ("create", "written"), ("mknod", "written"), ("link", "written"), ("chmod", "attributes"), ("chown", "attributes"),
    ("setattr", "attributes"), ("setxattr", "attributes"),
)  # fmt: skip
_PERMISSION = "security_file_permission"
_MAY_WRITE = 2 | 8  # MAY_WRITE, MAY_APPEND (linux/fs.h)


def touched_by(event: Event, roots: tuple[str, ...]) -> Iterator[Event]:
    """What the event says was touched below the roots, one event a file."""
    body = event.body
    if isinstance(body, ObjectAccess):
        if body.action in CHANGED and (body.path.startswith(roots) or body.old_path.startswith(roots)):
            yield _with(event, _of_access(body))
    elif isinstance(body, FileIntegrity):
        if body.action in CHANGED and body.path.startswith(roots):
            yield _with(event, _of_integrity(body))
    elif isinstance(body, KernelCall):
        yield from _of_call(event, body, roots)
    elif isinstance(body, CodePushed):
        for path in (f"git://{body.repository}/{name}" for name in body.files[:FILES_MAX]):
            if path.startswith(roots):
                touched = FileTouched(action="written", path=path, serial=0, success=True, user=body.user)
                yield _with(event, touched)


def _of_access(body: ObjectAccess) -> FileTouched:
    """Root is a name here: a store knows no logins, and root without one would be taken for the system itself."""
    uid, user = (None, body.user or "root") if body.uid == 0 else (body.uid, body.user)
    return FileTouched(
        action=body.action, path=body.path, old_path=body.old_path, serial=0, success=body.success is not False, uid=uid, user=user,
        address=body.address, comm=body.comm, job_label=body.job_label, self_named=body.self_named,
    )  # fmt: skip


def _of_integrity(body: FileIntegrity) -> FileTouched:
    return FileTouched(
        action=body.action, path=body.path, serial=0, success=True, pid=body.pid, uid=body.uid, auid=body.auid, exe=body.exe,
        user=body.user, sha256=body.sha256, sha256_before=body.sha256_before,
    )  # fmt: skip


def _of_call(event: Event, body: KernelCall, roots: tuple[str, ...]) -> Iterator[Event]:
    action = next((does for name, does in _CALLS if name in body.function), "")
    if body.function == _PERMISSION and any(each.isdigit() and int(each) & _MAY_WRITE for each in body.arguments if len(each) < 8):
        action = "written"
    paths = [path for path in body.arguments[:PATHS_MAX] if path.startswith(roots)]
    if not action or not paths:
        return
    old = paths[0] if action == "renamed" and len(paths) > 1 else ""
    touched = FileTouched(
        action=action, path=paths[-1], old_path=old, serial=0, success=True, pid=body.pid, uid=body.uid, auid=body.auid, exe=body.exe
    )
    yield _with(event, touched)


def _with(event: Event, body: FileTouched) -> Event:
    return msgspec.structs.replace(event, body=body)
