"""A line of the HDFS NameNode's audit log in; one ObjectAccess out.

    2026-03-02 19:40:41,161 INFO FSNamesystem.audit: allowed=true<TAB>ugi=u017 (auth:SIMPLE)<TAB>ip=/10.0.2.15<TAB>cmd=delete<TAB>
    src=/ckpt/step100<TAB>dst=null<TAB>perm=null<TAB>proto=rpc[<TAB>callerContext=..]

The fields come in one order.  A path and the caller's context are the client's, and nothing in them is escaped, so what stands before
`src=` is read from the left, and a line in which `dst=`, `perm=` or `proto=` occurs more than once is read to the shortest path and says
`ambiguous`.  Copies of logs lose their tabs: blanks are taken for them then.  A proxy (`u017 (auth:TOKEN) via hive/..`) acts for the user
named first.  Where the NameNode asks for no proof (`auth:SIMPLE`) a client calls itself as it likes (HADOOP_USER_NAME).  `rename` has the
old path as `src`; `null` is nothing.

Holds: linear time; time is local, milliseconds after a comma.  Verified on the 17 real lines of apache/eagle (tests, where present), all
with tabs.  Layout: org.apache.hadoop.hdfs.server.namenode.FSNamesystem, DefaultAuditLogger.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

from pipeline.errors import DecodeError, UnknownFormat
from pipeline.formats.choosing import DIGITS, TEXT
from pipeline.formats.fields import UNMAPPED_TEXT_LENGTH_MAX, iso_time, text_of
from pipeline.formats.json_event import TEXT_CHARACTERS_MAX
from pipeline.formats.line import Line, Reading
from pipeline.model.events import ObjectAccess, Parsed
from pipeline.model.source import Source

_MARK = "FSNamesystem.audit: "
_HEAD = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}(?:[,.][0-9]{1,9})?) [A-Z]{4,5} (?:[A-Za-z0-9_.$]{1,200}\.)?FSNamesystem\.audit: "
)
_FIRST = ("allowed", "ugi", "ip", "cmd", "src")
_LAST = ("dst", "perm", "proto")
_UNPROVED = "(auth:SIMPLE)"
_USER = re.compile(r"([^ /@(]{1,255})")
_ACTIONS = {
    "delete": "deleted", "rename": "renamed", "truncate": "truncated", "create": "written", "append": "written", "concat": "written",
    "mkdirs": "written", "createSymlink": "written", "open": "read", "getfileinfo": "read", "contentSummary": "read",
    "listStatus": "listed",
    "setPermission": "attributes", "setOwner": "attributes", "setTimes": "attributes", "setReplication": "attributes",
    "setAcl": "attributes", "modifyAclEntries": "attributes", "removeAcl": "attributes", "setXAttr": "attributes",
    "removeXAttr": "attributes", "setStoragePolicy": "attributes", "deleteSnapshot": "deleted", "createSnapshot": "written",
}  # fmt: skip


_TABS_ESCAPED = re.compile(r"allowed=(?:true|false)#011")  # as rsyslog passes tabs on; before anything that a user writes


class HdfsAudit:
    """Lines of FSNamesystem.audit."""

    name = "hdfs_audit"
    source = Source.HDFS_AUDIT
    programs = ("hdfs", "namenode", "hadoop")
    shape = DIGITS, rb"[0-9]{4}-.{14,24} INFO FSNamesystem\.audit: "
    first_bytes = TEXT

    def claims(self, payload: bytes) -> bool:
        """The logger's name near the start."""
        return payload.find(b"FSNamesystem.audit: ", 0, 300) >= 0

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """One access."""
        text = text_of(line.payload).removesuffix("\r")
        head = _HEAD.match(text)
        if head is None:
            raise UnknownFormat("no line of the NameNode's audit log")
        body = text[head.end() :]
        if _TABS_ESCAPED.match(body):
            body = body.replace("#011", "\t")
        fields, rest = _fields(body, "\t" if "\tsrc=" in body else " ")
        command, _, options = fields["cmd"].partition(" ")
        source, target = fields["src"], fields.get("dst", "")
        renamed = command == "rename" and target
        user = _USER.match(fields["ugi"])
        if options:
            rest["options"] = options
        return (
            Parsed(
                source=Source.HDFS_AUDIT,
                event_time=iso_time(head[1], reading),
                body=ObjectAccess(
                    action=_ACTIONS.get(command, "other"),
                    operation=command,
                    path=(target if renamed else source)[:TEXT_CHARACTERS_MAX],
                    old_path=source[:TEXT_CHARACTERS_MAX] if renamed else "",
                    user=user[1] if user else "",
                    address=fields["ip"].removeprefix("/"),
                    success=fields["allowed"] == "true",
                    self_named=_UNPROVED in fields["ugi"],
                ),
                unmapped={name: text[:UNMAPPED_TEXT_LENGTH_MAX] for name, text in rest.items()},
            ),
        )


def _fields(body: str, separator: str) -> tuple[dict[str, str], dict[str, str]]:
    """What has a place, and the rest.  Raises DecodeError when one of the first five is missing."""
    fields: dict[str, str] = {}
    before, mark, rest = body.partition("allowed=")
    if before or not mark:
        raise DecodeError("an audit line without its first field")
    for name, following in pairwise(_FIRST):
        fields[name], mark, rest = rest.partition(f"{separator}{following}=")
        if not mark:
            raise DecodeError(f"an audit line without {following}")
    passed = {"ugi": fields["ugi"]}
    tail = rest
    if any(rest.count(f"{separator}{name}=") > 1 for name in _LAST):
        passed["ambiguous"] = rest
    fields["src"], mark, rest = rest.partition(f"{separator}dst=")
    if not mark:
        passed["incomplete"] = tail
        return fields, passed
    target, _, rest = rest.partition(f"{separator}perm=")
    fields["dst"] = "" if target == "null" else target
    permission, _, rest = rest.partition(f"{separator}proto=")
    protocol, _, context = rest.partition(f"{separator}callerContext=")
    passed.update(
        (name, text) for name, text in (("perm", permission), ("proto", protocol), ("callerContext", context)) if text not in {"", "null"}
    )
    return fields, passed


FORMAT = HdfsAudit()
