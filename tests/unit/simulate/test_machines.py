"""Process ids, audit events and node names of single machines."""

from random import Random

import pytest

from pipeline.simulate.clock import Clock
from pipeline.simulate.lines_access import KILL, Program, Subject, obj_pid, proctitle, syscall
from pipeline.simulate.machines import PID_MAX, Host, Pids
from pipeline.simulate.shipping import Shipper
from pipeline.simulate.work import fold


def test_process_ids_rise_wrap_and_spare_the_held_ones() -> None:
    """The counter goes on with time and past its end; a held id is nobody else's until released."""
    pids = Pids(Random(3))
    held = pids.take(10, hold=True)
    later = pids.take(20)
    assert later > held
    around = [pids.take(20) for _ in range(PID_MAX - 300)]
    assert held not in around
    assert later in around
    assert min(around) >= 300
    pids.release(held)
    assert held in [pids.take(20) for _ in range(PID_MAX - 300)]


def test_audit_events_carry_time_and_rising_serials_until_boot() -> None:
    """All records of an event share time and serial; a boot starts serials anew."""
    clock, shipper = Clock(1_772_480_441_318), Shipper(Random(1))
    host = Host("gpu-001", "10.30.0.1", 8, clock, shipper, Random(1), {})
    first = host.audit.event([("SYSCALL", "a"), ("EOE", "")])
    second = host.audit.event([("EOE", "")])
    host.boot()
    lines = [record.value.decode() for record in dict.fromkeys(shipper.delivered())]
    assert lines[:2] == [f"type=SYSCALL msg=audit({first}): a", f"type=EOE msg=audit({first}): "]
    assert first.partition(":")[0] == "1772480441.318"
    assert int(second.partition(":")[2]) == int(first.partition(":")[2]) + 1
    assert lines[-1].startswith("type=DAEMON_START msg=audit(1772480441.318:1): ")


def test_unset_ids_are_signed_only_where_the_kernel_prints_them_signed() -> None:
    """SYSCALL has 4294967295, OBJ_PID has -1 for the same unset login; arguments are hex without prefix."""
    daemon = Subject.daemon(5012, 6001)
    call = syscall(KILL, (f"{4711:x}", "9", "0", "0"), -1, 0, (1, 912), daemon, Program("x", "/x", ("x",)), "k")
    assert "syscall=62 success=no exit=-1 a0=1267 a1=9" in call
    assert "auid=4294967295 uid=5012" in call
    assert obj_pid(4711, daemon, "python3") == 'opid=4711 oauid=-1 ouid=5012 oses=-1 ocomm="python3"'


def test_command_lines_are_hex_when_they_have_several_words() -> None:
    """As auditd does: NUL between words, upper-case hex; a single word is quoted."""
    assert proctitle(("-bash",)) == 'proctitle="-bash"'
    assert proctitle(("kill", "-9")) == "proctitle=6B696C6C002D39"


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([7], "gpu-007"), ([1, 2, 3], "gpu-[001-003]"), ([7, 1, 2], "gpu-[001-002,007]"), ([1, 3, 5, 6], "gpu-[001,003,005-006]")],
)
def test_node_names_fold_as_in_slurm(numbers: list[int], text: str) -> None:
    """Ranges keep their padding; a single node has no brackets."""
    assert fold([f"gpu-{number:03d}" for number in numbers]) == text
