"""Every line that occurs has the shape of a real one."""

import re
from collections import Counter

import pytest

from tests.unit.simulate.reading import Told

SECOND = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
OFFSET = SECOND + r"\+0800"
JOB = r"JobId=\d+"
NODES = r"gpu-(\d{3}|\[\d{3}(-\d{3})?(,\d{3}(-\d{3})?)*\])"
PREFIX = r"type={} msg=audit\(\d{{10}}\.\d{{3}}:\d+\): "
IDS = r"auid=\d+ uid=\d+ gid=\d+ euid=\d+ suid=\d+ fsuid=\d+ egid=\d+ sgid=\d+ fsgid=\d+"
SYSLOG = r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d (gpu-\d{3}|login-[12]|ctl-1) "
ELASTIC = (
    r"([WE]\d{4} \d\d:\d\d:\d\d\.\d{6} \d{15} torch/\S+\.py:\d+\] |(WARNING|ERROR):torch\.distributed\.elastic\.multiprocessing\.api:)"
)

# A prefix by which the family is found in its file, and the shapes that its lines may have.
CONTROLLER = [
    rf"_slurm_rpc_submit_batch_job: {JOB} InitPrio=\d+ usec=\d+",
    rf"_slurm_rpc_kill_job: REQUEST_KILL_JOB {JOB} uid \d+",
    rf"error: Security violation, REQUEST_KILL_JOB RPC for {JOB} from uid \d+",
    rf"_slurm_rpc_kill_job: job_str_signal\(\) uid=\d+ {JOB} sig=9 returned: Access/permission denied",
    rf"_slurm_rpc_kill_job: job_str_signal\(\) uid=\d+ {JOB} sig=9 returned: Job/step already completing or completed",
    rf"sched: Allocate {JOB} NodeList={NODES} #CPUs=\d+ Partition=h800",
    rf"sched/backfill: _start_job: Started {JOB} in h800 on {NODES}",
    rf"_job_complete: {JOB} (WEXITSTATUS \d+|WTERMSIG 53|OOM failure|done)",
    rf"Time limit exhausted for {JOB}",
    rf"preempted {JOB} has been (killed|requeued) to reclaim resources for {JOB}",
    rf"requeue job {JOB} due to failure of node gpu-\d{{3}}",
    rf"Killing {JOB} on failed node gpu-\d{{3}}",
    r"error: Nodes gpu-\d{3} not responding(, setting DOWN)?",
    r"Node gpu-\d{3} now responding",
    r"update_node: node gpu-\d{3} reason set to: Xid \d+",
    r"drain_nodes: node gpu-\d{3} state set to DRAIN",
    r"debug:  sched: Running job scheduler for full queue\.",
    r"debug:  sched/backfill: _attempt_backfill: beginning",
]
AUDIT = [
    PREFIX.format("SYSCALL") + rf"arch=c000003e syscall=\d+ success=(yes|no) exit=-?\d+ a0=[0-9a-f]+ a1=[0-9a-f]+ a2=[0-9a-f]+ "
    rf'a3=[0-9a-f]+ items=\d ppid=\d+ pid=\d+ {IDS} tty=(\(none\)|pts\d+) ses=\d+ comm="\S+" exe="/\S+" key="\w+"(\x1dARCH=x86_64 .*)?',
    PREFIX.format("OBJ_PID") + r'opid=\d+ oauid=(-1|\d+) ouid=\d+ oses=(-1|\d+) ocomm="\S+"',
    PREFIX.format("CWD") + r'cwd="/\S*"',
    PREFIX.format("PATH") + r'item=\d name="/\S+" inode=\d+ dev=00:2d mode=0\d{5,6} ouid=\d+ ogid=\d+ rdev=00:00 '
    r"nametype=(PARENT|NORMAL|CREATE|DELETE) cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0",
    PREFIX.format("EXECVE") + r'argc=\d+( a\d+="\S+")+',
    PREFIX.format("PROCTITLE") + r'proctitle=("\S+"|([0-9A-F]{2})+)',
    PREFIX.format("EOE"),
    PREFIX.format("(USER_ACCT|CRED_ACQ|CRED_DISP|USER_START|USER_END|USER_LOGIN|USER_AUTH|USER_CMD|SERVICE_START|SERVICE_STOP)")
    + r"pid=\d+ uid=\d+ auid=\d+ ses=\d+ msg='.* res=success'",
    PREFIX.format("LOGIN") + r"pid=\d+ uid=0 old-auid=4294967295 auid=\d+ tty=\(none\) old-ses=4294967295 ses=\d+ res=1",
    PREFIX.format("DAEMON_START") + r"op=start ver=3\.0\.9 format=raw kernel=\S+ auid=4294967295 pid=\d+ uid=0 ses=4294967295 res=success",
]
HOST = [
    SYSLOG + r"sshd\[\d+\]: Accepted publickey for u\d{3} from [\d.]+ port \d+ ssh2: ED25519 SHA256:[A-Za-z0-9+/]{43}",
    SYSLOG + r"sshd\[\d+\]: Failed password for (root|invalid user [a-z ]+) from 203\.0\.113\.\d+ port \d+ ssh2",
    SYSLOG + r"sshd\[\d+\]: Disconnected from user u\d{3} [\d.]+ port \d+",
    SYSLOG + r"sshd\[\d+\]: pam_unix\(sshd:session\): session (opened for user u\d{3}\(uid=\d+\) by \(uid=0\)|closed for user u\d{3})",
    SYSLOG + r"systemd-logind\[\d+\]: (New session \d+ of user u\d{3}|Removed session \d+)\.",
    SYSLOG + r"sudo:     u\d{3} : TTY=pts/\d+ ; PWD=/home/u\d{3} ; USER=root ; COMMAND=/\S.*",
    SYSLOG + r"sudo: pam_unix\(sudo:session\): session opened for user root\(uid=0\) by \(uid=\d+\)",
    SYSLOG + r"su\[\d+\]: \(to u\d{3}\) u\d{3} on pts/\d+",
    SYSLOG + r"su\[\d+\]: pam_unix\(su-l:session\): session opened for user u\d{3}\(uid=\d+\) by u\d{3}\(uid=0\)",
    SYSLOG + r"CRON\[\d+\]: pam_unix\(cron:session\): session (opened for user root\(uid=0\) by \(uid=0\)|closed for user root)",
    SYSLOG + r"rsyslogd: -- MARK --",
    SYSLOG + r"kernel: \[ *\d+\.\d{6}\] NVRM: Xid \(PCI:0000:[0-9a-f]{2}:00\): \d+, pid=\d+, name=python3, .+",
    SYSLOG
    + r"kernel: \[ *\d+\.\d{6}\] (oom-kill:constraint=CONSTRAINT_MEMCG,.*,pid=\d+,uid=\d+|Memory cgroup out of memory: Killed process .*)",
    SYSLOG + r"kernel: \[ *\d+\.\d{6}\] mlx5_core 0000:5e:00\.0 ens1np0: Link (down|up)",
]
PROGRESS = (
    rf" (\[{SECOND.replace('T', ' ')}\.\d{{3}}\] )?iteration +\d+/ *\d+ \| consumed samples: +\d+ \| "
    r"elapsed time per iteration \(ms\): [\d.]+ \| learning rate: \S+ \| global batch size: +\d+ \| "
    r"lm loss: \d\.\d{6}E[+-]\d\d \| loss scale: 1\.0 \| grad norm: [\d.]+ \| "
    r"number of skipped iterations:   0 \| number of nan iterations:   0 \|"
)
WATCHDOG = (
    r"\[rank\d+\]:\[E\d{4} \d\d:\d\d:\d\d\.\d{9} ProcessGroupNCCL\.cpp:\d+\] \[Rank \d+\] "
    r"(Watchdog caught collective operation timeout: WorkNCCL\(SeqNum=\d+, OpType=ALLREDUCE, NumelIn=\d+, NumelOut=\d+, "
    r"Timeout\(ms\)=\d+\) ran for \d+ milliseconds before timing out\.|"
    r"To avoid data inconsistency, we are taking the entire process down\.)"
)
OUTPUT = [
    PROGRESS,
    WATCHDOG,
    r"saving checkpoint at iteration +\d+ to /lustre/ckpt/u\d{3}/run\d+",
    r"  successfully saved checkpoint at iteration +\d+ to /lustre/ckpt/u\d{3}/run\d+",
    r" loading checkpoint from /lustre/ckpt/u\d{3}/run\d+ at iteration \d+",
    r"  successfully loaded checkpoint from /lustre/ckpt/u\d{3}/run\d+ \[ t 0/1, p 0/1 \] at iteration \d+",
    ELASTIC + r"Sending process \d+ closing signal SIGTERM",
    ELASTIC + r"failed \(exitcode: (1|-\d+)\) local_rank: \d \(pid: \d+\) of binary: /\S+",
    r"slurmstepd: error: \*\*\* (STEP \d+\.0|JOB \d+) ON gpu-\d{3} CANCELLED AT "
    + SECOND
    + r"( DUE TO (TIME LIMIT|PREEMPTION|NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS))? \*\*\*",
    r"slurmstepd: error: Detected 1 oom_kill event in StepId=\d+\.0\. Some of the step tasks have been OOM Killed\.",
    r"srun: error: gpu-\d{3}: tasks? [\d,-]+: (Killed|Terminated|Out Of Memory|Aborted \(core dumped\)|Exited with exit code -?\d+)",
    r"srun: Job step aborted: Waiting up to 32 seconds for job step to finish\.",
    r"gpu-\d{3}:\d+:\d+ \[\d\] (NCCL INFO Bootstrap : Using eth0:[\d.]+<0>|misc/socket\.cc:58 NCCL WARN socketProgress: .*)",
    r"(\[rank\d+\]: )?(Traceback \(most recent call last\):|  File \"/\S+\", line \d+, in [<>\w]+|    \S.*|[\w.]+Error: .+)",
    r"torch\.distributed\.elastic\.multiprocessing\.errors\.ChildFailedError: ",
    r"=+|-+|pretrain_gpt\.py FAILED|Failures:|  <NO_OTHER_FAILURES>|Root Cause \(first observed failure\):|\[0\]:",
    r"  time      : \d{4}-\d\d-\d\d_\d\d:\d\d:\d\d|  host      : gpu-\d{3}",
    r"  rank      : \d+ \(local_rank: \d\)|  exitcode  : -?\d+ \(pid: \d+\)",
    r"  error_file: <N/A>|  traceback : (Signal \d+ \(SIG[A-Z]+\) received by PID \d+|To enable traceback see: \S+)",
    r"\[after training is done\] datetime: " + SECOND,
]
LASTED = r"(\d+-)?\d\d:\d\d:\d\d"
JOB_ROW = (
    r"\d+\|\d+\|[\w-]+\|u\d{3}\|\d+\|\w+\|h800\|(high|normal|scavenger)\|([A-Z_]+|CANCELLED by \d+)\|\d+:\d+\|\d+:\d+\|"
    rf"{OFFSET}\|({OFFSET}\|({OFFSET}|Unknown)|None\|{OFFSET})\|{LASTED}\|{LASTED}\|\d+\|({NODES}|None assigned)\|.*\|\d+"
)
STEP_ROW = (
    r"(\d+\.(batch|extern|0)\|){2}\w+\|\|\|\w+\|\|\|[A-Z_]+\|\d+:\d+\|\|"
    rf"{OFFSET}\|{OFFSET}\|({OFFSET}|Unknown)\|{LASTED}\|\|\d+\|{NODES}\|\S+\|"
)
ACCOUNTING = [
    JOB_ROW,
    STEP_ROW,
    r"JobID\|JobIDRaw\|JobName\|.*\|Restarts",
]

FAMILIES = {
    "slurmctld.log": (r"slurmctld\.log$", CONTROLLER),
    "audit.log": (r"audit\.log$", AUDIT),
    "syslog": (r"^/var/log/(auth\.log|kern\.log|syslog)$", HOST),
    "job output": (r"slurm-\d+\.out$", OUTPUT),
    "sacct": (r"sacct", ACCOUNTING),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_line_has_a_known_shape_and_every_shape_occurs(family: str, told: Told) -> None:
    """No line of the family is of another shape, and no shape of the table is dead."""
    where, shapes = FAMILIES[family]
    compiled = [re.compile(shape) for shape in shapes]
    seen: Counter[str] = Counter()
    strip = 26 if family == "slurmctld.log" else 0
    for text in told.texts:
        if re.search(where, text.file):
            line = text.line[strip:]
            shape = next((shape.pattern for shape in compiled if shape.fullmatch(line)), None)
            assert shape is not None, text.line
            seen[shape] += 1
    assert [shape for shape in shapes if not seen[shape]] == []


def test_probe_lines_have_the_agreed_fields(told: Told) -> None:
    """The fields of our own format, no more and no fewer, for each kind."""
    common = {"trainwatch_probe", "kind", "time_ms", "host", "job", "pid"}
    own = {
        "process_started": {"rank", "local_rank", "uid"},
        "checkpoint_saved": {"uid", "path", "sha256", "size_bytes"},
        "checkpoint_loaded": {"uid", "path", "sha256", "size_bytes"},
        "module_imported": {"module", "path", "sha256"},
    }
    assert {event["kind"] for event in told.probe} == set(own)
    for event in told.probe:
        assert set(event) == common | own[event["kind"]]
        assert re.fullmatch(r"[0-9a-f]{64}", event.get("sha256", "0" * 64))
