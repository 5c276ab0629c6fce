"""A line of slurmd's log in; what the daemon of a node did for a job, and for whom, out.

    [2026-03-02T19:40:41.318] launch task StepId=7.0 request from UID:5017 GID:5000 HOST:10.0.0.7 PORT:51234
    [2026-03-02T19:40:41.318] [7.0] error: *** STEP 7.0 ON gpu-001 CANCELLED AT 2026-03-02T19:40:41 DUE TO TIME LIMIT ***
    [2026-03-02T19:40:41.318] debug:  kill req from uid 5099 for StepId=7.0 owned by uid 5017

slurmstepd writes here too, after the step in brackets.  Unlike the job's own output this file is not the job's to write, so that its
`CANCELLED` is the scheduler's word.  A signal to a step goes straight to this daemon and never to the controller: `kill req` stands here
only when it was refused, and only at debug level; a permitted one leaves `Sent signal` behind, without who sent it.

Time formats are the controller's; the line may come through syslog, or as `slurmd: ` or `slurmd-gpu-001: ` of a daemon in the foreground.

Layout: `kill req` after versions of github.com/SchedMD/slurm src/slurmd/slurmd/req.c, launches after lines quoted in public reports, the
rest by knowledge of the same files.  Not verified on a file of a site.
Holds: linear time; texts that are in no table are UnknownFormat.
"""

import re
from collections.abc import Callable, Sequence

from pipeline.errors import UnknownFormat
from pipeline.formats import syslog
from pipeline.formats.choosing import TEXT
from pipeline.formats.fields import bounded_int, checked_time, text_of
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads.slurmctld import without_time
from pipeline.formats.payloads.slurmstepd import of_daemon
from pipeline.formats.ranks import Labelled
from pipeline.model.events import AnyBody, DaemonNote, KillRequest, Parsed, TrainingLine
from pipeline.model.source import Source

TEXT_CHARACTERS_MAX = 500
HEAD_BYTES = 400
_FOREGROUND = re.compile(r"slurmd(?:-[A-Za-z0-9._-]{1,255})?: ")
_STEP_PREFIX = re.compile(r"\[([0-9]{1,10})\.([A-Za-z0-9+_-]{1,32})\] ")
_LEVEL = re.compile(r"(error|fatal|info|verbose|debug[1-5]?): {1,2}")
_STEP = r"(?:StepId=|step |job )([0-9]{1,10})(?:\.([A-Za-z0-9+_]{1,32}))?"
_CLAIM = re.compile(rb"\[[^\]]{8,60}\] (?:\[[0-9]{1,10}\.|[a-z]{1,12}[0-9]?: |[a-z_]|[A-Z])")
_TAGGED = re.compile(rb"[ >]slurm(?:d|stepd)(?:\[[0-9]{1,10}\])?(?:: | [0-9-]{1,10} | \[)")
_Build = Callable[[re.Match[str]], AnyBody]


def _launch(found: re.Match[str]) -> AnyBody:
    return DaemonNote(what="launch", job=found[1], step=found[2] or "", uid=bounded_int(found[3]))


def _batch(found: re.Match[str]) -> AnyBody:
    return DaemonNote(what="launch", job=found[1], step="batch", uid=bounded_int(found[2]))


def _refused(found: re.Match[str]) -> AnyBody:
    return KillRequest(job=found[2], uid=bounded_int(found[1]), refused=True)


def _violation(found: re.Match[str]) -> AnyBody:
    named = re.search(r"(?:job |JobId=|StepId=)([0-9]{1,10})", found[0])
    return DaemonNote(what="refused", uid=bounded_int(found[1]), job=named[1] if named else "", text=found[0][:TEXT_CHARACTERS_MAX])


def _sent(found: re.Match[str]) -> AnyBody:
    signal = _SIGNALS.get(found[1]) or (int(found[1]) if found[1].isdigit() else None)
    return DaemonNote(what="signal", job=found[2], step=found[3] or "", signal=signal)


def _of(what: str) -> _Build:
    def build(found: re.Match[str]) -> AnyBody:
        named = _NAMED.search(found[0][:TEXT_CHARACTERS_MAX])
        job, step = (named[1], named[2] or "") if named else ("", "")
        return DaemonNote(what=what, job=job, step=step, text=found[0][:TEXT_CHARACTERS_MAX])

    return build


_NAMED = re.compile(r"(?:StepId=|JobId=|\bjob |\bstep )([0-9]{1,10})(?:\.([A-Za-z0-9+_]{1,32}))?")
_SIGNALS = {"SIGHUP": 1, "SIGINT": 2, "SIGKILL": 9, "SIGUSR1": 10, "SIGUSR2": 12, "SIGTERM": 15, "SIGCONT": 18, "SIGSTOP": 19}
_TABLE: tuple[tuple[re.Pattern[str], _Build], ...] = tuple(
    (re.compile(pattern, re.DOTALL), build)
    for pattern, build in (
        (rf"launch task {_STEP} request from UID:([0-9]{{1,10}}) GID:.*", _launch),
        (r"launch task ([0-9]{1,10})\.([0-9]{1,10}) request from ([0-9]{1,10})\..*", _launch),
        (r"Launching batch job ([0-9]{1,10}) for UID ([0-9]{1,10})", _batch),
        (rf"kill req from uid ([0-9]{{1,10}}) for {_STEP} owned by uid [0-9]{{1,10}}", _refused),
        (r"Security violation[,:] .{0,200}?uid[ =]([0-9]{1,10}).*", _violation),
        (rf"Sent (?:signal )?([0-9]{{1,3}}|SIG[A-Z0-9]{{2,6}})(?: signal)? to {_STEP}.*", _sent),
        (
            (
                r"(?:done with (?:job|step)|_?terminate_job|_rpc_(?:terminate|kill)_job|Job [0-9]{1,10} already completing"
                r"|Timeout waiting for completion of job|reaped )\b.*"
            ),
            _of("terminate"),
        ),
        (r"_?(?:run_)?(?:prolog|epilog)\b.*", _of("prolog")),
        (
            (
                r"(?:Slurmd shutdown completing|slurmd version \S{1,64} started|slurmd started on |Node reconfigured|CPUs=[0-9]"
                r"|Node configuration differs from hardware|Registering jobs with slurmctld|Warning: revoke on job |Could not launch job "
                r"|Unable to register: |Terminating main thread|all threads complete|Munge |Resource spec|Gres Name=|gres/gpu: |topology/"
                r"|task/affinity: |task/cgroup: |cred/munge: |auth/munge: |task_p_slurmd_batch_request: |CONF -- |Health Check failed).*"
            ),
            _of("node"),
        ),
    )
)


class Slurmd:
    """slurmd.log, as a file or through syslog."""

    name = "slurmd"
    source = Source.SLURMD
    begins = (b"] [", b"] launch task ", b"] Launching batch job ", b"] done with ", b"] _rpc_", b" slurmd", b" slurmstepd")
    first_bytes = TEXT

    def claims(self, payload: bytes) -> bool:
        """A time in brackets, or the daemon's name."""
        if payload[:1] == b"[":
            return _CLAIM.match(payload) is not None
        return payload.startswith(b"slurmd") or _TAGGED.search(payload[:HEAD_BYTES]) is not None

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """One event.  Raises UnknownFormat for lines of other programs and of no known kind."""
        text = text_of(line.payload)
        time: int | None = None
        host = tag = ""
        if text[:1] != "[" and not (found := _FOREGROUND.match(text)):
            parts = syslog.split(line, reading)
            if parts is None or parts.program not in {"slurmd", "slurmstepd"}:
                raise UnknownFormat("another program's line")
            time, host, tag, text = parts.time, parts.host, parts.tag, parts.text
        elif text[:1] != "[" and found:
            text = text[found.end() :]
        if text[:1] == "[" and _STEP_PREFIX.match(text) is None:
            time, text = without_time(text, reading)
        body = _body(text, reading)
        time = None if time is None else checked_time(time)
        return (Parsed(source=Source.SLURMD, body=body, event_time=time, host=host, tag=tag),)


def _body(text: str, reading: Reading) -> AnyBody:
    job = step = ""
    if prefix := _STEP_PREFIX.match(text):
        job, step = prefix[1], prefix[2]
        text = text[prefix.end() :]
    said = text
    if foreground := _FOREGROUND.match(said):
        said = said[foreground.end() :]
    level = _LEVEL.match(said)
    if level:
        said = said[level.end() :]
    if "*** " in said[:8] or "oom_kill" in said[:60] or "oom-kill" in said[:60]:
        body, _ = of_daemon(Labelled(said, None, None), said, reading)
        if not isinstance(body, TrainingLine):
            return body
    for pattern, build in _TABLE:
        if found := pattern.fullmatch(said):
            body = build(found)
            if isinstance(body, DaemonNote) and job and not body.job:
                body = DaemonNote(
                    what=body.what, job=job, step=step, uid=body.uid, owner_uid=body.owner_uid, signal=body.signal, text=body.text
                )
            return body
    if job:
        return DaemonNote(
            what="error" if level and level[1] in {"error", "fatal"} else "log", job=job, step=step, text=said[:TEXT_CHARACTERS_MAX]
        )
    raise UnknownFormat("a line of the node's daemon of no known kind")


FORMAT = Slurmd()
