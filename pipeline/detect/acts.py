"""An event on a host in; what kind of act it is, for detectors of hosts, out: on the telemetry, or on what the node gives.

    off     recording is switched off            auditctl -e 0, CONFIG_CHANGE audit_enabled=0
    rules   what is recorded is cut down         auditctl -D, -A never,exit ..., -r 1, CONFIG_CHANGE op=remove_rule, audit_backlog_limit=1
    stop    who records or ships is stopped      systemctl stop auditd, DAEMON_END by a login, a signal to it
    clock   what is recorded gets another time   date -s, timedatectl set-time
    clear   what was recorded is taken away      truncate -s 0 /var/log/..., cp /dev/null /var/log/..., rm ~/.bash_history
    slow    GPU clocks and power, queues of the network, control groups, priorities
    load    load on purpose: stress, fio

Only what succeeded is an act.  The kernel's own record of the change proves it; a command line only says that it was asked for.
"""

import posixpath
from collections.abc import Sequence
from itertools import pairwise

from pipeline.detect.subjects import HostCase
from pipeline.model import watched
from pipeline.model.events import AuditRecord, Event, PrivilegeUsed, ProcessRun, SessionCommand, SignalSent
from pipeline.model.ids import UNSET_UID
from pipeline.model.source import Source

LINE_CUT = 800  # characters of a command, from which on sudo's line may be cut
SAME_RUN_MS = 60_000  # between what two logs of one host say of a command
EXCLUDING = "5"  # list of an audit rule: what is recorded nowhere (AUDIT_FILTER_EXCLUDE)
YES = frozenset({"1", "yes", "success"})
STOPPING = frozenset({"stop", "disable", "mask", "kill", "freeze"})
AUDIT_DAEMONS = ("auditd", "auditbeat")
_LIMITS = ("audit_rate_limit", "audit_backlog_limit")  # records a second, and that may wait
WATCHERS = ("falco", "tetragon", "osquery", "wazuh", "dcgm", "slurmd", "kubelet", "chronyd", "ntpd", "timesyncd", "trainwatch")
# Changes of a node, or looks into its processes, that slow nobody down.
HARMLESS = frozenset({
    "py-spy", "nsenter", "pyrasite", "mount", "umount", "numactl", "reboot", "shutdown", "poweroff", "swapon", "prlimit",
})  # fmt: skip
_UNDOING = frozenset({
    "-rgc", "-rmc", "-rac", "--reset-gpu-clocks", "--reset-memory-clocks", "--reset-applications-clocks", "del", "delete", "flush",
})  # fmt: skip
_READING = frozenset({"-q", "--query", "-L", "list", "show", "status"})
# Whose words these are.  To other programs they may be anything: a comment, an alias, a process that does not exist.
_UNDOERS = frozenset({"nvidia-smi", "tc", "ip", "nft"})
_READERS = frozenset({"nvidia-smi", "rocm-smi", "dcgmi", "tc", "ip", "systemctl", "service", "rc-service"})
# What sets something all the same, whatever stands beside it: one command may lock a clock and reset another.
_SETTING = (
    "-lgc", "-lmc", "-pl", "-ac", "--lock-gpu-clocks", "--lock-memory-clocks", "--applications-clocks", "--power-limit", "--set",
)  # fmt: skip
_MEMORY = (
    "memory.max", "memory.high", "memory.swap.max", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes",
    "MemoryMax=", "MemoryHigh=", "MemoryLimit=", "MemorySwapMax=",
)  # fmt: skip
_ADDING = frozenset({"add", "change", "replace", "insert", "set"})


def words_of(event: Event) -> tuple[str, ...]:
    """The words of a command, whoever tells of it; empty for what is none, or failed."""
    body = event.body
    if isinstance(body, ProcessRun):
        return body.arguments if body.success else ()
    if isinstance(body, PrivilegeUsed):
        return () if body.refused else watched.split(body.command)
    if isinstance(body, SessionCommand):
        return watched.split(body.command)
    return ()


def on_telemetry(event: Event) -> str:
    """off | rules | stop | clear | clock; empty: no such act."""
    if isinstance(event.body, AuditRecord):
        return _recorded(event.body)
    if isinstance(event.body, SignalSent):
        return "stop" if watched.ends_teller(event.body) else ""
    given = words_of(event)
    if not given or watched.command(given) != "telemetry":
        return ""
    words = watched.bare(given)
    text = [posixpath.basename(word) for word in words]
    if "auditctl" in text:
        return _auditctl(words)
    if {"systemctl", "service", "rc-service"} & set(text):
        return "stop" if STOPPING & set(text) else ""
    if {"pkill", "killall", "kill"} & set(text):
        return "stop"
    if watched.sets_clock(words):
        return "clock"
    clears = any(map(watched.is_record, watched.emptied(given))) or any(word.startswith("--vacuum") for word in text)
    return "clear" if clears and text[0] != "logrotate" else ""


def recorded_by_kernel(event: Event) -> bool:
    """Does the audit system itself say that the change took effect?"""
    return isinstance(event.body, AuditRecord)


def silences(event: Event) -> tuple[Source, ...]:
    """The sources on the host that fall silent by the act; empty where that cannot be known."""
    if isinstance(event.body, AuditRecord):
        return (Source.AUDITD,)
    if on_telemetry(event) == "clock":
        return ()
    text = event.body.target_comm if isinstance(event.body, SignalSent) else " ".join(words_of(event))
    if "auditctl" in text or any(name in text for name in AUDIT_DAEMONS):
        return (Source.AUDITD,)
    return () if any(name in text for name in WATCHERS) else (Source.AUDITD, Source.SSHD, Source.KERNEL)


def puts_back(event: Event) -> bool:
    """Is recording switched on again, or begun again?  What starts another service is none of it."""
    body = event.body
    if isinstance(body, AuditRecord):
        if body.record_type == "DAEMON_START":
            return True
        operation = body.fields.get("op", "").strip('"')
        adds = operation in ("add_rule", "add rule") and body.fields.get("list") != EXCLUDING
        raises = any(_is_less(body.fields.get("old", ""), body.fields[each]) for each in _LIMITS if each in body.fields)
        return body.record_type == "CONFIG_CHANGE" and (body.fields.get("audit_enabled") in ("1", "2") or adds or raises)
    words = {posixpath.basename(word) for word in words_of(event)}
    tells = any(
        name in word for word in words for name in (*AUDIT_DAEMONS, *WATCHERS, "syslog", "journald", "filebeat", "vector", "fluent")
    )
    starts = bool(words & {"start", "restart", "enable", "thaw"} and words & {"systemctl", "service"} and tells)
    return starts or {"auditctl", "-R"} <= words or "augenrules" in words


def on_node(event: Event) -> str:
    """slow | load; empty: no such act."""
    words = words_of(event)
    kind = watched.command(words) if words else ""
    if kind != "node":
        return kind if kind == "load" else ""
    if watched.turns_knob(words):
        return "slow"  # whatever the same line says or does beside it
    reads = named(event) in _READERS and _READING & set(words) and not _sets(words)
    return "slow" if not reads and named(event) not in HARMLESS else ""


def limits_memory(event: Event) -> bool:
    """Does a command set how much memory a job, or a service, may take?"""
    words = words_of(event)
    text = " ".join(words)  # first, since hardly any command speaks of it and verdicts ask of all that befell a job's nodes
    return any(each in text for each in _MEMORY) and watched.command(words) == "node"


def only_logged(case: HostCase, event: Event) -> bool:
    """Does a line of the system log alone say that somebody ran the command by sudo?

    Sudo tells the kernel's audit, too (USER_CMD); the line of the log is what `logger` writes for anybody, in anybody's name.
    """
    if not isinstance(event.body, PrivilegeUsed):
        return False
    who, line = case.actor(event), _plain(words_of(event))
    near = case.between(event.event_time - SAME_RUN_MS, event.event_time + SAME_RUN_MS)
    return not any(_is_same(line, _run_by_login(other)) and case.actor(other) == who for other in near if not other.unproven)


def _run_by_login(event: Event) -> Sequence[str]:
    """A command that the kernel's audit, or a watcher, tells with its login: without one it may be told in anybody's name."""
    body = event.body
    if isinstance(body, AuditRecord):
        return watched.split(watched.given_to_sudo(body)) if body.fields.get("auid") not in (None, str(UNSET_UID)) else ()
    return words_of(event) if isinstance(body, ProcessRun) and body.auid is not None else ()


def _plain(words: Sequence[str]) -> str:
    """As it was typed, with or without the folder of the program."""
    return " ".join([posixpath.basename(words[0]), *words[1:]]) if words else ""


def _is_same(line: str, ran: Sequence[str]) -> bool:
    """Sudo cuts what is too long for the system log (`syslog_maxlen`, sudoers(5))."""
    told = _plain(ran)
    return bool(told) and (told == line or (len(line) >= LINE_CUT and told.startswith(line)))


def _sets(words: Sequence[str]) -> bool:
    return any(word.startswith(_SETTING) for word in words) or bool(_ADDING & set(words))


def undoes(event: Event) -> bool:
    """Does the command take back what slows: clocks and queues reset, persistence on, swap off?  Whoever repairs a node slows nobody."""
    words, name = watched.bare(words_of(event)), named(event)
    if _sets(words) or watched.turns_knob(words_of(event)):
        return False
    resets = bool(_UNDOING & set(words)) or ("-pm", "1") in pairwise(words)
    return (resets and name in _UNDOERS) or name == "swapoff"


def named(event: Event) -> str:
    """The program, for a summary."""
    if isinstance(event.body, AuditRecord):
        return event.body.record_type
    if isinstance(event.body, SignalSent):
        return "a signal"
    words = watched.bare(words_of(event))  # a word of `sudo -u u050 ...`, or of a path, may name somebody
    return posixpath.basename(words[0]) if words else "a command"


def _recorded(body: AuditRecord) -> str:
    fields = body.fields
    if fields.get("res", fields.get("result", "yes")).strip("'\"") not in YES:
        return ""
    if body.record_type == "DAEMON_END":
        return "stop"
    if body.record_type != "CONFIG_CHANGE":
        return ""
    if fields.get("audit_enabled") == "0" and fields.get("old") != "0":
        return "off"
    operation = fields.get("op", "").strip('"')
    excludes = operation in ("add_rule", "add rule") and fields.get("list") == EXCLUDING
    limits = any(_is_less(fields.get(each, "0"), fields.get("old", "")) for each in _LIMITS)
    return "rules" if excludes or limits or operation in ("remove_rule", "remove rule") else ""


def _is_less(now: str, before: str) -> bool:
    """Of limits, 0 being none."""
    if not (now.isdecimal() and before.isdecimal()) or int(now) == 0:
        return False
    return int(before) == 0 or int(now) < int(before)


def _auditctl(words: Sequence[str]) -> str:
    words = watched.options_apart(words)
    if ("-e", "0") in pairwise(words):
        return "off"
    leaves_out = any(option in ("-a", "-A") and ("never" in rule or "exclude" in rule) for option, rule in pairwise(words))
    limits = any(option == "-r" and rate != "0" for option, rate in pairwise(words))
    return "rules" if leaves_out or limits or {"-D", "-d", "-W"} & set(words) else ""
