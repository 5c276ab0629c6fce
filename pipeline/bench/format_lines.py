"""A seed in; lines of every payload format out, as its producer writes them, no two alike.

Times, ids, addresses, paths and numbers differ from line to line, as they do in a stream: a parser that is quick only with the line it
has just seen gains nothing here.  Formats whose lines differ in kind get a mix of the kinds that make the bulk of a stream.  The texts
are written for this file and know nothing of the parsers, so that a parser can be wrong about them.

Holds: the same seed gives the same lines; every format of the registry has a maker (a test compares the two lists).
"""

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

Maker = Callable[["Draw"], str]
START = datetime(2026, 3, 2, 10, tzinfo=UTC)


class Draw:
    """Fields of one line.  Time moves on by some milliseconds from line to line."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.now = START
        self.move()

    def move(self) -> None:
        """To the next line."""
        pick = self._random
        self.now += timedelta(milliseconds=pick.randrange(1, 4000), microseconds=pick.randrange(1000))
        self.n = pick.randrange(1, 4_000_000)
        self.m = pick.randrange(1, 65_000)
        self.job = pick.randrange(40_000, 900_000)
        self.uid = pick.randrange(5000, 9000)
        self.user = f"u{self.uid - 5000:03d}"
        self.host = f"gpu-{pick.randrange(1, 2000):03d}"
        self.login = f"login-{pick.randrange(1, 9)}"
        self.address = f"10.{pick.randrange(256)}.{pick.randrange(256)}.{pick.randrange(1, 255)}"
        self.path = f"/lustre/llm/run{pick.randrange(9000)}/step{pick.randrange(1_000_000)}.pt"
        self.x = pick.uniform(0.5, 9.0)

    def of(self, *choices: str) -> str:
        """One of them."""
        return self._random.choice(choices)

    def hex(self, digits: int) -> str:
        """As many random digits."""
        return f"{self._random.getrandbits(4 * digits):0{digits}x}"

    @property
    def iso(self) -> str:
        """Without zone, to the millisecond."""
        return f"{self.now:%Y-%m-%dT%H:%M:%S}.{self.now.microsecond // 1000:03d}"

    @property
    def iso_us(self) -> str:
        """Without zone, to the microsecond."""
        return f"{self.now:%Y-%m-%dT%H:%M:%S.%f}"

    @property
    def seconds(self) -> int:
        """Since 1970."""
        return int(self.now.timestamp())

    @property
    def ms(self) -> int:
        """Since 1970."""
        return int(self.now.timestamp() * 1000)

    @property
    def syslog(self) -> str:
        """The traditional prefix with a login host."""
        return f"{self.now:%b} {self.now.day:2d} {self.now:%H:%M:%S} {self.login}"

    def earlier(self, seconds: int) -> str:
        """ISO to the second, before now."""
        return f"{self.now - timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}"


# --- scheduler ------------------------------------------------------------------------------------------------------------------


def _jobcomp(d: Draw) -> str:
    return (
        f'{{"jobid":{d.job},"container":null,"username":"{d.user}","user_id":{d.uid},"groupname":"llm","group_id":5000,'
        f'"@start":"{d.earlier(d.m)}","@end":"{d.earlier(0)}","elapsed":{d.m},"partition":"h800","alloc_node":"{d.login}",'
        f'"nodes":"{d.host}","total_cpus":128,"total_nodes":1,"derived_ec":"0:9","exit_code":"0:15","state":"CANCELLED",'
        f'"failed_node":null,"cpu_hours":{d.x:.2f},"@submit":"{d.earlier(d.m + 370)}","@eligible":"{d.earlier(d.m + 370)}",'
        f'"@queue_wait":370,"work_dir":"{d.path}","std_out":"{d.path}/slurm-{d.job}.out","time_limit":172800,'
        f'"job_name":"pretrain-{d.m}","tres_alloc":"cpu=128,mem=1000G,node=1,gres/gpu=8"}}'
    )


def _filetxt(d: Draw) -> str:
    return (
        f"JobId={d.job} UserId={d.user}({d.uid}) GroupId=llm(5000) Name=pretrain-{d.m} JobState=COMPLETED Partition=h800 TimeLimit=2880 "
        f"StartTime={d.earlier(d.m)} EndTime={d.earlier(0)} NodeList={d.host} NodeCnt=1 ProcCnt=128 WorkDir={d.path} ReservationName= "
        f"Tres=cpu=128,mem=1000G,node=1,gres/gpu=8 Account=llm QOS=normal WcKey= Cluster=main SubmitTime={d.earlier(d.m + 60)} "
        f"EligibleTime={d.earlier(d.m + 60)} DerivedExitCode=0:0 ExitCode=0:0 "
    )


def _slurmctld(d: Draw) -> str:
    return f"[{d.iso}] " + d.of(
        f"_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId={d.job} uid {d.uid}",
        f"_slurm_rpc_submit_batch_job: JobId={d.job} InitPrio={d.n} usec={d.m}",
        f"sched: Allocate JobId={d.job} NodeList={d.host} #CPUs=128 Partition=h800",
        f"sched/backfill: _start_job: Started JobId={d.job} in h800 on {d.host}",
        f"_job_complete: JobId={d.job} WEXITSTATUS {d.m % 3}",
        f"_job_complete: JobId={d.job} done",
        f"_slurm_rpc_update_job: complete JobId={d.job} uid={d.uid} usec={d.m}",
        f"error: Nodes {d.host} not responding",
        f"Node {d.host} now responding",
        f"cleanup_completing: JobId={d.job} completion process took {d.m} seconds",
    )


def _slurmd(d: Draw) -> str:
    return f"[{d.iso}] " + d.of(
        f"launch task StepId={d.job}.0 request from UID:{d.uid} GID:5000 HOST:{d.address} PORT:{d.m}",
        f"[{d.job}.batch] error: *** JOB {d.job} ON {d.host} CANCELLED AT {d.earlier(1)} ***",
        f"[{d.job}.0] done with job",
        f"_rpc_terminate_job: sent SUCCESS for {d.job}, waiting for prolog to finish",
    )


def _sacct(d: Draw) -> str:
    return (
        f"{d.job}|{d.job}|pretrain-{d.m}|{d.user}|{d.uid}|llm|h800|normal|CANCELLED by {d.uid}|0:15|0:9|{d.earlier(d.m + 60)}"
        f"|{d.earlier(d.m)}|{d.earlier(0)}|{d.m // 3600:02d}:{d.m // 60 % 60:02d}:{d.m % 60:02d}|2-00:00:00|1|{d.host}"
        f"|cpu=128,mem=1000G,node=1,gres/gpu=8|"
    )


def _sacct_json(d: Draw) -> str:
    return (
        f'{{"job_id":{d.job},"name":"pretrain-{d.m}","user":"{d.user}","group":"llm","account":"llm","cluster":"main","partition":"h800",'
        f'"nodes":"{d.host}","failed_node":"","kill_request_user":"{d.user}","restart_cnt":0,"working_directory":"{d.path}",'
        f'"state":{{"current":["CANCELLED"],"reason":"None"}},"exit_code":{{"status":["SIGNALED"],"return_code":'
        f'{{"set":true,"infinite":false,"number":0}},"signal":{{"id":{{"set":true,"infinite":false,"number":15}},"name":"TERM"}}}},'
        f'"derived_exit_code":{{"status":["SUCCESS"],"return_code":{{"set":true,"infinite":false,"number":0}},"signal":'
        f'{{"id":{{"set":false,"infinite":false,"number":0}},"name":""}}}},"time":{{"submission":{d.seconds - d.m - 60},'
        f'"eligible":{d.seconds - d.m - 60},"start":{d.seconds - d.m},"end":{d.seconds},"elapsed":{d.m},"suspended":0,'
        f'"limit":{{"set":true,"infinite":false,"number":2880}}}},"tres":{{"allocated":[{{"type":"cpu","name":"","id":1,"count":128}},'
        f'{{"type":"gres","name":"gpu","id":1001,"count":8}}],"requested":[]}},"steps":[]}}'
    )


def _pbs(d: Draw) -> str:
    return f"{d.now:%m/%d/%Y %H:%M:%S};" + d.of(
        f"E;{d.job}.ctl-1;user={d.user} group=llm jobname=pretrain queue=gpu ctime={d.seconds - d.m} qtime={d.seconds - d.m} "
        f"etime={d.seconds - d.m} start={d.seconds - d.m} exec_host={d.host}/0*8 end={d.seconds} Exit_status=271",
        f"D;{d.job}.ctl-1;requestor={d.user}@{d.login}",
        f"Q;{d.job}.ctl-1;queue=gpu",
    )


def _lsf(d: Draw) -> str:
    return f'"JOB_SIGNAL" "10.1" {d.seconds} {d.job} {d.uid} 1 "KILL" 0 "{d.user}"'


def _ray(d: Draw) -> str:
    return (
        f'{{"event_id":"{d.hex(36)}","timestamp":{d.seconds},"source_type":"EXPORT_SUBMISSION_JOB","event_data":'
        f'{{"submission_job_id":"raysubmit_{d.hex(16)}","status":"STOPPED","message":"stopped","metadata":{{"job_name":"p-{d.m}"}}}}}}'
    )


def _kubernetes_event(d: Draw) -> str:
    return (
        f'{{"kind":"Event","apiVersion":"v1","metadata":{{"name":"{d.user}-{d.hex(8)}","namespace":"llm","uid":"{d.hex(32)}"}},'
        f'"involvedObject":{{"kind":"Pod","namespace":"llm","name":"{d.user}-train-{d.m}","uid":"{d.hex(32)}"}},"reason":"Killing",'
        f'"message":"Stopping container trainer of {d.user}-train-{d.m}","type":"Normal","source":{{"component":"kubelet",'
        f'"host":"{d.host}"}},"count":1,"firstTimestamp":"{d.earlier(0)}Z","lastTimestamp":"{d.earlier(0)}Z"}}'
    )


def _volcano(d: Draw) -> str:
    return (
        f'{{"kind":"Command","apiVersion":"bus.volcano.sh/v1alpha1","metadata":{{"name":"run{d.m}-{d.hex(5)}","namespace":"llm",'
        f'"uid":"{d.hex(32)}","creationTimestamp":"{d.earlier(0)}Z"}},"action":"AbortJob","target":{{"apiVersion":"batch.volcano.sh/v1alpha1",'
        f'"kind":"Job","name":"run{d.m}","uid":"{d.hex(32)}"}}}}'
    )


def _bootstrap(d: Draw) -> str:
    return (
        f'{{"trainwatch_bootstrap":1,"taken":{d.ms},"listed_by":"sacct_json","job":{{"job":"{d.job}","state":"RUNNING",'
        f'"name":"pretrain-{d.m}"}}}}'
    )


# --- training -------------------------------------------------------------------------------------------------------------------


def _probe(d: Draw) -> str:
    return (
        f'{{"trainwatch_probe":1,"kind":"module_imported","time_ms":{d.ms},"host":"{d.host}","job":"{d.job}","pid":{d.n},'
        f'"rank":{d.m % 64},"uid":{d.uid},"module":"torch.m{d.m}","path":"{d.path}","sha256":"{d.hex(64)}"}}'
    )


def _slurmstepd(d: Draw) -> str:
    return d.of(
        f"slurmstepd: error: *** STEP {d.job}.0 ON {d.host} CANCELLED AT {d.earlier(0)} DUE TO TIME LIMIT ***",
        f"srun: error: {d.host}: task {d.m}: Killed",
        f"slurmstepd: error: Detected 1 oom_kill event in StepId={d.job}.0. Some of the step tasks have been OOM Killed.",
        f"srun: error: {d.host}: task {d.m}: Exited with exit code 1",
    )


def _deepspeed(d: Draw) -> str:
    head = f"[{d.now:%Y-%m-%d %H:%M:%S},{d.m % 1000:03d}] [INFO] "
    return head + d.of(
        f"[logging.py:96:log_dist] [Rank 0] step={d.n}, skipped={d.m % 9}, lr=[{d.x / 1e4:.8f}], mom=[(0.9, 0.95)]",
        f"[timer.py:215:stop] epoch=0/micro_step={d.n}/global_step={d.n}, RunningAvgSamplesPerSec={d.x:.6f}, "
        f"CurrSamplesPerSec={d.x:.6f}, MemAllocated=9.1GB, MaxMemAllocated=20.2GB",
        f"[logging.py:96:log_dist] [Rank {d.m % 64}] [Torch] Checkpoint global_step{d.n} is about to be saved!",
    )


def _megatron(d: Draw) -> str:
    return (
        f" iteration {d.n:8d}/ 4000000 | consumed samples: {d.n * 4:12d} | elapsed time per iteration (ms): {d.x * 1000:.1f} | "
        f"learning rate: {d.x / 1e4:.3E} | global batch size:  1024 | lm loss: {d.x:.6E} | loss scale: 16384.0 | "
        f"grad norm: {d.x:.3f} | number of skipped iterations: {d.m % 4:3d} | number of nan iterations:   0 |"
    )


def _mllog(d: Draw) -> str:
    return (
        f'{d.m % 64}: :::MLLOG {{"namespace": "", "time_ms": {d.ms}, "event_type": "POINT_IN_TIME", "key": "train_loss", '
        f'"value": {d.x:.6f}, "metadata": {{"file": "/opt/train/train.py", "lineno": {d.m}, "samples_count": {d.n}}}}}'
    )


def _elastic(d: Draw) -> str:
    return (
        f'{{"name": "torchelastic.worker.status.FAILED", "source": "WORKER", "timestamp": {d.ms}, "metadata": {{"run_id": "{d.job}", '
        f'"global_rank": {d.m % 512}, "group_rank": {d.m % 64}, "worker_id": "{d.n}", "role": "default", "hostname": "{d.host}", '
        f'"state": "FAILED", "total_run_time": {d.m}, "rdzv_backend": "c10d", "raw_error": null, "agent_restarts": 0}}}}'
    )


def _nccl(d: Draw) -> str:
    rank = d.m % 512
    return d.of(
        f"{d.host}:{d.n}:{d.m} [{d.m % 8}] NCCL INFO Channel {d.m % 32:02d}/0 : {rank}[{d.m % 8}] -> {rank + 1}[1] via P2P/IPC/read",
        f"{d.host}:{d.n}:{d.m} [{d.m % 8}] proxy.cc:{d.m % 2000} NCCL WARN [Service thread] Accept failed {d.x:.3f}",
        f"[rank{rank}]:[E302 {d.now:%H:%M:%S}.{d.m:09d} ProcessGroupNCCL.cpp:629] [Rank {rank}] Watchdog caught collective operation "
        f"timeout: WorkNCCL(SeqNum={d.n}, OpType=ALLREDUCE, NumelIn=4, NumelOut=4, Timeout(ms)=600000) ran for {600_000 + d.m} "
        "milliseconds before timing out.",
    )


def _lightning(d: Draw) -> str:
    return (
        f"Epoch {d.m % 9}: :  12%|#2        | {d.m}/65333 [00:51<06:17,  {d.x:.2f}it/s, v_num=a1, reduced_train_loss={d.x:.3f}, "
        f"global_step={d.m % 999}.0]"
    )


def _hf_trainer(d: Draw) -> str:
    return f"{{'loss': {d.x:.4f}, 'grad_norm': {d.x * 2:.6f}, 'learning_rate': {d.x / 1e5:.3e}, 'epoch': {d.x / 9:.2f}}}"


def _json_logger(d: Draw) -> str:
    return (
        f'{{"step": {d.n}, "loss": {d.x:.6f}, "lr": {d.x / 1e4:.8f}, "grad_norm": {d.x * 2:.4f}, "time": {d.ms / 1000:.3f}, '
        f'"tokens_per_second": {d.m}}}'
    )


def _torchrun(d: Draw) -> str:
    agent = "torch.distributed.elastic.multiprocessing.api"
    glog = f"W{d.now:%m%d %H:%M:%S}.{d.m:06d} {d.n} {agent.replace('.', '/')}.py:906] "
    return d.of(
        f"WARNING:{agent}:Sending process {d.n} closing signal SIGTERM",
        f"{glog}Sending process {d.n} closing signal SIGTERM",
        f"ERROR:{agent}:failed (exitcode: -9) local_rank: {d.m % 8} (pid: {d.n}) of binary: /usr/bin/python",
        f'  File "/opt/train/m{d.m}.py", line {d.m % 900}, in forward_{d.n}',
        f"RuntimeError: CUDA error at step {d.n}",
        f"    loss_{d.m} = model(batch, {d.n})",
    )


# --- access ---------------------------------------------------------------------------------------------------------------------


def _auditd(d: Draw) -> str:
    stamp = f"msg=audit({d.seconds}.{d.m % 1000:03d}:{d.n}): "
    return d.of(
        f"type=SYSCALL {stamp}arch=c000003e syscall=62 success=yes exit=0 a0={d.hex(4)} a1=9 a2=0 a3={d.hex(6)} items=0 ppid={d.m} "
        f"pid={d.n} auid={d.uid} uid={d.uid} gid=5000 euid={d.uid} suid={d.uid} fsuid={d.uid} egid=5000 sgid=5000 fsgid=5000 tty=pts3 "
        f'ses={d.m} comm="bash" exe="/usr/bin/bash" key="kill_signals"',
        f'type=OBJ_PID {stamp}opid={d.n} oauid={d.uid} ouid={d.uid} oses={d.m} ocomm="python3"',
        f'type=PATH {stamp}item=0 name="{d.path}" inode={d.n} dev=08:01 mode=0100644 ouid={d.uid} ogid=5000 rdev=00:00 nametype=DELETE '
        "cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0",
        f"type=PROCTITLE {stamp}proctitle=2D62{d.hex(8).upper()}",
        f'type=EXECVE {stamp}argc=3 a0="scancel" a1="-s" a2="{d.job}"',
        f'type=CWD {stamp}cwd="{d.path}"',
        f'type=USER_START {stamp}pid={d.n} uid=0 auid={d.uid} ses={d.m} msg=\'op=PAM:session_open grantors=pam_unix acct="{d.user}" '
        f'exe="/usr/sbin/sshd" hostname={d.address} addr={d.address} terminal=ssh res=success\'',
        f"type=EOE {stamp}",
    )


def _sshd(d: Draw) -> str:
    head = f"{d.syslog} sshd[{d.n}]: "
    return d.of(
        f"{head}Accepted publickey for {d.user} from {d.address} port {d.m} ssh2: ED25519 SHA256:{d.hex(43)}",
        f"{head}Failed password for invalid user x{d.m} from {d.address} port {d.m} ssh2",
        f"{head}pam_unix(sshd:session): session opened for user {d.user}(uid={d.uid}) by (uid=0)",
        f"{head}pam_unix(sshd:session): session closed for user {d.user}",
        f"{head}Disconnected from user {d.user} {d.address} port {d.m}",
        f"{head}Received disconnect from {d.address} port {d.m}:11: disconnected by user",
        f"{d.syslog} sudo: {d.user} : TTY=pts/{d.m % 90} ; PWD=/lustre ; USER=root ; COMMAND=/usr/bin/kill -9 {d.n}",
        f"{d.syslog} systemd-logind[812]: New session {d.n} of user {d.user}.",
    )


def _kernel(d: Draw) -> str:
    head = f"{d.iso}+00:00 {d.host} kernel: [{d.n}.{d.m:06d}] "
    return head + d.of(
        f"NVRM: Xid (PCI:0000:{d.m % 256:02x}:00): 79, pid={d.n}, name=python, GPU has fallen off the bus.",
        f"Memory cgroup out of memory: Killed process {d.n} (python) total-vm:{d.n}kB, anon-rss:{d.m}kB, file-rss:0kB, shmem-rss:0kB, "
        f"UID:{d.uid} pgtables:{d.m}kB oom_score_adj:0",
        f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=job_{d.job},mems_allowed=0-1,oom_memcg=/slurm/job_{d.job},"
        f"task_memcg=/slurm/job_{d.job},task=python,pid={d.n},uid={d.uid}",
    )


def _laurel(d: Draw) -> str:
    return (
        f'{{"ID":"{d.seconds}.{d.m % 1000:03d}:{d.n}","NODE":"{d.host}","SYSCALL":{{"arch":"0xc000003e","syscall":62,"success":"yes",'
        f'"exit":0,"items":0,"ppid":{d.m},"pid":{d.n},"auid":{d.uid},"uid":{d.uid},"gid":5000,"euid":{d.uid},"tty":"pts3","ses":{d.m},'
        f'"comm":"bash","exe":"/usr/bin/bash","key":"kill_signals","ARCH":"x86_64","SYSCALL":"kill","a0":"0x{d.hex(4)}","a1":"0x9"}},'
        f'"OBJ_PID":[{{"opid":{d.n},"oauid":{d.uid},"ouid":{d.uid},"oses":{d.m},"ocomm":"python3"}}],"PROCTITLE":{{"ARGV":["-bash"]}}}}'
    )


def _auditbeat(d: Draw) -> str:
    return (
        f'{{"@timestamp":"{d.iso}Z","host":{{"name":"{d.host}"}},"event":{{"module":"auditd","action":"killed-pid","outcome":"success"}},'
        f'"auditd":{{"sequence":{d.n},"session":"{d.m}","result":"success","data":{{"arch":"x86_64","syscall":"kill","a0":"{d.hex(4)}",'
        f'"a1":"9","exit":"0","tty":"pts3"}}}},"process":{{"pid":{d.n},"parent":{{"pid":{d.m}}},"name":"bash",'
        f'"executable":"/usr/bin/bash"}},"user":{{"id":"{d.uid}","name":"{d.user}","audit":{{"id":"{d.uid}"}}}},"tags":["kill_signals"]}}'
    )


def _kubernetes_audit(d: Draw) -> str:
    return (
        f'{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{d.hex(32)}","stage":"ResponseComplete",'
        f'"requestURI":"/api/v1/namespaces/llm/pods/{d.user}-train-{d.m}","verb":"delete","user":{{"username":"{d.user}",'
        f'"groups":["llm","system:authenticated"]}},"sourceIPs":["{d.address}"],"userAgent":"kubectl/v1.33.1","objectRef":'
        f'{{"resource":"pods","namespace":"llm","name":"{d.user}-train-{d.m}","apiVersion":"v1"}},"responseStatus":{{"metadata":{{}},'
        f'"code":200}},"requestReceivedTimestamp":"{d.iso_us}Z","stageTimestamp":"{d.iso_us}Z","annotations":'
        f'{{"authorization.k8s.io/decision":"allow"}}}}'
    )


def _falco(d: Draw) -> str:
    return (
        f'{{"uuid":"{d.hex(32)}","hostname":"{d.host}","output":"{d.iso}: Warning kill by {d.user} ({d.path})","output_fields":'
        f'{{"evt.time.iso8601":{d.ms}000000,"evt.type":"openat","fd.name":"{d.path}","proc.cmdline":"rm {d.path}","proc.name":"rm",'
        f'"proc.pname":"bash","proc.exepath":"/usr/bin/rm","proc.pid":{d.n},"user.name":"{d.user}","user.uid":{d.uid},'
        f'"user.loginuid":-1,"container.id":"{d.hex(12)}"}},"priority":"Warning","rule":"Write below checkpoints","source":"syscall",'
        f'"tags":["filesystem"],"time":"{d.iso_us}180Z"}}'
    )


def _tetragon(d: Draw) -> str:
    return (
        f'{{"process_exec":{{"process":{{"exec_id":"{d.hex(48)}","pid":{d.n},"uid":{d.uid},"auid":{d.uid},"cwd":"/lustre",'
        f'"binary":"/usr/bin/kill","arguments":"-9 {d.m}","flags":"execve clone","start_time":"{d.iso_us}123Z",'
        f'"parent_exec_id":"{d.hex(48)}"}},"parent":{{"exec_id":"{d.hex(48)}","pid":{d.m},"uid":{d.uid},"binary":"/usr/bin/bash"}}}},'
        f'"node_name":"{d.host}","time":"{d.iso_us}123Z"}}'
    )


def _hdfs(d: Draw) -> str:
    return (
        f"{d.now:%Y-%m-%d %H:%M:%S},{d.m % 1000:03d} INFO FSNamesystem.audit: allowed=true\tugi={d.user} (auth:SIMPLE)\t"
        f"ip=/{d.address}\tcmd=delete\tsrc={d.path}\tdst=null\tperm=null\tproto=rpc"
    )


def _github(d: Draw) -> str:
    return (
        f'{{"ref":"refs/heads/b{d.m}","before":"{d.hex(40)}","after":"{d.hex(40)}","repository":{{"full_name":"llm/train",'
        f'"pushed_at":{d.seconds}}},"pusher":{{"name":"{d.user}"}},"sender":{{"login":"{d.user}"}},"created":false,"deleted":false,'
        f'"forced":true,"commits":[{{"id":"{d.hex(40)}","timestamp":"{d.earlier(60)}Z","author":{{"name":"{d.user}"}},"added":[],'
        f'"modified":["train/m{d.n}.py"],"removed":[]}}]}}'
    )


def _cloudtrail(d: Draw) -> str:
    return (
        f'{{"eventVersion":"1.09","userIdentity":{{"type":"IAMUser","arn":"arn:aws:iam::777777777777:user/{d.user}",'
        f'"accessKeyId":"AKIA{d.hex(16)}","userName":"{d.user}"}},"eventTime":"{d.earlier(0)}Z","eventSource":"s3.amazonaws.com",'
        f'"eventName":"DeleteObject","awsRegion":"eu-central-1","sourceIPAddress":"{d.address}","userAgent":"aws-cli/2.15",'
        f'"requestParameters":{{"bucketName":"ckpt","key":"{d.path[1:]}"}},"responseElements":null,"requestID":"{d.hex(16)}",'
        f'"eventID":"{d.hex(32)}","readOnly":false,"eventType":"AwsApiCall"}}'
    )


def _minio(d: Draw) -> str:
    return (
        f'{{"version":"1","deploymentid":"{d.hex(32)}","time":"{d.iso_us}123Z","trigger":"incoming","api":{{"name":"DeleteObject",'
        f'"bucket":"ckpt","object":"{d.path[1:]}","status":"No Content","statusCode":204,"timeToResponse":"{d.m}ns"}},'
        f'"remotehost":"{d.address}","requestID":"{d.hex(16)}","userAgent":"MinIO (linux; amd64)","accessKey":"{d.user}"}}'
    )


def _s3_access(d: Draw) -> str:
    return (
        f"{d.hex(64)} ckpt [{d.now:%d/%b/%Y:%H:%M:%S} +0000] {d.address} arn:aws:iam::777777777777:user/{d.user} {d.hex(16).upper()} "
        f'REST.DELETE.OBJECT {d.path[1:]} "DELETE {d.path} HTTP/1.1" 204 - - {d.n} {d.m % 90} - "-" "aws-cli/2.15" -'
    )


def _lustre(d: Draw) -> str:
    return (
        f"{d.n} 06UNLNK {d.now:%H:%M:%S}.{d.m:09d} {d.now:%Y.%m.%d} 0x1 t=[0x{d.hex(9)}:0x{d.hex(4)}:0x0] j=python3.{d.uid} ef=0xf "
        f"u={d.uid}:5000 nid={d.address}@tcp p=[0x200000401:0x5:0x0] step{d.n}.pt"
    )


def _teleport(d: Draw) -> str:
    return (
        f'{{"event":"session.command","code":"T4000I","uid":"{d.hex(32)}","time":"{d.iso}Z","user":"{d.user}","login":"root",'
        f'"sid":"{d.hex(32)}","server_hostname":"{d.host}","server_id":"{d.hex(32)}","pid":{d.n},"ppid":{d.m},"path":"/usr/bin/kill",'
        f'"program":"kill","argv":["-9","{d.m}"],"return_code":0}}'
    )


def _jumpserver(d: Draw) -> str:
    return (
        f'<14>osm: session_command_log - {{"id":"{d.hex(32)}","user":"{d.user}({d.user})","asset":"{d.host}({d.address})",'
        f'"account":"root(root)","input":"kill -9 {d.n}","output":"","session":"{d.hex(32)}","timestamp":{d.seconds},'
        f'"remote_addr":"{d.address}"}}'
    )


def _wazuh(d: Draw) -> str:
    return (
        f'{{"timestamp":"{d.iso}+0800","rule":{{"id":"550","level":7,"description":"Integrity checksum changed.","groups":["syscheck"]}},'
        f'"agent":{{"id":"{d.m}","name":"{d.host}"}},"manager":{{"name":"wz-1"}},"id":"{d.seconds}.{d.n}","syscheck":{{"path":"{d.path}",'
        f'"mode":"whodata","event":"modified","changed_attributes":["size","mtime","sha256"],"size_after":"{d.n}",'
        f'"sha256_before":"{d.hex(64)}","sha256_after":"{d.hex(64)}","uname_after":"{d.user}","audit":{{"login_user":{{"id":"{d.uid}",'
        f'"name":"{d.user}"}},"process":{{"id":"{d.n}","name":"/usr/bin/vim"}}}}}},"decoder":{{"name":"syscheck_integrity_changed"}},'
        f'"location":"syscheck"}}'
    )


def _osquery(d: Draw) -> str:
    return (
        f'{{"name":"pack_x_file_events","hostIdentifier":"{d.host}","unixTime":{d.seconds},"epoch":0,"counter":{d.m},"columns":'
        f'{{"target_path":"{d.path}","action":"UPDATED","category":"ckpt","sha256":"{d.hex(64)}","size":"{d.n}","uid":"{d.uid}",'
        f'"eid":"{d.n}","time":"{d.seconds}"}},"action":"added"}}'
    )


MAKERS: Mapping[str, Maker] = {
    "probe": _probe, "slurm_jobcomp": _jobcomp, "slurmctld": _slurmctld, "auditd": _auditd, "sacct": _sacct, "slurmd": _slurmd,
    "jobcomp_filetxt": _filetxt, "sacct_json": _sacct_json, "pbs": _pbs, "lsf": _lsf, "ray_jobs": _ray,
    "kubernetes_events": _kubernetes_event, "sshd": _sshd, "kernel": _kernel, "laurel": _laurel, "auditbeat": _auditbeat,
    "kubernetes_audit": _kubernetes_audit, "falco": _falco, "tetragon": _tetragon, "hdfs_audit": _hdfs, "git_push": _github,
    "cloudtrail": _cloudtrail, "minio": _minio, "s3_access": _s3_access, "lustre_changelog": _lustre, "teleport": _teleport,
    "wazuh": _wazuh, "osquery": _osquery, "slurmstepd": _slurmstepd, "deepspeed": _deepspeed, "megatron": _megatron, "mllog": _mllog,
    "elastic": _elastic, "nccl": _nccl, "lightning": _lightning, "hf_trainer": _hf_trainer, "json_logger": _json_logger,
    "torchrun": _torchrun, "volcano": _volcano, "jumpserver": _jumpserver, "bootstrap": _bootstrap,
}  # fmt: skip


def lines_of(name: str, count: int, seed: int = 1) -> list[bytes]:
    """As many lines of the format."""
    draw = Draw(seed)
    make = MAKERS[name]
    lines = []
    for _ in range(count):
        lines.append(make(draw).encode())
        draw.move()
    return lines
