"""P14: a node slowed by a person while others' jobs ran there.

# steps one in five minutes, an hour on either side
#
#   u012's job   2 s  2 s  2 s  ... |act@7200|  3 s  3 s ...
"""

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from pipeline.detect.subjects import Held
from pipeline.model.events import Event
from pipeline.model.finding import Checked, Explanation, Finding, Severity
from pipeline.model.source import Source
from tests import build
from tests.build import ADMIN, COLLEAGUE, DAY
from tests.build_subjects import command, held, judge_host, kernel, site, step, steps, sudo, xid

ID = "p14_node_degraded"
AT = 7200
SLOWER = [*steps(0, AT, 2000), *steps(AT + 60, 3 * AT, 3000)]
STEADY = steps(0, 3 * AT)
COUNTED = [step(at, None, at if at < AT else AT + (at - AT) // 2) for at in range(0, 3 * AT, 300)]  # half as many a second behind it
CAP = command(AT, "nvidia-smi", "-pl", "200")
BEGUN: list[Event | Held] = [held(start=AT - 600), step(AT - 60, 2000), step(AT + 240, 2200), CAP]  # the second had begun before it
LATE: list[Event | Held] = [
    held(start=AT + 60),
    *steps(AT + 120, 3 * AT, 3000),
    *steps(3 * AT + 60, 4 * AT, 2000),
]


class Row(NamedTuple):
    """What befell the host."""

    name: str
    told: Sequence[Event | Held]


FIRING = [
    Row("power is capped", [held(), CAP, *SLOWER]),
    Row("clocks are locked, says sudo", [held(), sudo(AT, "/usr/bin/nvidia-smi -lgc 510"), *SLOWER]),
    Row("the network is delayed", [held(), command(AT, "tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "40ms"), *SLOWER]),
    Row("processors are withheld", [held(), command(AT, "sh", "-c", "echo 200000 1000000 > /sys/fs/cgroup/slurm/cpu.max"), *SLOWER]),
    Row("one clock is locked, another set free", [held(), command(AT, "nvidia-smi", "-lgc", "210", "-rmc"), *SLOWER]),
    Row("capped, and asked for", [held(), command(AT, "nvidia-smi", "-pl", "100", "-q"), *SLOWER]),
    Row("load is made", [held(), command(AT, "stress-ng", "--cpu", "64"), *SLOWER]),
    Row("without elapsed times: steps are counted", [held(), CAP, *COUNTED]),
    Row("the job began minutes before, and all its steps behind it are slow", [*BEGUN, *steps(AT + 540, AT + 2040, 3000)]),
    Row(
        "the job began behind it, and is quicker when the same hand undoes it",
        [
            held(end=AT + 60, job="7"),
            *LATE,
            CAP,
            command(3 * AT, "nvidia-smi", "-pl", "700"),
        ],
    ),
    *(
        Row(f"a word that the program does not know: {' '.join(words)}", [held(), sudo(AT, " ".join(words)), *SLOWER])
        for words in (
            ("sh", "-c", "'echo 1000 > /sys/fs/cgroup/x/cpu.max # del'"),
            ("sh", "-c", "'echo 1000 > /sys/fs/cgroup/x/cpu.max # show'"),
            ("sh", "-c", "'mount -a; echo 1000 > /sys/fs/cgroup/x/cpu.max'"),
            ("sh", "-c", "'nvidia-smi -q; echo 1000 > /sys/fs/cgroup/x/cpu.max'"),
            ("renice", "19", "-p", "4711", "show"),
            ("cgset", "-r", "cpu.max=1000", "flush"),
            ("iptables", "-A", "INPUT", "-m", "comment", "--comment", "list", "-j", "DROP"),
            ("ip", "link", "set", "dev", "eth0", "mtu", "100", "alias", "del"),
        )
    ),
]
SILENT = [
    Row("nobody's job runs there", [CAP, *SLOWER]),
    Row("the actor's own job", [held(owner=COLLEAGUE), CAP, *SLOWER]),
    Row("somebody asks for clocks", [held(), command(AT, "nvidia-smi", "-q"), *SLOWER]),
    Row("slow by itself", [held(), *SLOWER]),
    Row("somebody profiles a process", [held(), command(AT, "py-spy", "dump", "--pid", "4711"), *SLOWER]),
    Row("the command failed", [held(), command(AT, "tc", "qdisc", "add", "dev", "eth0", success=False), *SLOWER]),
    Row("clocks are set free", [held(), command(AT, "nvidia-smi", "-rgc"), *SLOWER]),
    Row("persistence is switched on", [held(), command(AT, "nvidia-smi", "-pm", "1"), *SLOWER]),
    Row("a delay is taken away", [held(), command(AT, "tc", "qdisc", "del", "dev", "eth0", "root"), *SLOWER]),
    Row("the job ended before", [held(end=AT - 1), CAP, *SLOWER]),
]
BOUNDARY = [
    Row("the job began as it happened", [held(start=AT), CAP]),
    Row("a ratio of 1.25", [held(), CAP, *steps(0, AT, 2000), *steps(AT + 60, 3 * AT, 2500)]),
    Row("two steps behind it are too few", [held(), CAP, *steps(0, AT), *steps(AT + 60, AT + 600, 3000)]),
    Row("minutes before, and too few steps behind it", [*BEGUN, *steps(AT + 540, AT + 1740, 3000)]),
    Row("minutes before, and not all steps behind it are slow", [*BEGUN, *steps(AT + 540, AT + 3300, 3000), step(AT + 3500, 2200)]),
    Row("no step is known before it", [held(start=AT - 600), CAP, *steps(AT + 60, 3 * AT, 3000)]),
    Row("it gets quicker by itself", [held(end=AT + 60, job="7"), *LATE, CAP]),
    Row(
        "it gets quicker as another does something there",
        [
            held(end=AT + 60, job="7"),
            *LATE,
            CAP,
            command(3 * AT, "tc", "qdisc", "del", "dev", "eth0", "root"),
        ],
    ),
]
HARMLESS = [
    Row("by_system: a health check", [held(), command(AT, "nvidia-smi", "-pl", "200", by=None), *SLOWER]),
    Row("steps_as_before: nothing is slower", [held(), CAP, *STEADY]),
    Row("steps_as_before: load that slows nobody", [held(), command(AT, "stress-ng", "--cpu", "1"), *STEADY]),
]


def judge(row: Row) -> list[Finding]:
    return judge_host(ID, *row.told)


@pytest.mark.parametrize("row", FIRING, ids=lambda row: row.name)
def test_fires(row: Row) -> None:
    """Act and effect are an alert, which cites both."""
    (finding,) = judge(row)
    assert (finding.effect, finding.alert, finding.severity) == ("node_slowed", True, Severity.HIGH)
    assert {item.role for item in finding.evidence} == {"cause", "before", "effect"}


@pytest.mark.parametrize("row", [*SILENT, *HARMLESS], ids=lambda row: row.name)
def test_is_silent(row: Row) -> None:
    """No act on others' node, or one that a record explains."""
    assert judge(row) == []


@pytest.mark.parametrize(
    ("row", "alert"),
    list(zip(BOUNDARY, (False, True, False, False, False, False, False, False), strict=True)),
    ids=lambda value: getattr(value, "name", ""),
)
def test_boundary(row: Row, alert: bool) -> None:
    """Without an effect on record the hit is kept, below the gate."""
    (finding,) = judge(row)
    assert finding.alert is alert


def test_without_the_kernel_nobody_knows_of_faults() -> None:
    """Neither now nor before."""
    (finding,) = judge_host(ID, held(), CAP, *SLOWER, silent=[Source.KERNEL])
    for name in ("thermal_or_hardware", "lemon_node"):
        assert build.answer(finding, name) == Explanation(name, Checked.NOT_CHECKED, missing=("kernel on gpu-001",))


@pytest.mark.parametrize("told", [kernel(AT - 60, "mce: CPU12: cpu clock throttled"), xid(AT - 60)], ids=["throttled", "off the bus"])
def test_what_the_kernel_says_of_a_slow_machine_is_a_doubt(told: Event) -> None:
    """thermal_or_hardware: an admin caps what runs hot; and who caps power is root there, and writes lines of the kernel."""
    (finding,) = judge_host(ID, held(), CAP, told, *SLOWER)
    said = build.answer(finding, "thermal_or_hardware")
    assert (finding.alert, finding.actor, said.answer, said.by) == (False, "", Checked.NOT_CHECKED, told.id)


def test_lemon_node_stays_below_the_gate() -> None:
    """Hardware failed there on several days before."""
    (finding,) = judge_host(ID, held(), CAP, xid(AT - 3 * DAY), xid(AT - 5 * DAY), *SLOWER)
    assert (finding.alert, build.answer(finding, "lemon_node").answer) == (False, Checked.NOT_CHECKED)


@pytest.mark.parametrize("text", ["sudo -u u050 renice -n 19 -p 77", "sh -c 'renice -n 19 -u u050'", "env OWNER=u050 renice -n 19 -p 7"])
def test_the_summary_names_the_program_and_nobody(text: str) -> None:
    """Not a word of the command line, which may be somebody's name."""
    (finding,) = judge_host(ID, held(), sudo(AT, text), *SLOWER)
    assert finding.summary.startswith("renice on gpu-001")
    assert "u050" not in finding.summary


@pytest.mark.parametrize("text", ["sudo -u root reboot", "sh -c 'umount /scratch/u050'", "sudo -n mount /dev/sdb /mnt"])
def test_what_slows_nobody_does_not_behind_sudo_either(text: str) -> None:
    """The program counts, not the word behind sudo's options."""
    assert judge_host(ID, held(), sudo(AT, text), *SLOWER) == []


def test_change_ticket_acquits() -> None:
    """An admin caps power under a ticket for this host."""
    ticket = build.ticket(0, 2 * AT, hosts=("gpu-001",))
    act = command(AT, "nvidia-smi", "-pl", "200", by=ADMIN)
    assert judge_host(ID, held(), act, *SLOWER, at=site(tickets=(ticket,))) == []
    assert judge_host(ID, held(), act, *SLOWER)[0].alert


def test_logs_of_the_host_alone_name_nobody() -> None:
    """Kernel audit, system log and the output of jobs: all of them are within reach of whoever is root there."""
    (both,) = judge_host(ID, held(), CAP, sudo(AT - 1, "/usr/bin/nvidia-smi -pl 200"), *SLOWER)
    assert (both.actor, both.suspect) == ("", "u099")
    assert both.actor_withheld == "no source that the person could not write"
