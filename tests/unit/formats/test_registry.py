"""Choosing a format: pinned, sniffed, or nobody's."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import pytest

from pipeline.bench.fuzz_input import good_lines
from pipeline.errors import ConfigError, DecodeError, UnknownFormat
from pipeline.formats import registry
from pipeline.formats.line import Line, Reading
from pipeline.model.source import Source
from tests.unit.formats.bare import bare

READING = Reading(zone=ZoneInfo("UTC"), reference_time=1_772_480_460_000)
SHA256 = "0" * 64

# One ordinary line per format, and more where another format might claim it too.
LINES = [
    ("slurm_jobcomp", '{"jobid":7,"state":"COMPLETED","@end":"2026-03-02T19:40:55","exit_code":"0:0","job_name":"trainwatch_probe"}'),
    ("probe", '{"trainwatch_probe":1,"kind":"process_started","time_ms":1772480441318,"host":"gpu-001","job":"7","pid":1,"jobid":"7"}'),
    (
        "bootstrap",
        '{"trainwatch_bootstrap":1,"taken":1772480441000,"listed_by":"sacct_json","job":{"job":"7","state":"RUNNING","name":"exit_code"}}',
    ),
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
    ("pbs", "03/02/2026 19:40:41;D;48213.ctl-1;requestor=u099@login-1"),
    (
        "ray_jobs",
        (
            '{"event_id":"e","timestamp":1772480441,"source_type":"EXPORT_SUBMISSION_JOB",'
            '"event_data":{"submission_job_id":"r","status":"STOPPED"}}'
        ),
    ),
    ("lsf", '"JOB_SIGNAL" "10.1" 1772480441 48213 5099 1 "KILL" 0 "u099"'),
    ("slurmd", "[2026-03-02T19:40:41.318] launch task StepId=7.0 request from UID:5017 GID:5000 HOST:10.0.0.7 PORT:51234"),
    (
        "jobcomp_filetxt",
        (
            "JobId=7 UserId=u017(5017) GroupId=llm(5000) Name=a JobState=COMPLETED Partition=p TimeLimit=60 StartTime=2026-03-02T18:40:41 "
            "EndTime=2026-03-02T19:40:41 NodeList=gpu-001 NodeCnt=1 ProcCnt=2 "
            "WorkDir=/w ReservationName= Tres=cpu=2 Account=llm QOS=normal "
            "WcKey= Cluster=c SubmitTime=2026-03-02T18:00:00 EligibleTime=2026-03-02T18:00:00 DerivedExitCode=0:0 ExitCode=0:0 "
        ),
    ),
    (
        "sacct_json",
        '{"job_id":7,"user":"u017","state":{"current":["FAILED"]},"exit_code":{},"derived_exit_code":{},"time":{"start":1772480441}}',
    ),
    (
        "kubernetes_events",
        (
            '{"kind":"Event","involvedObject":{"kind":"Pod","name":"a"},"reason":"Killing",'
            '"message":"sshd[9]: x","lastTimestamp":"2026-03-02T19:40:41Z"}'
        ),
    ),
    ("deepspeed", "[2026-03-02 19:40:41,765] [INFO] [logging.py:96:log_dist] [Rank 0] step=100, skipped=3, lr=[0.0001], mom=[(0.9, 0.95)]"),
    ("mllog", '3: :::MLLOG {"namespace": "", "time_ms": 1772480441318, "event_type": "INTERVAL_END", "key": "epoch", "value": 3}'),
    ("elastic", '{"name": "torchelastic.worker.status.FAILED", "source": "AGENT", "timestamp": 0, "metadata": {"global_rank": 3}}'),
    (
        "nccl",
        (
            "[rank3]:[E302 19:40:41.426415540 ProcessGroupNCCL.cpp:629] [Rank 3] "
            "Watchdog caught collective operation timeout: WorkNCCL(SeqNum=6"
        ),
    ),
    ("lightning", "Epoch 0: :  12%|#2   | 40/333 [00:51<06:17,  0.50it/s, v_num=a1, reduced_train_loss=6.930]"),
    ("hf_trainer", "{'loss': 2.31, 'grad_norm': 1.2, 'learning_rate': 5e-05, 'epoch': 0.4}"),
    ("json_logger", '{"step": 100, "loss": 2.31, "lr": 0.0003, "time": 1772480441.318}'),
    ("torchrun", "WARNING:torch.distributed.elastic.multiprocessing.api:Sending process 143 closing signal SIGTERM"),
    (
        "megatron",
        (
            " iteration       10/     100 | consumed samples:     160 | elapsed time per iteration (ms): 5.3 | learning rate: 1.0E-04 |"
            " global batch size:    16 | lm loss: 9.1E+00 | loss scale: 1.0 | grad norm: 1.2 | number of skipped iterations:   0 |"
            " number of nan iterations:   0 |"
        ),
    ),
    (
        "laurel",
        (
            '{"ID":"1772480441.311:9001","NODE":"gpu-001","SYSCALL":{"arch":"0xc000003e","syscall":62,"a0":"0x1267","a1":"0'
            'x9","exe":"/usr/sbin/sshd"}}'
        ),
    ),
    (
        "auditbeat",
        (
            '{"@timestamp":"2026-03-02T19:40:41.311Z","auditd":{"sequence":9001,"data":{"syscall":"kill","a0":"1267"}},"pro'
            'cess":{"name":"sshd[9]: "}}'
        ),
    ),
    ("kubernetes_audit", '{"kind":"Event","auditID":"a-1","stage":"ResponseComplete","verb":"delete","user":{"username":"u017"}}'),
    ("falco", '{"output":"a shell sshd[9]: ","priority":"Warning","rule":"r","time":"2026-03-02T19:40:41.341081180Z","output_fields":{}}'),
    (
        "tetragon",
        (
            '{"process_exec":{"process":{"exec_id":"e","pid":9,"uid":5099,"binary":"/usr/bin/kill"}},"node_name":"gpu-001",'
            '"time":"2026-03-02T19:40:41Z"}'
        ),
    ),
    (
        "hdfs_audit",
        (
            "2026-03-02 19:40:41,161 INFO FSNamesystem.audit: allowed=true\tugi=u017 (auth:SIMPLE)\tip=/10.0.2.15\tcmd=delete\t"
            "src=/ckpt/step100\tdst=null\tperm=null\tproto=rpc"
        ),
    ),
    ("git_push", '{"ref":"refs/heads/main","before":"a","after":"b","sender":{"login":"u017"},"repository":{"full_name":"llm/train"}}'),
    (
        "cloudtrail",
        (
            '{"eventTime":"2026-03-02T19:40:41Z","eventSource":"s3.amazonaws.com","eventName":"DeleteObject","userIdentity"'
            ':{"userName":"u017"}}'
        ),
    ),
    (
        "minio",
        (
            '{"version":"1","time":"2026-03-02T19:40:41Z","api":{"name":"DeleteObject","bucket":"b","object":"o"},"requestI'
            'D":"R","accessKey":"u017"}'
        ),
    ),
    (
        "s3_access",
        (
            "7777777777777777777777777777777777777777777777777777777777777777 ckpt [02/Mar/2026:19:40:41 +0000] 10.0.0.7 u0"
            '17 R1 REST.DELETE.OBJECT step100 "DELETE /step100" 204 - - 4 4 - "-" "sshd[9]: "'
        ),
    ),
    (
        "lustre_changelog",
        (
            "135 06UNLNK 19:40:41.123456789 2026.03.02 0x1 t=[0x200000402:0x2:0x0] ef=0xf u=5012:5000 nid=10.0.1.3@tcp p=[0"
            "x200000402:0x2:0x0] step100.pt"
        ),
    ),
    ("teleport", '{"event":"exec","code":"T3002I","uid":"t","time":"2026-03-02T19:40:41Z","user":"u017","command":"sudo: x"}'),
    ("jumpserver", '<14>osm: login_log - {"username":"u017","ip":"10.0.0.5","status":true,"datetime":"2026/03/02 19:40:41 +0800"}'),
    (
        "volcano",
        (
            '{"kind":"Command","apiVersion":"bus.volcano.sh/v1alpha1","metadata":{"name":"c","uid":"u","creationTimestamp":'
            '"2026-03-02T19:40:41Z"},"action":"AbortJob","target":{"kind":"Job","name":"run7"}}'
        ),
    ),
    (
        "wazuh",
        (
            '{"timestamp":"2026-03-02T19:40:41.209+0800","rule":{"level":7},"agent":{"name":"gpu-001"},"decoder":{},"sysche'
            'ck":{"path":"/x"}}'
        ),
    ),
    (
        "osquery",
        (
            '{"name":"p","hostIdentifier":"gpu-001","unixTime":1772480441,"columns":{"target_path":"/x","action":"UPDATED"}'
            ',"action":"added"}'
        ),
    ),
]


def some_lines(name: str, count: int) -> list[bytes]:
    """Lines that a format reads: made ones, no two alike, or else its rows above."""
    return good_lines(name, count, 1) or [text.encode() for row, text in LINES if row == name]


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
    assert bare(registry.unwrap(b'{"message":"a"}', HEADERS)) == [Line(payload=b"a", host="gpu-001")]
    assert registry.unwrap(b"a", HEADERS) == [Line(payload=b"a", host="gpu-001")]
