"""A record of a Lustre changelog in, as `lfs changelog` prints it; one ObjectAccess out.

    135 06UNLNK 19:40:41.123456789 2026.03.02 0x1 t=[0x200000402:0x2:0x0] j=python3.5012 ef=0xf u=5012:5000 nid=10.0.1.3@tcp
    p=[0x200000401:0x5:0x0] step100.pt
    16 08RENME .. t=[0:0x0:0x0] ef=0xf u=1000:1000 nid=10.0.1.3@tcp p=[..] new.pt s=[0x200000401:0x3:0x0] sp=[..] old.pt

The only source that sees what any client of the file system does, whatever node it came from.  It names files by FID and a name within a
parent's FID, not by path: `path` is `[parent]/name`, or the target's FID where the record has no name.  Who and where from need the
changelog mask's extended fields (`ef=`).  One stream exists per metadata target, and numbers of records are only unique within it: they
are the own id together with the time in nanoseconds.

The job label (`j=`) is taken from an environment variable of the client or is its process' name, and a name is whatever a user called a
file: both may hold blanks, and imitate fields.  A label has at most LABEL_CHARACTERS_MAX, so it ends at the last ` ef=` within them, which
no name reaches; where a name could, because a ` p=[` stands before it, nobody is named (`ambiguous`).  The record of a rename is cut at
its last ` s=[..] sp=[..] `.

Holds: linear time; times are UTC (the tool prints gmtime).  Not verified on real lines: no sample exists here.
Layout: github.com/lustre/lustre-release lustre/utils/lfs.c (lfs_changelog), https://doc.lustre.org/lustre_manual.xhtml (changelogs)
"""

import re
from collections.abc import Sequence

from pipeline.errors import SchemaMismatch, UnknownFormat
from pipeline.formats.choosing import DIGITS, TEXT
from pipeline.formats.fields import text_of, utc_time
from pipeline.formats.json_event import TEXT_CHARACTERS_MAX, UID_MAX
from pipeline.formats.line import Line, Reading
from pipeline.model.events import ObjectAccess, Parsed
from pipeline.model.source import Source

_MARK = re.compile(rb"(?:\S{1,64} )?[0-9]{1,20} [0-9]{2}[A-Z]{4,5} {1,2}[0-9]{2}:")
_FID = r"\[0?x?[0-9a-fA-F]{1,16}:0x[0-9a-fA-F]{1,8}:0x[0-9a-fA-F]{1,8}\]"
_HEAD = re.compile(
    r"(?:(\S{1,64}) )?([0-9]{1,20}) [0-9]{2}([A-Z]{4,5}) {1,2}([0-9:]{8})(\.[0-9]{1,9})? ([0-9]{4})\.([0-9]{2})\.([0-9]{2}) "
    rf"0x[0-9a-f]{{1,8}} t=({_FID})"
)
LABEL_CHARACTERS_MAX = 31
# In the order in which the tool prints them; each may be missing.
_EXTENDED = re.compile(
    r"(?: ef=0x[0-9a-f]{1,16})?(?: u=([0-9]{1,20}):([0-9]{1,20}))?(?: nid=(\S{1,128}))?(?: m=([-rwx]{3}))?(?: x=(\S{1,256}))?"
)
_NAME = re.compile(rf" p=({_FID}) ?")
_OLD_NAME = re.compile(rf" s=({_FID})(?: sp=({_FID}))? ?")
_ACTIONS = {
    "CREAT": "written", "MKDIR": "written", "HLINK": "written", "SLINK": "written", "MKNOD": "written", "UNLNK": "deleted",
    "RMDIR": "deleted", "RENME": "renamed", "RNMTO": "renamed", "TRUNC": "truncated", "SATTR": "attributes", "XATTR": "attributes",
    "MTIME": "written", "CTIME": "attributes", "ATIME": "read", "CLOSE": "written", "LYOUT": "written", "HSM": "other",
}  # fmt: skip


class LustreChangelog:
    """Records as `lfs changelog` prints them, also after the target's name."""

    name = "lustre_changelog"
    source = Source.LUSTRE_CHANGELOG
    programs = ("lustre", "changelog", "lfs")
    shape = DIGITS, rb"[0-9]{1,20} [0-9]{2}(?:CREAT|MKDIR|UNLNK|RMDIR|RENME|CLOSE|TRUNC|SATTR|MTIME) "
    first_bytes = TEXT

    def claims(self, payload: bytes) -> bool:
        """A number, a numbered type and a time."""
        return _MARK.match(payload) is not None

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:  # noqa: ARG002 - the tool prints UTC
        """One record."""
        text = text_of(line.payload)
        head = _HEAD.match(text)
        if head is None:
            raise UnknownFormat("no record of a changelog")
        target, number, kind, clock, fraction, year, month, day, fid = head.groups()
        label, end, ambiguous = _label(text, head.end())
        extended = _EXTENDED.match(text, end)
        uid, gid, address, mode, attribute = extended.groups() if extended else (None,) * 5
        path, old_path = _paths(text[extended.end() if extended else end :], kind, fid)
        if ambiguous:
            uid = gid = address = None
        if uid is not None and int(uid) > UID_MAX:
            raise SchemaMismatch("no such user id")
        rest = {"target": target, "gid": gid, "mode": mode, "attribute": attribute, "fid": fid, "ambiguous": ambiguous}
        return (
            Parsed(
                source=Source.LUSTRE_CHANGELOG,
                event_time=utc_time(f"{year}-{month}-{day}T{clock}{fraction or ''}"),
                own_id=f"{target or ''}/{number}/{year}{month}{day}T{clock}{fraction or ''}",
                body=ObjectAccess(
                    action=("written" if mode and "w" in mode else "read") if kind == "OPEN" else _ACTIONS.get(kind, "other"),
                    operation=kind,
                    path=path,
                    old_path=old_path,
                    uid=None if uid is None else int(uid),
                    address=(address or "").partition("@")[0],
                    success=True,  # only what happened is told
                    job_label=label,
                ),
                unmapped={name: text for name, text in rest.items() if text},
            ),
        )


def _label(text: str, start: int) -> tuple[str, int, str]:
    """The job's label, where it ends, and what is doubtful of the fields after it."""
    if not text.startswith(" j=", start):
        return "", start, ""
    start += 3
    room = start + LABEL_CHARACTERS_MAX
    end = text.rfind(" ef=0x", start, room + 6)
    if end < 0:
        name = text.rfind(" p=[", start, room + 4)
        end = name if name >= 0 else min(room, len(text))
        return text[start:end], end, ""
    return text[start:end], end, "label" if _NAME.search(text, start, end) else ""


def _paths(text: str, kind: str, fid: str) -> tuple[str, str]:
    """(the file, its old place): a parent's FID and a name, or the FID alone."""
    parent = _NAME.match(text)
    if parent is None:
        return fid, ""
    name, old = text[parent.end() :], ""
    if kind in {"RENME", "RNMTO"} and (cut := name.rfind(" s=[")) >= 0 and (found := _OLD_NAME.match(name, cut)):
        old_name = name[found.end() :]
        old = f"{found[2] or found[1]}/{old_name}" if old_name else found[1]
        name = name[:cut]
    return (f"{parent[1]}/{name}" if name else fid)[:TEXT_CHARACTERS_MAX], old[:TEXT_CHARACTERS_MAX]


FORMAT = LustreChangelog()
