"""What shippers say beside a line, each in words of their own, in; names, moments and files in one form out.

    moments    `2026-03-02T20:00:00.318+08:00`, seconds as a number, `"1772452800318000"` (journal), `"1772452800318000000"` (OTLP)
    pods       the metadata of Kubernetes, in four spellings; the path of the log file that the kubelet keeps for the container
    prefix     `<time> host program[pid]: message`, of a system log line that came in parts

A pod's file is named also where the shipper does not say it, so that settings which look for a job in a file name (`job_pattern`) fit
however the line came.  The prefix is put together so that one set of parsers reads system logs whether they came whole or in parts.

Holds: nothing here makes a line unreadable; a name too long or with control characters, and a time outside 2000 to 2100, count as absent.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.formats.envelopes.raw import NAME_BYTES_MAX, sane_time
from pipeline.formats.fields import zoned_time
from pipeline.formats.syslog import program_of

NUMBER_DIGITS_MAX = 20
# A number of seconds, milliseconds, microseconds or nanoseconds: between 2000 and 2100 these do not overlap.
_UNITS = ((1e11, 1000.0), (1e14, 1.0), (1e17, 1e-3), (1e20, 1e-6))

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO_START = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}"
_BSD_START = r"[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}"
_OWN_PREFIX = re.compile(rf" ?(?:<[0-9]{{1,3}}>|{_ISO_START}|{_BSD_START}|type=|node=|\{{|\[)")
_WRITTEN = re.compile(rf"(?:{_ISO_START}\S{{0,20}}|{_BSD_START})")
_WORD = re.compile(r"[^\s\[\]:]{1,255}")
_PID = re.compile(r"[0-9]{1,10}")
FROM_A_USER = "<13>"  # the priority user.notice, before what says it is the kernel and is not
KERNEL_FACILITY = frozenset({"kern", "kernel", "0"})


def text(value: object) -> str:
    """A name, or nothing."""
    if isinstance(value, str) and value != "-" and len(value) <= NAME_BYTES_MAX and value.isprintable():
        return value
    return ""


def first(*values: object) -> str:
    """The first that is a name."""
    for value in values:
        if value is not None and (found := text(value)):
            return found
    return ""


def nested(part: object, *path: str) -> str:
    """The name that stands at the path."""
    for key in path:
        if not isinstance(part, dict):
            return ""
        part = part.get(key)
    return text(part)


def moment(value: object) -> int | None:
    """UTC ms of a time that says its offset, or of a number since 1970 in any unit; None when it is neither."""
    if isinstance(value, str):
        if not value.isdigit() or not value.isascii() or len(value) > NUMBER_DIGITS_MAX:
            return zoned_time(value)
        value = int(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        for below, factor in _UNITS:
            if value < below:
                return sane_time(round(value * factor) if factor >= 1 else int(value * factor))
    return None


def iso(milliseconds: int) -> str:
    """A time as a system log writes it."""
    return (_EPOCH + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds")


_PODS, _LINKS = "/var/log/pods/", "/var/log/containers/"


# --- Kubernetes -----------------------------------------------------------------------------------------------------------------


def pod_file(namespace: str, pod: str, uid: str, container: str) -> str:
    """Where the kubelet keeps the container's output, but for the number of its restart; empty without a pod."""
    return f"{_PODS}{namespace}_{pod}_{uid}/{container}/" if pod and "/" not in f"{namespace}{pod}{uid}{container}" else ""


def own_file(said: str, pod: str) -> str:
    """The file that a shipper, or a line whose keys it merged, names beside a pod's, where it is one of the pod's; else the pod's."""
    if not said or said.startswith(pod):
        return said or pod
    of, _, container = pod.removeprefix(_PODS).rstrip("/").partition("/")
    namespace, name, _ = f"{of}__".split("_", 2)
    return said if said.startswith(f"{_LINKS}{name}_{namespace}_{container}-") else pod


def pod_of(said: Mapping[str, Any]) -> tuple[str, str]:
    """File and node of a pod, from metadata as Fluent Bit and Fluentd, Vector, or Filebeat write it."""
    namespace = first(said.get("namespace_name"), said.get("pod_namespace"), said.get("namespace"))
    pod = first(said.get("pod_name"), nested(said, "pod", "name"))
    uid = first(said.get("pod_id"), said.get("pod_uid"), nested(said, "pod", "uid"))
    container = first(said.get("container_name"), nested(said, "container", "name"))
    node = first(said.get("host"), said.get("pod_node_name"), nested(said, "node", "name"))
    return pod_file(namespace, pod, uid, container), node


# --- who wrote to the journal -----------------------------------------------------------------------------------------------------

PEOPLE_FROM = 1000  # the first uid of a person, on every distribution
_OF_DAEMONS = re.compile(
    r"sshd|sudo$|su$|login$|runuser$|systemd|cron|audi|laurel|falco|tetragon|osquery|wazuh|ossec|slurm|(?:ch)?passwd$|chage$"
    r"|(?:user|group)(?:add|del|mod)$|pam|r?syslog",
    re.IGNORECASE,
)
_SYSTEM_FOLDERS = ("/usr/", "/bin/", "/sbin/", "/lib", "/opt/")
_SET_UID = frozenset({"sudo", "su", "passwd", "chage"})
_UNDER_ANY_NAME = "systemd-cat"  # whose own name begins as one that it may be told to write under
_OF_A_SESSION = re.compile(
    r"Received disconnect from |Disconnected from |Connection (?:closed|reset) by |Starting session: |Close session: |Transferred: "
    r"|subsystem request for |Timeout, client "
)


def sender(program: str, uid: object, executable: object, message: str, transport: object) -> str:
    """The program under whose name a log daemon has a line, if who sent it may have that name; else a name that nobody believes.

    Anybody chooses his identifier (`logger -t sshd`), nobody his uid.  A person speaks for a daemon only through its own executable, by
    its whole name (`ssh -y` is not an sshd); of a process that is gone nobody knows it.  And as what he runs does what he likes
    (`LD_PRELOAD`) unless it runs as root, only for

        sudo, su, passwd, chage    what they log, and not what they print where the journal reads it (`systemd-cat -t sudo sudo -S -p ..`)
        sshd                       how a session of his went on and ended: in, he comes by root's word
        systemd                    what his own manager starts and stops
        slurmctld, slurmdbd        all: a site may run them as a user of its own

    Where people may make name spaces they can put a file of theirs in the place of sudo: then nothing here tells it.
    """
    number = str(uid) if isinstance(uid, str | int) else ""
    if not number.isascii() or not number.isdigit() or len(number) > NUMBER_DIGITS_MAX or int(number) < PEOPLE_FROM:
        return program
    if not _OF_DAEMONS.match(program):
        return program
    folder, _, name = text(executable).lower().rpartition("/")
    own = name.startswith(program.lower()) and name != _UNDER_ANY_NAME and f"{folder}/".startswith(_SYSTEM_FOLDERS)
    return program if own and _may_say(program, message.lstrip(" "), transport) else f"uid-{number}"


def _may_say(program: str, message: str, transport: object) -> bool:
    if program in _SET_UID:
        return transport != "stdout"
    if program.startswith("sshd"):
        return _OF_A_SESSION.match(message) is not None
    return program.startswith("slurm") or (program == "systemd" and not message.startswith("pam_"))


# --- the prefix of a system log line ----------------------------------------------------------------------------------------------


def composed(message: str, written: str, host: str, program: str, pid: object, *, tagged: bool = True) -> str:
    """The line whole again; the message alone where it has a prefix of its own, or where there is nothing to make one of.

    A prefix that names another program is a text of this one: `logger` sends whatever one likes, as the kernel of another host, too.
    Not so where the program is not a tag but what the shipper calls the source of the record in a header.
    """
    own = _OWN_PREFIX.match(message)
    if own is not None and not (program == "kernel" and own[0].endswith("[")):
        named = program_of(message.removeprefix(" ")).lower()
        if not (named and tagged) or named == program.lower().partition("(")[0]:
            return message
    if not (_WRITTEN.fullmatch(written) and _WORD.fullmatch(program)):
        return message
    before = f"{written} {host} {program}" if _WORD.fullmatch(host) else f"{written} {program}"
    number = str(pid) if isinstance(pid, str | int) else ""
    if _PID.fullmatch(number):
        before = f"{before}[{number}]"
    return f"{before}: {message.removeprefix(' ')}"
