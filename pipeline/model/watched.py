"""Which commands, files and records of a host concern others than who made them: what may slow, blind or open a node.

In: the arguments of a command, a path, an audit record.  Out: why it is told to the host's stage, in one word, or nothing.  Most of what
runs on a node concerns nobody, and a monitor asks `nvidia-smi` every few seconds: a command is told when it changes something.

    telemetry   silences or rewrites what would tell: auditctl, stopping a shipper, setting the clock, clearing a log
    node        changes what a node gives: GPU clocks and power, network queues, control groups, priorities of others' processes
    load        makes load on purpose: stress, fio, gpu_burn
    signal      ends processes by name, or jobs (from sudo and bastions; the kernel's own record of signals is better)
    key         who may log in, and what runs before anybody's own code
"""

import posixpath
import re
import shlex
from collections.abc import Sequence
from itertools import pairwise

from pipeline.model.events import AuditRecord, SignalSent

ARGUMENTS_MAX = 64
COMMAND_CHARACTERS_MAX = 4096
JOBS_MAX = 1_000
_PREFIXES = frozenset({"sudo", "env", "nohup", "nice", "setsid", "doas", "time"})
SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "csh", "tcsh", "fish"})
# What a job starts to let somebody in, or to end others: ordinary training does not, and a flood of what it does start must not hide it.
OPENERS = SHELLS | {
    "ssh", "scp", "sftp", "nc", "ncat", "netcat", "socat", "telnet", "curl", "wget", "perl", "ruby", "php", "openssl", "crontab", "at",
    "nohup", "setsid", "kill", "pkill", "killall", "scancel", "sudo", "su", "base64", "ssh-keygen", "systemctl",
}  # fmt: skip
_VALUED = frozenset({"-u", "-g", "-C", "-p"})  # options of prefixes that a value follows
_TELLERS = (
    "auditd", "rsyslog", "syslog-ng", "journald", "filebeat", "auditbeat", "fluent", "vector", "falco", "tetragon", "osquery", "wazuh",
    "otelcol", "dcgm", "slurmd", "kubelet", "chronyd", "ntpd", "systemd-timesyncd", "trainwatch",
    "systemd-journal", "systemd-timesyn",  # as the kernel knows them: by 15 characters
)  # fmt: skip
_LOGS = ("/var/log", "/etc/audit", ".bash_history", "/run/log")
# Command -> words of which one must be there; no words: always.
_NODE: dict[str, tuple[str, ...]] = {
    "nvidia-smi": (
        "-lgc", "-rgc", "-lmc", "-rmc", "-pl", "-pm", "-ac", "-rac", "-r", "-e", "-c", "-mig", "-am", "--lock-gpu-clocks",
        "--reset-gpu-clocks", "--lock-memory-clocks", "--reset-memory-clocks", "--power-limit", "--persistence-mode", "--gpu-reset",
        "--applications-clocks", "--compute-mode", "--ecc-config", "--multi-instance-gpu", "drain", "boost-slider",
    ),
    "rocm-smi": ("--setpoweroverdrive", "--setsclk", "--setmclk", "--setperflevel", "--gpureset", "--setclk"),
    "dcgmi": ("--set", "policy"),
    "tc": ("add", "change", "replace", "del", "delete"),
    "ip": ("set", "add", "del", "delete", "flush"),
    "ifconfig": ("down", "mtu"),
    "ethtool": ("-s", "-K", "-G", "-C", "-A", "--change", "--features", "--set-ring"),
    "iptables": ("-A", "-I", "-D", "-F", "-P"), "ip6tables": ("-A", "-I", "-D", "-F", "-P"), "nft": ("add", "insert", "delete", "flush"),
    "mlnx_qos": (), "ibportstate": ("disable", "reset", "speed", "width"), "cpupower": ("frequency-set", "idle-set", "set"),
    "cgset": (), "cgcreate": (), "cgclassify": (), "cgdelete": (), "renice": (), "ionice": ("-p", "-P", "-u"), "chrt": ("-p",),
    "taskset": ("-p", "-cp", "-pc", "-ap", "-apc", "-acp"), "prlimit": ("--pid", "-p"), "cpulimit": (), "wrmsr": (), "setpci": (),
    "sysctl": ("-w", "--write"), "mount": (), "umount": (), "swapoff": (), "swapon": (), "reboot": (), "shutdown": (), "poweroff": (),
    "numactl": (), "gdb": ("-p", "--pid", "attach"), "strace": ("-p", "--attach"), "py-spy": (), "pyrasite": (), "nsenter": (),
}  # fmt: skip
_LOAD = frozenset({"stress", "stress-ng", "fio", "gpu_burn", "gpu-burn", "iperf", "iperf3", "ib_write_bw", "ib_read_bw", "mprime"})
_TELEMETRY: dict[str, tuple[str, ...]] = {
    "auditctl": ("-e", "-D", "-d", "-w", "-a", "-A", "-W", "-b", "-r", "-f", "-R", "--reset-lost", "--signal"),
    "augenrules": (), "hwclock": ("-w", "-s", "--set", "--systohc", "--hctosys"),
    "timedatectl": ("set-time", "set-ntp", "set-timezone"), "chronyc": ("makestep", "settime", "offline", "manual"), "ntpdate": (),
    "ntpd": ("-g", "-gq", "-q"), "journalctl": ("--rotate", "--relinquish-var"), "dmesg": ("-c", "-C", "-n", "-D"), "chattr": (),
    "setenforce": (), "bpftool": ("detach",),
}  # fmt: skip
_SET_OPTION = re.compile(r"-[uR]*s|--s(?:et?)?(?:=|$)")  # of date, which takes beginnings of options, too; `-Is` only writes
_MOMENT = re.compile(r"[0-9]{8}(?:[0-9]{2}){0,2}(?:\.[0-9]{2})?")  # MMDDhhmm[[CC]YY][.ss], which date sets the clock to
_OF_A_READ = frozenset({"-d", "--date", "-f", "--file", "-r", "--reference"})
_OFF = frozenset({"no", "false", "off", "0", "n", "f"})
_AUDITCTL_FLAGS = frozenset("hicslDvt")  # options without a value
_KNOBS = ("/sys/fs/cgroup/", "/sys/devices/", "/sys/bus/pci/", "/sys/class/net/", "/sys/block/", "/proc/sys/", "/proc/irq/")
_SERVICE = frozenset({"stop", "disable", "mask", "kill", "freeze", "thaw", "restart", "reload", "set-property"})
_ENDING = frozenset({"kill", "pkill", "killall", "skill", "scancel", "scontrol", "bkill", "qdel", "kubectl"})
_HOLDING = frozenset({"hold", "uhold", "holdu", "release"})  # updates, too
# By which a scheduler, or a cluster, is asked to end or change something; none: whatever it is given.
_ASKING = {
    "scancel": frozenset[str](), "bkill": frozenset[str](), "qdel": frozenset[str](),
    "scontrol": _HOLDING | {"update", "requeue", "requeuehold", "suspend", "resume"},
    "kubectl": frozenset({"delete", "patch", "replace", "apply", "edit", "scale", "create"}),
}  # fmt: skip
_CLEARING = frozenset({"rm", "truncate", "shred", "unlink", "logrotate", "mv", "tee", "sed", "wevtutil"})
_OVERWRITING = frozenset({"cp", "install", "ln"})  # what they name last
_REDIRECTED = re.compile(r"(?<!>)>(?!>)[|&]?\s*([^\s;|&<>]+)")
# What our sources are read from, and who was logged in; other logs are tidied away every day.
_RECORDS = (
    "/var/log/audit", "/var/log/auth", "/var/log/btmp", "/var/log/faillog", "/var/log/journal", "/var/log/kern", "/var/log/lastlog",
    "/var/log/messages", "/var/log/secure", "/var/log/slurm", "/var/log/syslog",
    "/var/log/trainwatch", "/var/log/wtmp", "/run/log/journal", "/etc/audit",
)  # fmt: skip
_ALL_RECORDS = frozenset({"/var/log", "/var/log/", "/var/log/*", "/run/log", "/run/log/"})
SYSTEM_UIDS = range(1_000)  # a process that somebody else called `auditd` tells nothing
_HARMLESS_SIGNALS = frozenset({0, 1, 10, 12, 17, 18, 23, 28})  # HUP and USR: reload, rotate, resume
# By KILL alone Slurm's controller makes a running job CANCELLED; any other signal that scancel knows it hands on to the job's processes,
# and how they exit decides (slurmctld/job_mgr.c, job_signal; common/proc_args.c): such are sent for a checkpoint (scancel(1)).
_OF_A_CANCEL = re.compile(r"--sig(?:n|na|nal)?(?:=(.*))?|-[bCfHiQv]*s(.*)", re.DOTALL)
_CANCELS_NOTHING = frozenset({
    *(str(signal) for signal in range(65) if signal != 9), "HUP", "INT", "QUIT", "ABRT", "ALRM", "TERM", "CHLD", "USR1", "USR2", "PIPE",
    "URG", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "XCPU",
})  # fmt: skip

_JOB_ID = re.compile(r"job(?:i|id)?(?:=(.*))?", re.IGNORECASE | re.DOTALL)
_TASKS = re.compile(r"\[[^]]*\]")  # of an array: 7_[1,3]

_ANY = frozenset({
    *_NODE, *_TELEMETRY, *_LOAD, *_ENDING, *_CLEARING, *_OVERWRITING, *_PREFIXES, *SHELLS,
    "date", "dd", "systemctl", "service", "rc-service",
})  # fmt: skip

# Records by which the audit system tells of itself, and of the clock (audit.h).
AUDIT_RECORDS = frozenset({
    "CONFIG_CHANGE", "DAEMON_START", "DAEMON_END", "DAEMON_ABORT", "DAEMON_CONFIG", "DAEMON_ROTATE", "DAEMON_RESUME", "DAEMON_ACCEPT",
    "DAEMON_CLOSE", "DAEMON_ERR", "TIME_INJOFFSET", "TIME_ADJNTPVAL", "KERNEL", "SYSTEM_BOOT", "SYSTEM_SHUTDOWN", "FEATURE_CHANGE",
    "MAC_STATUS", "REPLACE", "AVC_PATH",
})  # fmt: skip
_KERNEL_LINES = ("audit:", "audit_", "Linux version ", "kauditd", "perf: interrupt", "clocksource:", "CPU", "mce:")
_KERNEL_WORDS = (
    "backlog limit",
    "audit_lost",
    "rate limit exceeded",
    "Linux version",
    "throttled",
    "clocksource",
    "enabled=",
    "audit_enabled",
)
_KEY_PATHS = (
    "/etc/ld.so.preload", "/etc/ld.so.conf", "/etc/profile", "/etc/bash.bashrc", "/etc/environment", "/etc/sudoers", "/etc/passwd",
    "/etc/shadow", "/etc/ssh/", "/etc/pam.d/", "/etc/cron", "/etc/systemd/system/", "/etc/slurm/", "/etc/kubernetes/",
)  # fmt: skip
_TELEMETRY_PATHS = (
    "/etc/audit",
    "/etc/rsyslog",
    "/etc/chrony",
    "/etc/filebeat",
    "/etc/falco",
    "/etc/vector",
    "/etc/osquery",
    "/var/ossec/etc",
)
_KEY_NAMES = ("/authorized_keys", "/authorized_keys2", "/.bashrc", "/.bash_profile", "/.profile", "/.zshrc", "/.ssh/config", "/.ssh/rc")


def command(arguments: Sequence[str]) -> str:
    """Why the command is told: telemetry | node | load; empty: it is not."""
    if not arguments or arguments[0].rpartition("/")[2] not in _ANY:
        return ""  # nearly all
    if turns_knob(arguments):
        return "node"
    words = bare(arguments)
    if not words:
        return ""
    name, rest = posixpath.basename(words[0]), words[1:ARGUMENTS_MAX]
    if name == "auditctl":
        rest = options_apart(rest)
    if sets_clock(words):
        return "telemetry"
    if (wanted := _NODE.get(name)) is not None:
        return "node" if not wanted or _has(rest, wanted) else ""
    if (wanted := _TELEMETRY.get(name)) is not None:
        clears = name == "journalctl" and any(word.startswith("--vacuum") for word in rest)
        return "telemetry" if not wanted or clears or _has(rest, wanted) else ""
    if name in _LOAD:
        return "load"
    if name in ("systemctl", "service", "rc-service"):
        return ("telemetry" if _names_teller(rest) else "node" if "set-property" in rest else "") if _SERVICE & set(rest) else ""
    if name in ("pkill", "killall", "kill") and _names_teller(rest):
        return "telemetry"
    if name in _CLEARING and any(each in word for word in rest for each in _LOGS):
        return "telemetry"
    return "telemetry" if any(map(is_record, emptied(arguments))) else ""


def sets_clock(words: Sequence[str]) -> bool:
    """Does the command, without what stands before it, set the host's clock, or cut it off from the others'?"""
    name, rest = posixpath.basename(words[0]) if words else "", words[1:ARGUMENTS_MAX]
    if name == "date":
        return any(
            _SET_OPTION.match(word) or (_MOMENT.fullmatch(word) and before not in _OF_A_READ) for before, word in pairwise(("", *rest))
        )
    if name == "timedatectl":
        return "set-time" in rest or ("set-ntp" in rest and bool(_OFF & set(rest)))
    return ("settime" in rest) if name == "chronyc" else name == "hwclock" and bool({"-s", "--hctosys"} & set(rest))


def emptied(arguments: Sequence[str]) -> Sequence[str]:
    """What a command takes away, or writes over: by `rm`, `mv`, `cp /dev/null`, `dd of=`, or a shell's `>`."""
    words = bare(arguments)
    name, rest = posixpath.basename(words[0]) if words else "", words[1:ARGUMENTS_MAX]
    found: Sequence[str] = ()
    if name in _OVERWRITING:
        found = rest[-1:]
    elif name == "dd":
        found = [word.removeprefix("of=") for word in rest if word.startswith("of=")]
    elif name in _CLEARING and (name != "sed" or any(word.startswith(("-i", "--in-place")) for word in rest)):
        found = rest if name != "logrotate" else ()
    shell = any(posixpath.basename(word) in SHELLS for word in arguments[: len(arguments) - 1][:ARGUMENTS_MAX])
    return [*found, *(_REDIRECTED.findall(" ".join(words)) if shell else ())]


def is_record(name: str) -> bool:
    """Is a file, or holds it, what tells who did what on the host?"""
    if "/." in name or "//" in name:
        name = posixpath.normpath(name)
        name = f"/{name.lstrip('/')}" if name.startswith("/") else name  # POSIX lets two slashes at the beginning stand
    return name in _ALL_RECORDS or name.startswith(_RECORDS) or name.endswith(".bash_history")


def ends_teller(sent: SignalSent) -> bool:
    """Does the signal end, or stop, who records or ships what happens on the host: `kill -9 812`, where 812 is auditd?"""
    to_system = sent.target_uid is not None and sent.target_uid in SYSTEM_UIDS
    return sent.success and to_system and sent.signal not in _HARMLESS_SIGNALS and _names_teller((sent.target_comm,))


def privileged(text: str) -> str:
    """The same of a command line as sudo or a bastion tells it, where signals count too."""
    arguments = split(text)
    found = command(arguments)
    if found:
        return found
    words = bare(arguments)
    return "signal" if words and posixpath.basename(words[0]) in _ENDING else ""


def split(text: str) -> tuple[str, ...]:
    """A command line's words; where its quotes do not close, what blanks divide."""
    text = text[:COMMAND_CHARACTERS_MAX]
    try:
        return tuple(shlex.split(text)) if '"' in text or "'" in text or "\\" in text else tuple(text.split())
    except ValueError:
        return tuple(text.split())


def path(name: str) -> str:
    """Why a change of the file is told: key | telemetry; empty: it is not."""
    if name.startswith(_TELEMETRY_PATHS):
        return "telemetry"
    return "key" if name.startswith(_KEY_PATHS) or name.endswith(_KEY_NAMES) else ""


def audit(record: AuditRecord) -> bool:
    """Does the record tell of the audit system, the clock, the system's start, or of such a command that sudo ran?"""
    kind = record.record_type
    return kind in AUDIT_RECORDS or (kind == "USER_CMD" and bool(privileged(given_to_sudo(record))))


def given_to_sudo(record: AuditRecord) -> str:
    """The command of which sudo told the kernel's audit, beside its line in the system log; empty: none, or it was refused.

    Only the former needs a right of root's to be written (CAP_AUDIT_WRITE, capabilities(7)).
    """
    done = record.record_type == "USER_CMD" and "success" in (record.fields.get("result"), record.fields.get("res"))
    return record.fields.get("cmd", "") if done else ""


def kernel_line(text: str) -> bool:
    """Does the line tell that something was lost, or of a start, the clock or a throttled machine?"""
    return text.startswith(_KERNEL_LINES) and any(word in text for word in _KERNEL_WORDS)


def jobs_cancelled(arguments: Sequence[str]) -> tuple[str, ...]:
    """Job ids that a `scancel` command names."""
    if not arguments or posixpath.basename(arguments[0]) != "scancel":
        return ()
    ids = (argument.split(".")[0].split("_")[0] for argument in arguments[1:JOBS_MAX])
    return tuple(dict.fromkeys(job for job in ids if job.isascii() and job.isdigit() and len(job) <= 20))


def jobs_updated(arguments: Sequence[str]) -> tuple[str, ...]:
    """Job ids that a `scontrol` command changes: `update JobId=7,8_1 TimeLimit=5`, `update job 7 ...`, `hold 7`."""
    if not arguments or posixpath.basename(arguments[0]) != "scontrol":
        return ()
    words = [word for word in arguments[1:JOBS_MAX] if not word.startswith("-")]
    verb = words[0].lower() if words else ""
    if verb in _HOLDING:
        named = words[1:]
    else:
        pairs = pairwise((*words[1:], "")) if verb == "update" else ()
        named = [found[1] or behind for word, behind in pairs if (found := _JOB_ID.fullmatch(word))]
    ids = (each.partition("_")[0].partition("+")[0] for word in named for each in _TASKS.sub("", word).split(","))
    return tuple(dict.fromkeys(job for job in ids if job.isascii() and job.isdigit() and len(job) <= 20))


def jobs_ordered(arguments: Sequence[str]) -> tuple[str, ...]:
    """Job ids that a command to Slurm's controller names, to end a job or to change it."""
    return jobs_cancelled(arguments) or jobs_updated(arguments)


def asks_scheduler(arguments: Sequence[str]) -> bool:
    """Does a command ask a scheduler, or a cluster, to end or to change something: `scancel 7`, `scontrol hold 7`?"""
    words = bare(arguments)
    verbs = _ASKING.get(posixpath.basename(words[0])) if words else None
    return verbs is not None and (not verbs or not verbs.isdisjoint(words[1:ARGUMENTS_MAX]))


def signals_only(arguments: Sequence[str]) -> bool:
    """Does a `scancel` command ask for a signal by which no job ends cancelled: `scancel --signal=USR1 7`?  The last one named counts."""
    named = ""
    for word, behind in pairwise((*arguments, "")):
        if found := _OF_A_CANCEL.fullmatch(word):
            named = found[1] or found[2] or behind
    return bool(jobs_cancelled(arguments)) and named.upper().removeprefix("SIG") in _CANCELS_NOTHING


def bare(arguments: Sequence[str]) -> Sequence[str]:
    """The command after `sudo -u root`, `env A=b` or `sh -c`."""
    words: Sequence[str] = arguments[:ARGUMENTS_MAX]
    for _ in range(4):
        if not words:
            return ()
        name = posixpath.basename(words[0])
        if name in _PREFIXES:
            skip = 1
            while skip < len(words) and (words[skip].startswith("-") or "=" in words[skip]):
                skip += 2 if words[skip] in _VALUED or (name == "nice" and words[skip] == "-n") else 1  # sudo -n takes no value
            words = words[skip:]
        elif name in SHELLS and len(words) > 2 and words[1] in ("-c", "-lc", "-ec"):
            words = split(words[2])
        else:
            return words
    return words


def options_apart(words: Sequence[str]) -> Sequence[str]:
    """The words of `auditctl`, where an option may hold others and its value: `-De0` is `-D -e 0` (getopt(3))."""
    apart: list[str] = []
    for word in words:
        if len(word) < 3 or word[0] != "-" or word[1] == "-":
            apart.append(word)
            continue
        for at, letter in enumerate(word[1:], 2):
            apart.append(f"-{letter}")
            if letter not in _AUDITCTL_FLAGS:
                apart += [word[at:]] if word[at:] else []
                break
    return apart


def turns_knob(arguments: Sequence[str]) -> bool:
    """Is something written to a file by which the kernel is steered: `sh -c "echo 20000 > /sys/fs/cgroup/.../cpu.max"`?"""
    if not any(knob in word for word in arguments[:ARGUMENTS_MAX] for knob in _KNOBS):
        return False
    text = " ".join(arguments[:ARGUMENTS_MAX])[:COMMAND_CHARACTERS_MAX]
    return ">" in text or "tee " in text or any(each.startswith(_KNOBS) for each in emptied(arguments))


def _has(rest: Sequence[str], wanted: Sequence[str]) -> bool:
    return any(word.partition("=")[0] in wanted for word in rest)


def _names_teller(rest: Sequence[str]) -> bool:
    return any(teller in word for word in rest for teller in _TELLERS)
