"""Which commands and files are told: what changes something for others, not what asks, and not what runs all day."""

import pytest

from pipeline.model import watched
from pipeline.model.events import SignalSent

COMMANDS = {
    ("nvidia-smi", "-q"): "",
    ("nvidia-smi", "--query-gpu=power.draw", "--format=csv"): "",
    ("/usr/bin/nvidia-smi", "-i", "0", "-lgc", "210,210"): "node",
    ("nvidia-smi", "--power-limit=100"): "node",
    ("sudo", "-u", "root", "nvidia-smi", "-pl", "100"): "node",
    ("env", "A=b", "renice", "-n", "19", "-p", "3"): "node",
    ("sudo", "-n", "nvidia-smi", "-pl", "100"): "node",
    ("nice", "-n", "10", "nvidia-smi", "-pl", "100"): "node",
    ("taskset", "-c", "0-7", "python", "train.py"): "",
    ("taskset", "-p", "1", "4711"): "node",
    ("tc", "qdisc", "show"): "",
    ("sh", "-c", "tc qdisc add dev eth0 root netem delay 10ms"): "node",
    ("bash", "-lc", "python train.py"): "",
    ("stress-ng", "--cpu", "0"): "load",
    ("systemctl", "status", "auditd"): "",
    ("systemctl", "restart", "nginx"): "",
    ("systemctl", "stop", "auditd"): "telemetry",
    ("pkill", "-9", "filebeat"): "telemetry",
    ("pkill", "python"): "",
    ("auditctl", "-s"): "",
    ("auditctl", "-e", "0"): "telemetry",
    ("auditctl", "-e0"): "telemetry",
    ("auditctl", "-De0"): "telemetry",
    ("auditctl", "-ls"): "",
    ("auditctl", "-m-e0"): "",
    ("date",): "",
    ("date", "--set=2026-03-01"): "telemetry",
    ("date", "-us", "12:00"): "telemetry",
    ("date", "-s@1772400000"): "telemetry",
    ("date", "030200002026"): "telemetry",
    ("date", "-d", "20260302"): "",
    ("date", "-Is"): "",
    ("date", "+%s"): "",
    ("timedatectl", "set-ntp", "no"): "telemetry",
    ("systemctl", "freeze", "auditd"): "telemetry",
    ("dd", "if=x", "of=/sys/fs/cgroup/job_7/memory.max"): "node",
    ("cp", "x", "/sys/fs/cgroup/job_7/cpu.max"): "node",
    ("cp", "/sys/fs/cgroup/job_7/cpu.max", "x"): "",
    ("sh", "-c", "echo 1 > /sys/bus/pci/devices/0000:3b:00.0/remove"): "node",
    ("rm", "-f", "/var/log/audit/audit.log"): "telemetry",
    ("rm", "-f", "/var//log/audit/audit.log"): "telemetry",
    ("rm", "-f", "/scratch/x"): "",
    ("cp", "/dev/null", "/var/log/audit/audit.log"): "telemetry",
    ("cp", "/var/log/audit/audit.log", "/backup/"): "",
    ("install", "-m", "600", "/dev/null", "/var/log/secure"): "telemetry",
    ("ln", "-sf", "/dev/null", "/home/u099/.bash_history"): "telemetry",
    ("dd", "if=/dev/null", "of=/var/log/audit/audit.log"): "telemetry",
    ("dd", "if=/var/log/secure", "of=/scratch/x"): "",
    ("sudo", "bash", "-c", ": > /var/log/audit/audit.log"): "telemetry",
    ("sh", "-c", "cat /dev/null>/var/log/secure"): "telemetry",
    ("sh", "-c", "date >> /var/log/messages"): "",
    ("sh", "-c", "python train.py > /var/log/train.log"): "",
    ("sudo", "grep", ">", "/var/log/secure"): "",
    ("journalctl", "--vacuum-time=1s"): "telemetry",
    ("python", "tc", "qdisc", "add"): "",
    (): "",
    ("sudo",): "",
}


@pytest.mark.parametrize(("arguments", "expected"), COMMANDS.items(), ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")
def test_commands(arguments: tuple[str, ...], expected: str) -> None:
    """By what they change; behind sudo, env and a shell's -c."""
    assert watched.command(arguments) == expected


@pytest.mark.parametrize(
    ("called", "owner", "signal", "success", "expected"),
    [
        ("auditd", 0, 9, True, True),
        ("systemd-journal", 0, 19, True, True),
        ("auditd", 0, 9, False, False),
        ("auditd", 0, 1, True, False),
        ("auditd", 5099, 9, True, False),
        ("auditd", None, 9, True, False),
        ("python3", 0, 9, True, False),
    ],
    ids=["ended", "stopped, by its short name", "in vain", "asked to reload", "somebody's own program", "nobody says whose", "another"],
)
def test_signals_to_who_records(called: str, owner: int | None, signal: int, success: bool, expected: bool) -> None:
    """A daemon of the system that is ended by its number is known by the name that the kernel gives with it."""
    sent = SignalSent(signal=signal, target_pid=812, success=success, serial=1, target_uid=owner, target_comm=called)
    assert watched.ends_teller(sent) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/usr/bin/pkill -9 python", "signal"),
        ("/usr/bin/scancel 7", "signal"),
        ("/bin/systemctl stop auditd", "telemetry"),
        ("/bin/bash -c 'kill -9 4711'", "signal"),
        ("/usr/bin/apt update", ""),
        ("'unclosed", ""),
        ("", ""),
    ],
)
def test_commands_with_privilege(text: str, expected: str) -> None:
    """From sudo and bastions signals count, too."""
    assert watched.privileged(text) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/home/u012/.ssh/authorized_keys", "key"),
        ("/etc/ld.so.preload", "key"),
        ("/etc/audit/rules.d/x.rules", "telemetry"),
        ("/home/u012/authorized_keys.txt", ""),
        ("/scratch/etc/audit", ""),
    ],
)
def test_files(name: str, expected: str) -> None:
    """Who may log in, what runs before one's own code, and what tells of it."""
    assert watched.path(name) == expected


@pytest.mark.parametrize(
    ("arguments", "jobs"),
    [(("scancel", "7", "8_3", "-u", "9.0"), ("7", "8", "9")), (("squeue", "7"), ()), ((), ()), (("scancel", "x7"), ())],
)
def test_jobs_of_a_cancel_command(arguments: tuple[str, ...], jobs: tuple[str, ...]) -> None:
    """Arrays and steps by their job."""
    assert watched.jobs_cancelled(arguments) == jobs


@pytest.mark.parametrize(
    ("command", "jobs"),
    [
        ("scontrol update JobId=7 TimeLimit=5", ("7",)),
        ("/usr/bin/scontrol -Q update TimeLimit=5 job 7", ("7",)),
        ("scontrol update jobid=7,8_3,9_[1,3] priority=0", ("7", "8", "9")),
        ("scontrol hold 7 8+1", ("7", "8")),
        ("scontrol release 7", ("7",)),
        ("scontrol update NodeName=gpu-001 State=DOWN", ()),
        ("scontrol update JobName=7 priority=0", ()),
        ("scontrol show job 7", ()),
        ("scontrol", ()),
        ("scancel 7", ()),
        ("", ()),
    ],
)
def test_jobs_of_an_update_command(command: str, jobs: tuple[str, ...]) -> None:
    """As scontrol takes its words; what it only shows is no change."""
    assert watched.jobs_updated(command.split()) == jobs
    assert watched.jobs_ordered(command.split()) == (jobs or watched.jobs_cancelled(command.split()))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("scancel --signal=USR1 7", True),
        ("/usr/bin/scancel -s SIGUSR1 7", True),
        ("scancel 7 --sig usr2", True),
        ("scancel -fsHUP 7", True),
        ("scancel -bs 10 7", True),
        ("scancel --signal=STOP 7", True),
        ("scancel 7", False),
        ("scancel --signal=KILL 7", False),
        ("scancel -s TERM 7", True),
        ("scancel --signal=15 7", True),
        ("scancel -s int 7", True),
        ("scancel -s SIGQUIT 7", True),
        ("scancel -s 64 7", True),
        ("scancel -s 9 7", False),
        ("scancel -s SIGKILL 7", False),
        ("scancel -s 994 7", False),
        ("scancel -s TERM -s KILL 7", False),
        ("scancel -s USR1 -s KILL 7", False),
        ("scancel -s", False),
        ("scancel --sibling=east 7", False),
        ("scancel --signal=USR1 --name=pretrain", False),
        ("kill -s USR1 7", False),
    ],
)
def test_signals_that_cancel_no_job(command: str, expected: bool) -> None:
    """As scancel takes its options; what it does not say clearly may have been a cancel."""
    assert watched.signals_only(command.split()) is expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/usr/bin/scancel 7", True),
        ("scancel -u u012", True),
        ("env A=b scancel 7", True),
        ("scontrol hold 7", True),
        ("scontrol holdu 7", True),
        ("scontrol show job 7", False),
        ("kubectl -n llm delete pod p", True),
        ("kubectl get pods", False),
        ("squeue -u u012", False),
        ("", False),
    ],
)
def test_what_asks_a_scheduler_for_something(command: str, expected: bool) -> None:
    """To end or to change it, and not to show it."""
    assert watched.asks_scheduler(command.split()) is expected
