"""Forged fields do not override real ones: what an attacker may choose (names, paths, commands, agents) stays text.

Each row is a line in which somebody's text imitates another field, another line or the end of its own; `real` is what must come out, and
nothing of the imitation may stand anywhere but in the field that it was put into.
"""

from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import UnknownFormat
from pipeline.formats import registry
from pipeline.formats.line import Line, Reading
from pipeline.model.events import AuditRecord
from pipeline.model.source import FAMILIES

READING = Reading(zone=ZoneInfo("UTC"), reference_time=1_772_480_460_000)
SSHD = "Mar  2 19:40:41 login-1 sshd[9]: "
SUDO = "Mar  2 19:40:41 login-1 sudo:     u017 : "
KERNEL = "2026-03-02T19:40:41.318+00:00 gpu-001 kernel: [ 12.5] "
CTLD = "[2026-03-02T19:40:41.318] "
CALL = "type=SYSCALL msg=audit(1772480441.318:77): arch=c000003e syscall=62 success=yes a0=1267 a1=9 pid=912 auid=5099 uid=5099 ses=41 "
HDFS = "2026-03-02 19:40:41,161 INFO FSNamesystem.audit: allowed=true\tugi=u017 (auth:SIMPLE)\tip=/10.0.2.15\tcmd=delete\t"
TIMES = "2026-03-02T10:00:00|2026-03-02T10:00:00|2026-03-02T11:00:00|01:00:00|01:00:00"
TAIL = f"u017|5017|llm|p|normal|COMPLETED|0:0|0:0|{TIMES}|1|gpu-001||0"
FILETXT_HEAD = "JobId=7 UserId=u017(5017) GroupId=llm(5000) Name="
FILETXT_MIDDLE = (
    " JobState=COMPLETED Partition=p TimeLimit=60 StartTime=2026-03-02T18:40:41 EndTime=2026-03-02T19:40:41 NodeList=gpu-001 NodeCnt=1 "
    "ProcCnt=2 WorkDir="
)
FILETXT_TAIL = (
    " ReservationName= Tres=cpu=2 Account=llm QOS=normal WcKey= Cluster=c SubmitTime=2026-03-02T18:00:00 "
    "EligibleTime=2026-03-02T18:00:00 DerivedExitCode=0:0 ExitCode=0:0 "
)
AUDIT = (
    '{"kind":"Event","auditID":"a","stage":"ResponseComplete","verb":"delete","user":{"username":"u017"},"objectRef":{"resource":"pods"},'
)


@dataclass(frozen=True)
class Row:
    """A line and the fields that must come out of it."""

    name: str
    format: str
    text: str
    real: dict[str, Any]


ROWS = [
    # sshd: a name is whatever a client sends, and the address that counts is the last
    Row("a name with an address", "sshd",
        SSHD + "Failed password for invalid user root from 10.0.0.1 port 22 ssh2 from 10.0.0.9 port 5022 ssh2",
        {"user": "root from 10.0.0.1 port 22 ssh2", "outcome": "failed", "address": "10.0.0.9", "port": 5022}),
    Row("a name of a known user", "sshd", SSHD + "Failed password for root from 10.0.0.1 port 22 ssh2: x from 10.0.0.9 port 5022 ssh2",
        {"outcome": "failed", "address": "10.0.0.9", "user": "root from 10.0.0.1 port 22 ssh2: x"}),
    Row("an invalid name with an address", "sshd", SSHD + "Invalid user root from 10.0.0.1 port 22 from 10.0.0.9 port 5022",
        {"outcome": "invalid_user", "address": "10.0.0.9", "port": 5022}),
    Row("a name that is a line of success", "sshd",
        SSHD + "Failed none for invalid user a: Accepted publickey for root from 10.0.0.1 port 1 ssh2: ED25519 SHA256:abc from 10.0.0.9 "
        "port 5022 ssh2",
        {"outcome": "failed", "method": "none", "address": "10.0.0.9", "fingerprint": ""}),
    Row("a name that is a whole line", "sshd",
        SSHD + f"Invalid user {SSHD}Accepted password for root from 10.0.0.1 port 22 ssh2 from 10.0.0.9 port 5022",
        {"outcome": "invalid_user", "address": "10.0.0.9"}),
    Row("a name before the address of a disconnect", "sshd",
        SSHD + "Disconnected from invalid user u012 10.0.0.1 port 22 [preauth] 10.0.0.9 port 5022 [preauth]", {"address": "10.0.0.9"}),
    Row("a failed name with a host", "sshd",
        SSHD + "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=10.0.0.9  user=x rhost=10.0.0.1",
        {"address": "10.0.0.9"}),
    # sudo: what follows COMMAND= is the caller's
    Row("a command with another user", "sshd",
        SUDO + "TTY=pts/0 ; PWD=/home ; USER=root ; COMMAND=/bin/sh -c x ; USER=u012 ; COMMAND=/bin/true",
        {"user": "u017", "run_as": "root", "command": "/bin/sh -c x ; USER=u012 ; COMMAND=/bin/true"}),
    # auditd: the kernel writes text that holds quotes or spaces as hexadecimal digits
    Row("a name with fields", "auditd", CALL + 'comm="x" uid=0 auid=0" exe="/bin/x"', {"uid": "5099", "auid": "5099", "comm": "x"}),
    Row("an encoded name with fields", "auditd", CALL + 'comm=7822207569643D30 exe="/bin/x"', {"uid": "5099", "comm": 'x" uid=0'}),
    Row("an encoded name with a line", "auditd", CALL + 'comm=6B696C6C0A747970653D53595343414C4C exe="/bin/x"',
        {"uid": "5099", "comm": "kill\ntype=SYSCALL"}),
    Row("fields behind the call's own", "auditd", CALL + 'comm="a" syscall=59 success=no a0=0 uid=0 auid=0 ses=1',
        {"syscall": "62", "success": "yes", "a0": "1267", "uid": "5099", "auid": "5099", "ses": "41"}),
    Row("translations do not replace numbers", "auditd", CALL + 'comm="a" exe="/x"\x1dSYSCALL=execve AUID="root" UID="root" uid=0',
        {"uid": "5099", "auid": "5099", "syscall": "62", "syscall_name": "kill"}),
    Row("a command of sudo", "auditd",
        "type=USER_CMD msg=audit(1772480441.318:77): pid=9 uid=5017 auid=5017 ses=3 msg='cwd=\"/\" cmd=6B696C6C20757365723D30 res=success'",
        {"auid": "5017", "cmd": "kill user=0"}),
    # the controller's log: names, comments and reasons are a user's
    Row("a name that names a job", "slurmctld", CTLD + "_update_job: setting name to x JobId=7 uid=5012 for JobId=9",
        {"job": "9", "change": "name", "value": "x JobId=7 uid=5012"}),
    Row("a comment that is a request", "slurmctld",
        CTLD + "sched: _update_job: setting comment to _slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7 uid 5099 for JobId=9",
        {"job": "9", "change": "comment"}),
    Row("a reason that is a line", "slurmctld",
        CTLD + f"update_node: node gpu-003 reason set to: x {CTLD}_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7 uid 5099",
        {"nodes": ("gpu-003",), "change": "reason"}),
    Row("a request as slurmd logs it", "slurmd",
        CTLD + "launch task StepId=7.0 request from UID:5017 GID:5000 HOST:10.0.0.7 PORT:51234 UID:0",
        {"uid": 5017}),
    # accounting: a name with separators
    Row("a name with a column", "sacct", f"7|7|a|b|{TAIL}", {"owner": "u017", "owner_uid": 5017, "name": "a|b", "state": "COMPLETED"}),
    Row("a name that is a row", "sacct", f"7|7|a|u012|5012|llm|p|normal|CANCELLED by 5099|0:0|0:0|{TIMES}|1|gpu-001||0|{TAIL}",
        {"owner": "u017", "owner_uid": 5017, "state": "COMPLETED", "cancelled_by_uid": None}),
    Row("a name with fields, filetxt", "jobcomp_filetxt",
        f"{FILETXT_HEAD}a UserId=u012(5012) JobState=FAILED{FILETXT_MIDDLE}/w{FILETXT_TAIL}",
        {"owner_uid": 5017, "state": "COMPLETED", "name": "a UserId=u012(5012) JobState=FAILED"}),
    Row("a folder with fields, filetxt", "jobcomp_filetxt",
        f"{FILETXT_HEAD}a{FILETXT_MIDDLE}/w UserId=u012(5012) ExitCode=9:9{FILETXT_TAIL}",
        {"owner_uid": 5017, "exit_code": 0, "work_dir": "/w UserId=u012(5012) ExitCode=9:9"}),
    Row("a name with quotes", "slurm_jobcomp",
        '{"jobid":7,"user_id":5017,"username":"u017","job_name":"x\\",\\"user_id\\":0","@end":"2026-03-02T19:40:55","state":"COMPLETED"}',
        {"owner_uid": 5017, "name": 'x","user_id":0'}),
    Row("who deleted, named twice", "pbs", "03/02/2026 19:40:41;D;48213.ctl-1;requestor=u099@login-1 requestor=u012@login-1",
        {"job": "48213", "value": "u099@login-1"}),
    Row("an owner, named twice", "pbs",
        "03/02/2026 19:40:41;E;7.ctl-1;user=u017 group=llm jobname=x user=u012 ctime=1772480000 start=1772480001 end=177"
        "2480441 Exit_status=0",
        {"owner": "u017"}),
    Row("a quote in a name", "lsf",
        '"JOB_SIGNAL" "10.1" 1772480441 48213 5099 1 "KILL" 0 "u099"" 7 ""KILL"', {"job": "48213", "value": "KILL"}),
    Row("an entry point with a status", "ray_jobs",
        '{"event_id":"e","timestamp":1772480441,"source_type":"EXPORT_SUBMISSION_JOB","event_data":{"submission_job_id":"r",'
        '"status":"STOPPED","entrypoint":"x\\",\\"status\\":\\"SUCCEEDED"}}', {"change": "cancelled"}),
    # Kubernetes
    Row("an agent with a user", "kubernetes_audit", AUDIT + '"userAgent":"x\\",\\"user\\":{\\"username\\":\\"u012\\"}"}',
        {"user": "u017", "agent": 'x","user":{"username":"u012"}'}),
    Row("a command with another", "kubernetes_audit",
        '{"kind":"Event","auditID":"a","stage":"ResponseComplete","requestURI":"/x/exec?command=sh&command=x%26command%3Dy","verb":"get",'
        '"user":{"username":"u017"},"objectRef":{"resource":"pods","subresource":"exec","name":"p"}}',
        {"user": "u017", "command": ("sh", "x&command=y")}),
    # stores
    Row("a path with a user", "hdfs_audit", HDFS + "src=/ckpt/x\tugi=u012 (auth:SIMPLE)\tcmd=open\tdst=null\tperm=null\tproto=rpc",
        {"user": "u017", "operation": "delete", "address": "10.0.2.15"}),
    Row("the same when tabs were lost", "hdfs_audit",
        (HDFS + "src=/x ugi=u012 (auth:SIMPLE) dst=null perm=null proto=rpc").replace("\t", " "),
        {"user": "u017", "operation": "delete"}),
    Row("a request with a status", "s3_access",
        "7"
        * 64 + ' ckpt [02/Mar/2026:19:40:41 +0000] 10.0.0.7 u017 R1 REST.DELETE.OBJECT step100 "DELETE /step100" 403 AccessDenied - 4 4 - '
        '"-" "x" 200 REST.GET.OBJECT "y"', {"user": "u017", "operation": "REST.DELETE.OBJECT", "success": False}),
    Row("a file name with a user", "lustre_changelog",
        "135 06UNLNK 19:40:41.123456789 2026.03.02 0x1 t=[0x2:0x2:0x0] ef=0xf u=5012:5000 nid=10.0.1.3@tcp p=[0x2:0x2:0x0] a "
        "u=0:0 nid=10.0.0.1@tcp",
        {"uid": 5012, "address": "10.0.1.3"}),
    Row("an agent with an identity", "cloudtrail",
        '{"eventTime":"2026-03-02T19:40:41Z","eventSource":"s3.amazonaws.com","eventName":"DeleteObject","userIdentity":'
        '{"arn":"arn:aws:iam::1:user/u017"},'
        '"userAgent":"[x]\\",\\"userIdentity\\":{\\"arn\\":\\"arn:aws:iam::1:user/u012\\"}"}', {"user": "arn:aws:iam::1:user/u017"}),
    Row("a header with a key", "minio",
        '{"version":"1","time":"2026-03-02T19:40:41Z","api":{"name":"DeleteObject","bucket":"b","object":"o"},"requestID'
        '":"R","accessKey":"u017",'
        '"requestHeader":{"accessKey":"u012"}}', {"user": "u017", "path": "s3://b/o"}),
    Row("an author that is not the pusher", "git_push",
        '{"ref":"refs/heads/main","before":"a","after":"b","sender":{"login":"u017"},"pusher":{"name":"u017"},"commits":'
        '[{"id":"c","author":'
        '{"name":"u012","username":"u012"},"committer":{"username":"u012"}}],"repository":{"full_name":"llm/train"}}', {"user": "u017"}),
    # watchers and bastions
    Row("an output with a user", "falco",
        '{"output":"u012 killed (user=root uid=0)","priority":"Warning","rule":"r","time":"2026-03-02T19:40:41.341081180Z","output_fields":'
        '{"user.name":"u017","user.uid":5017,"proc.cmdline":"x user.name=root uid=0"}}', {"user": "u017", "uid": 5017}),
    Row("arguments with identities", "tetragon",
        '{"process_exec":{"process":{"exec_id":"e","pid":9,"uid":5099,"binary":"/usr/bin/kill","arguments":"-9 1 \\"uid\\":0 auid=0"}},'
        '"node_name":"gpu-001","time":"2026-03-02T19:40:41Z"}', {"uid": 5099, "auid": None, "exe": "/usr/bin/kill"}),
    Row("a command with an event", "teleport",
        '{"event":"exec","code":"T3002I","uid":"t","time":"2026-03-02T19:40:41Z","user":"u017","command":"x\\n{\\"user\\":\\"u012\\"}"}',
        {"user": "u017"}),
    Row("a display name with a login", "jumpserver",
        '<14>osm: session_command_log - {"user":"u012(u012)(u017)","input":"session_command_log - {}","account":"root","'
        'timestamp":1772480441}',
        {"user": "u017", "login": "root"}),
    Row("a path with a user, Wazuh", "wazuh",
        '{"timestamp":"2026-03-02T19:40:41.209+0800","rule":{"level":7},"agent":{"name":"gpu-001"},"decoder":{},"syschec'
        'k":{"path":"/x\' user: root",'
        '"event":"modified","audit":{"user":{"id":"5017","name":"u017"}}}}', {"user": "u017", "uid": 5017}),
    Row("a path with a column", "osquery",
        '{"name":"p","hostIdentifier":"gpu-001","unixTime":1772480441,"columns":{"target_path":"/x\\",\\"uid\\":\\"0","action":"UPDATED",'
        '"uid":"5017"},"action":"added"}', {"owner": "5017"}),
    Row("a name with fields, LAUREL", "laurel",
        '{"ID":"1772480441.311:9001","SYSCALL":{"arch":"0xc000003e","syscall":62,"a0":"0x1267","a1":"0x9","uid":5017,"comm":"x\\" uid=0"}}',
        {"uid": "5017", "comm": 'x" uid=0'}),
    Row("a name with fields, Auditbeat", "auditbeat",
        '{"@timestamp":"2026-03-02T19:40:41.311Z","auditd":{"sequence":9001,"data":{"syscall":"kill","a0":"1267","a1":"9'
        '"}},"user":{"id":"5017"},'
        '"process":{"name":"x\\" uid=0","pid":9}}', {"uid": "5017", "comm": 'x" uid=0'}),
    # the kernel: the name of a process is its own to choose
    Row("a name with a uid, memory", "kernel",
        KERNEL + "Memory cgroup out of memory: Killed process 9 (x) total-vm:0kB, UID:0 (python) total-vm:1kB, anon-rss:1kB, file-rss:0kB, "
        "shmem-rss:0kB, UID:5017 pgtables:1kB oom_score_adj:0", {"pid": 9, "uid": 5017}),
    Row("a name with a pid, memory", "kernel",
        KERNEL + "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,oom_memcg=/a,task_memcg=/a,task=x,pid=1,"
        "uid=0,pid=4711,uid=5017", {"pid": 4711, "uid": 5017}),
    Row("a name with a pid, GPU", "kernel", KERNEL + "NVRM: Xid (PCI:0000:3b:00): 79, pid=9, name=x, pid=8, GPU has fallen off the bus.",
        {"code": 79, "pid": 9}),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.format}: {row.name}")
def test_what_is_forged_stays_text(row: Row) -> None:
    """The real fields, pinned and sniffed alike."""
    line, family = Line(payload=row.text.encode()), registry.by_name(row.format).source
    allowed = next(sources for sources in FAMILIES.values() if family in sources)
    format_, events = registry.parse(line, READING, allowed=allowed)
    assert format_.name == row.format
    assert registry.parse(line, READING, pinned=row.format)[1] == events
    (event,) = events
    body = event.body
    got = body.fields if isinstance(body, AuditRecord) else {name: getattr(body, name) for name in body.__struct_fields__}
    assert {name: got.get(name) for name in row.real} == row.real


TWICE = [
    ("slurm_jobcomp", '{"jobid":7,"user_id":0,"user_id":5017,"@end":"2026-03-02T19:40:55","state":"COMPLETED"}', "owner_uid", 5017),
    ("kubernetes_audit", AUDIT + '"user":{"username":"u099"}}', "user", "u099"),
    ("probe", '{"trainwatch_probe":1,"kind":"process_started","time_ms":1772480441318,"host":"g","job":"7","job":"8","pid":1}', "job", "8"),
]


@pytest.mark.parametrize(("name", "text", "field", "value"), TWICE)
def test_a_key_that_comes_twice(name: str, text: str, field: str, value: object) -> None:
    """The last one holds, for every decoder on the way: no stage sees another value than the next."""
    (line,) = registry.unwrap(text.encode(), [])
    (event,) = registry.parse(line, READING, pinned=name)[1]
    assert getattr(event.body, field) == value


OTHERS = [
    "Mar  2 19:40:41 login-1 u017[9]: sshd[9]: Accepted publickey for root from 10.0.0.1 port 22 ssh2: ED25519 SHA256:abc",
    "Mar  2 19:40:41 login-1 u017: sudo:     u012 : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/kill 1",
    "Mar  2 19:40:41 login-1 u017: kernel: [ 12.5] NVRM: Xid (PCI:0000:3b:00): 79, pid=9, GPU has fallen off the bus.",
    "Mar  2 19:40:41 login-1 u017: osm: login_log - {}",
    "Mar  2 19:40:41 login-1 systemd-logind[812]: New session 858 of user u012. of user u017.",
    "hello slurmstepd: error: *** STEP 7.0 ON gpu-001 CANCELLED AT 2026-03-02T19:40:41 DUE TO TIME LIMIT ***",
]


@pytest.mark.parametrize("text", OTHERS)
def test_a_line_within_another_programs_line(text: str) -> None:
    """The first tag is the program's; what imitates a line behind it is nobody's."""
    with pytest.raises(UnknownFormat):
        registry.parse(Line(payload=text.encode()), READING, allowed=FAMILIES["access"])
