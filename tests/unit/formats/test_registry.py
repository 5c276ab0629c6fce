"""Choosing a format: pinned, sniffed, or nobody's."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import ConfigError, DecodeError, UnknownFormat
from pipeline.formats import registry
from pipeline.formats.line import Line, Reading
from pipeline.model.source import Source

READING = Reading(zone=ZoneInfo("UTC"), reference_time=1_772_480_460_000)
SHA256 = "0" * 64

# One ordinary line per format, and more where another format might claim it too.
LINES = [
    ("slurm_jobcomp", '{"jobid":7,"state":"COMPLETED","@end":"2026-03-02T19:40:55","exit_code":"0:0","job_name":"trainwatch_probe"}'),
    ("probe", '{"trainwatch_probe":1,"kind":"process_started","time_ms":1772480441318,"host":"gpu-001","job":"7","pid":1,"jobid":"7"}'),
    ("slurmctld", "[2026-03-02T19:40:41.318] error: Nodes gpu-001 not responding"),
    ("slurmctld", "2026-03-02T19:40:41.318+00:00 ctl-1 slurmctld[9]: error: Nodes gpu-001 not responding"),
    ("auditd", "type=USER_END msg=audit(1772480441.318:77): pid=9 uid=0 auid=5017 ses=3 msg='op=x exe=\"/usr/sbin/sshd\" res=success'"),
    ("auditd", 'type=EXECVE msg=audit(1772480441.318:78): argc=2 a0="slurmctld" a1="-D"'),
    (
        "sacct",
        (
            "7|7|a|u017|5017|llm|p|normal|COMPLETED|0:0|0:0|2026-03-02T10:00:00|2026-03-02T10:00:00|2026-03-02T11:00:00|01:00:00|01:00:00"
            "|1|gpu-001||0"
        ),
    ),
    ("sshd", "Mar  2 19:40:41 login-1 sshd[9]: Accepted publickey for u017 from 10.0.0.7 port 5022 ssh2: ED25519 SHA256:abc"),
    ("kernel", "2026-03-02T19:40:41.318+00:00 gpu-001 kernel: [ 12.5] NVRM: Xid (PCI:0000:3b:00): 79, pid=9, GPU has fallen off the bus."),
    ("slurmstepd", "slurmstepd: error: *** STEP 7.0 ON gpu-001 CANCELLED AT 2026-03-02T19:40:41 DUE TO TIME LIMIT ***"),
    ("slurmstepd", "srun: error: gpu-003: task 17: Killed"),
    ("torchrun", "WARNING:torch.distributed.elastic.multiprocessing.api:Sending process 143 closing signal SIGTERM"),
    (
        "megatron",
        (
            " iteration       10/     100 | consumed samples:     160 | elapsed time per iteration (ms): 5.3 | learning rate: 1.0E-04 |"
            " global batch size:    16 | lm loss: 9.1E+00 | loss scale: 1.0 | grad norm: 1.2 | number of skipped iterations:   0 |"
            " number of nan iterations:   0 |"
        ),
    ),
]


@pytest.mark.parametrize(("name", "text"), LINES, ids=[f"{name}-{number}" for number, (name, _) in enumerate(LINES)])
def test_sniffing_finds_the_format(name: str, text: str) -> None:
    """Every format finds its own lines, and no other takes them first."""
    line = Line(payload=text.encode())
    format_, events = registry.parse(line, READING)
    assert format_.name == name
    assert events
    assert registry.parse(line, READING, pinned=name) == (format_, events)


def test_every_format_has_a_row() -> None:
    """A new format adds a line to the table above."""
    assert {name for name, _ in LINES} == {format_.name for format_ in registry.PAYLOADS}


def test_every_family_is_read_by_a_format() -> None:
    """No source family that detectors may need is without a format."""
    assert {format_.source for format_ in registry.PAYLOADS} == set(Source)


def test_a_pinned_format_is_not_left() -> None:
    """The settings know better than the line: another format's line is not taken, whoever would claim it."""
    with pytest.raises(UnknownFormat):
        registry.parse(Line(payload=LINES[0][1].encode()), READING, pinned="sacct")


@pytest.mark.parametrize(
    "payload", [b"", b"\xff\xfe\x00\x01", b"An ordinary sentence.", b"{}", b"[2026-03-02T19:40:41.318] An ordinary sentence"]
)
def test_nobodys_line(payload: bytes) -> None:
    """What no format reads is said to be unknown."""
    with pytest.raises(UnknownFormat):
        registry.parse(Line(payload=payload), READING)


def test_a_broken_line_of_a_known_format_is_not_passed_on() -> None:
    """Only UnknownFormat passes a line on; the operator must see why a jobcomp record was not read."""
    with pytest.raises(DecodeError):
        registry.parse(Line(payload=b'{"jobid":7,'), READING)


def test_by_name_lists_the_formats() -> None:
    """A wrong name in the settings is answered with the right ones."""
    assert registry.by_name("sacct").name == "sacct"
    with pytest.raises(ConfigError) as caught:
        registry.by_name("sacc")
    assert all(format_.name in caught.value.advice for format_ in registry.PAYLOADS)


HEADERS: Sequence[tuple[str, bytes]] = (("host", b"gpu-001"),)


def test_unwrap_asks_envelopes_in_order() -> None:
    """A wrapper is opened; what is none is a raw line."""
    assert registry.unwrap(b'{"message":"a"}', HEADERS) == [Line(payload=b"a", host="gpu-001")]
    assert registry.unwrap(b"a", HEADERS) == [Line(payload=b"a", host="gpu-001")]
