"""A checkpoint's path in; the folder in which its run keeps all of them, and its step, out; and of what is removed, what is told there.

A job that goes on from step 400 never mentions the checkpoint of step 500 that somebody deleted.  Both lie in one folder, so what is saved,
loaded and removed there is told under the folder as well, which is an artefact of its own:

    /ckpt/u017/run5/iter_0000500/mp_rank_00/model.pt    folder /ckpt/u017/run5/    step 500
    /ckpt/u017/run5/step400.pt                          folder /ckpt/u017/run5/    step 400
    /ckpt/u017/run5/latest                              folder /ckpt/u017/run5/    no step; any change of it is a removal

Holds: a path without a step belongs to no run, so that datasets and modules are told once, under their own names.
"""

import posixpath
import re

import msgspec

from pipeline.model.events import Event, FileTouched
from pipeline.model.ids import digest

REMOVED = "removed"  # deleted, renamed away, truncated, or no longer what is resumed from
_STEP = re.compile(r"(?:global_?step|iter(?:ation)?|step|checkpoint|ckpt|epoch)[-_=]?(\d{1,12})(?!\d)", re.IGNORECASE)
_LATEST = ("latest", "last.", "last_checkpoint")


def run_of(path: str) -> tuple[str, int | None]:
    """(folder with a slash at its end, step); ("", None) for a file of no run."""
    folder, slash, rest = "", "", path
    while True:
        part, slash, rest = rest.partition("/")
        if found := _STEP.match(part):
            return folder, int(found[1])
        if not slash:
            break
        folder += part + slash
    return (folder, None) if posixpath.basename(path).startswith(_LATEST) else ("", None)


def removal_of(event: Event) -> tuple[str, Event] | None:
    """(folder of the run, the same event with what is gone from there), or None.

    What the kernel shows to be the file owner's own removal is left out: a job deletes an old checkpoint with every save.
    """
    body = event.body
    if not isinstance(body, FileTouched) or not body.success or body.action == "attributes":
        return None
    gone = body.old_path if body.action == "renamed" and run_of(body.old_path)[0] else body.path
    folder, step = run_of(gone)
    if not folder or (step is not None and body.action not in ("deleted", "renamed", "truncated")):
        return None
    if step is not None and body.action == "renamed" and gone != body.old_path:
        return None  # something was put there: nothing is gone
    if body.file_uid is not None and body.uid == body.file_uid and body.auid in (None, body.file_uid):
        return None
    return folder, msgspec.structs.replace(event, body=msgspec.structs.replace(body, action=REMOVED, path=gone, old_path=""))


def in_folder(event_id: str) -> str:
    """Name of the fact that a folder is told of an event: a load of the file must not take the place of the same load in the folder."""
    return digest("folder", event_id)
