"""Real log files of others and what their notes and golden files state, for tests that carry them through the pipeline.

The files lie beside the repository.  `CHECKS` are questions to what came out, whichever way it went: through memory, or through Kafka
and the worker into ClickHouse.  The values are those that the notes count from the files, or that the golden files hold.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pipeline.settings import SourceSettings

YEAR_2018 = 1_546_300_799_000  # its last second: collection of the logs that write no year
SOURCES = (
    SourceSettings(name="smc", file=r"^v4\.0-smc", zone="Asia/Shanghai"),
    SourceSettings(name="jean-zay", file=r"^meg_gpt2", zone="Europe/Paris", job_pattern=r"-(?P<job>\d+)\.out$"),
    SourceSettings(name="utc-2", file=r"^timestamp\.log$", zone="Etc/GMT+2"),
)
CATCH_ALL = frozenset({"log", "srun", "slurmstepd", "agent", "logind", "pam"})  # known by its program alone: counts as unparsed


class RealFile(NamedTuple):
    """One file, the host that is named for it, and when it was collected where it does not tell."""

    path: Path
    host: str
    collected: int | None = None

    @property
    def name(self) -> str:
        return self.path.name

    def lines(self) -> int:
        """Lines by LF; a last line without one counts."""
        return len(self.path.read_bytes().removesuffix(b"\n").split(b"\n"))


class Row(NamedTuple):
    """An event that came out, and the file that its line stood in."""

    file: str
    source: str
    kind: str
    host: str
    job: str
    time: int
    attrs: Mapping[str, str]
    raw: str

    @property
    def caught_all(self) -> bool:
        """Is nothing known of the line but which program wrote it?"""
        return self.attrs.get("what") in CATCH_ALL


class Found(NamedTuple):
    """All that came out."""

    rows: list[Row]
    codes: Counter[tuple[str, str]]  # (file, code) of lines that gave no event
    lines: Mapping[str, int]  # as the files have them

    def of(self, file: str, **wanted: str) -> list[Row]:
        """Rows of a file whose kind and attributes are these, by time."""
        kind = wanted.pop("kind", "")
        rows = [row for row in self.rows if row.file == file and (not kind or row.kind == kind)]
        return sorted(
            (row for row in rows if all(row.attrs.get(name) == value for name, value in wanted.items())), key=lambda row: row.time
        )


def files_of(shared: Path, made: Path) -> list[RealFile]:
    """The auditd, sshd, Megatron and torchrun files; the records of the YAML files are written to `made`, one a line."""
    auditd = sorted([*(shared / "access/auditd").glob("*/*.log")])
    for path in sorted((shared / "access/auditd/aucoalesce").glob("*.yaml")):
        records = [line for test in yaml.safe_load(path.read_text())["tests"].values() for line in test.splitlines() if line.strip()]
        auditd.append(made / f"{path.stem}.log")
        auditd[-1].write_text("".join(f"{record.strip()}\n" for record in records))
    training = [*sorted((shared / "training/megatron").glob("*.out")), *sorted((shared / "training/mlperf").glob("*.log"))]
    sshd = sorted((shared / "access/sshd").glob("*.log"))
    return [
        *(RealFile(path, f"audit-{number}") for number, path in enumerate(auditd)),
        *(RealFile(path, "login-1", None if path.name == "timestamp.log" else YEAR_2018) for path in sshd),
        *(RealFile(path, f"gpu-{number:03}") for number, path in enumerate(training)),
    ]


# --- what is asked


def every_line_is_accounted_for(found: Found, shared: Path) -> None:
    """Typed events, unparsed lines, dead letters and filtered lines of each file add up to its lines; none gave two events."""
    events = Counter(row.file for row in found.rows)
    listed = Counter(dict.fromkeys(found.lines, 0))
    for (file, _), count in found.codes.items():
        listed[file] += count
    assert {file: events[file] + listed[file] for file in found.lines} == dict(found.lines)


def unparsed_lines_are_few(found: Found, shared: Path) -> None:
    """One access line is unreadable, as the notes say, and one in a hundred known by its program alone; of Megatron one in fifty."""
    access = {row.file for row in found.rows if row.source in {"auditd", "sshd"}}
    assert {key: count for key, count in found.codes.items() if key[0] in access} == {("audit-rhel7.log", "decode_error"): 1}
    for files, share in ((access, 0.01), ({file for file in found.lines if file.startswith("meg_")}, 0.02)):
        unparsed = sum(row.file in files and row.caught_all for row in found.rows) + sum(
            count for (file, code), count in found.codes.items() if file in files and code != "empty"
        )
        assert unparsed <= share * sum(found.lines[file] for file in files)


def auditd_records(found: Found, shared: Path) -> None:
    """Type, serial, time and result of every single record equal the golden file's."""
    counts = {"audit-rhel6": 2, "audit-rhel7": 50, "audit-ubuntu14": 1, "audit-ubuntu16": 3, "audit-ubuntu17": 1, "test2": 10, "test3": 17}
    for name, count in counts.items():
        entries = json.loads((shared / f"access/auditd/auparse/{name}.log.golden").read_text())
        assert len(entries) == count
        golden = [
            (entry["record_type"].upper(), str(entry["sequence"]), moment(entry["@timestamp"]), entry["data"].get("result"))
            for entry in entries
            if entry is not None
        ]
        rows = found.of(f"{name}.log", kind="audit_record")
        got = [(row.attrs["record_type"], row.attrs["serial"], row.time, row.attrs.get("result")) for row in rows]
        assert Counter(got) == Counter(golden)
    assert len({row.attrs["record_type"] for row in found.of("audit-rhel7.log")}) == 37


def auditd_fields(found: Found, shared: Path) -> None:
    """Hex fields are decoded: a command line's folder, an account, a key of two parts; the kill of the notes has its target."""
    assert found.of("audit-rhel7.log", cwd="/tmp/a b c")  # noqa: S108  what the record says
    assert found.of("audit-ubuntu16.log", acct="(invalid user)")
    assert found.of("audit-ubuntu17.log", keys="exec,64bit")
    (kill,) = found.of("audit-rhel7.log", syscall_name="kill")
    assert (kill.attrs["a0"], kill.attrs["pid"], kill.attrs["a1"], kill.attrs["keys"]) == ("1fde", "8158", "1", "kill_signals")


def auditd_events(found: Found, shared: Path) -> None:
    """Records keep the serial that puts them together, whatever their order."""
    for name in ("normal.log", "out_of_order.log"):
        assert Counter(row.attrs["serial"] for row in found.of(name)) == {"58": 2, "59": 5, "60": 5, "61": 4, "62": 1}
    counts = {"random-internet": 5, "rhel-7-linux-3.10.0": 19, "ubuntu-16.04-linux-4.13.0": 11, "ubuntu-16.10-linux-4.8.0": 36}
    counts |= {"ubuntu-17.04-linux-4.10.0": 36, "ubuntu-21.10-linux-5.13": 10, "ubuntu-24.04-linux-6.8.0": 1}
    assert {name: len(found.of(f"{name}.log", kind="audit_record")) for name in counts} == counts


def auditd_kills(found: Found, shared: Path) -> None:
    """Sender and target of the recorded kills on both architectures; without OBJ_PID the target is in `a0`."""
    for arch, number in (("x86_64", "62"), ("aarch64", "129")):
        for name, records in ((f"kill_{arch}.log", 4), (f"kill_no_obj_pid_{arch}.log", 3)):
            assert len(found.of(name)) == records
            (sent,) = found.of(name, syscall_name="kill")
            said = {key: sent.attrs[key] for key in ("syscall", "a0", "a1", "ppid", "pid", "auid", "uid", "tty", "ses", "exe", "keys")}
            assert said == {
                "syscall": number, "a0": "6334", "a1": "f", "ppid": "6198", "pid": "6199", "auid": "1000", "uid": "1000", "tty": "pts3",
                "ses": "5", "exe": "/bin/bash", "keys": '"killshot"',
            }  # fmt: skip
            targets = [(row.attrs["opid"], row.attrs["ocomm"], row.attrs["ouid"]) for row in found.of(name, record_type="OBJ_PID")]
            assert targets == ([] if "no_obj" in name else [("25396", "python3", "1000")])


def sshd_log(found: Found, shared: Path) -> None:
    """Logins, refusals, sessions and sudo commands of the thousand lines, as the notes count them."""
    name = "auth-first-1000.log"
    rows = found.of(name)
    assert len(rows) == 1000
    assert {row.host for row in rows} == {"ip-10-77-20-248"}
    march_28 = moment("2018-03-28T00:00:00Z")
    assert (sum(row.time < march_28 for row in rows), sum(row.time >= march_28 for row in rows)) == (372, 628)
    accepted = found.of(name, kind="login", outcome="accepted")
    assert Counter((row.attrs["user"], row.attrs["address"], row.attrs["method"]) for row in accepted) == {
        ("ubuntu", "85.245.107.41", "publickey"): 12
    }
    invalid = found.of(name, kind="login", outcome="invalid_user")
    assert (len(invalid), max(Counter(row.attrs["address"] for row in invalid).values())) == (84, 58)
    too_many = Counter(row.attrs["user"] for row in found.of(name, kind="login", outcome="too_many"))
    assert (too_many.total(), too_many["root"], too_many["www-data"]) == (56, 30, 1)
    assert len(found.of(name, what="disconnected")) == 10
    assert len(found.of(name, what="disconnected_preauth")) == 89
    assert len(found.of(name, what="no_identification")) == 5
    assert len(found.of(name, what="bad_protocol")) == 2
    sudo = [row for row in found.of(name, kind="privilege_used") if row.attrs["run_as"] == "root" and " sudo:" in row.raw]
    assert Counter(row.attrs["user"] for row in sudo) == {"ubuntu": 89, "root": 1}
    sessions = Counter((row.attrs["service"], row.attrs["change"]) for row in found.of(name, kind="session_changed"))
    assert (sessions["sudo", "opened"], sessions["sudo", "closed"]) == (90, 89)
    assert (sessions["sshd", "opened"], sessions["sshd", "closed"]) == (12, 11)
    assert (sessions["logind", "opened"], sessions["logind", "closed"]) == (12, 11)


def sshd_small_logs(found: Found, shared: Path) -> None:
    """Times, hosts and users of the two parser tests equal their golden files: years from the collection, zone for one line only."""
    golden = json.loads((shared / "access/sshd/test.log-expected.json").read_text())
    rows = found.of("test.log")
    wanted = Counter((moment(entry["@timestamp"]), entry["system.auth.hostname"]) for entry in golden)
    assert Counter((row.time, row.host) for row in rows) == wanted
    outcomes = {"Accepted": "accepted", "Invalid": "invalid_user", "Failed": "failed"}
    logins = [(outcomes[entry["system.auth.ssh.event"]], entry["system.auth.user"]) for entry in golden if "system.auth.ssh.event" in entry]
    assert Counter((row.attrs["outcome"], row.attrs["user"]) for row in rows if row.kind == "login") == Counter(logins)
    golden = json.loads((shared / "access/sshd/timestamp.log-expected.json").read_text())
    assert [row.time for row in found.of("timestamp.log")] == sorted(moment(entry["@timestamp"]) for entry in golden)


def megatron(found: Found, shared: Path) -> None:
    """Iterations, losses, closed ranks and the end of both jobs, in UTC."""
    ends = {
        "meg_gpt2_base_n8_dp1_tp4_pp8-1809562.out": ("1809562", 20, 19, 18, 7.534106, 32, "2021-05-23T06:29:53Z", ""),
        "meg_gpt2_base_n64_dp1_tp4_pp64-1809655.out": ("1809655", 6, 5, 4, 16.9694, 256, "2021-05-24T07:50:34Z", "time_limit"),
    }
    for name, (job, count, with_loss, with_norm, loss, ranks, end, reason) in ends.items():
        steps = sorted(found.of(name, kind="iteration"), key=lambda row: int(row.attrs["iteration"]))
        assert [int(row.attrs["iteration"]) for row in steps] == [10 * number for number in range(1, count + 1)]
        assert {row.attrs["iterations_total"] for row in steps} == {"1000"}
        losses = [float(row.attrs["loss"]) for row in steps if "loss" in row.attrs]
        assert (len(losses), losses[-1]) == (with_loss, loss)
        assert sum("grad_norm" in row.attrs for row in steps) == with_norm
        assert len({row.attrs["pid"] for row in found.of(name, kind="ranks_closed")}) == ranks
        cancelled = found.of(name, kind="step_cancelled")
        assert [(row.attrs["job"], row.time, row.attrs.get("reason", "")) for row in cancelled] == [(job, moment(end), reason)] * 2
        assert {row.job for row in found.of(name)} == {job}


def torchrun(found: Found, shared: Path) -> None:
    """The agent's own terminations, the first failure, and the step that ran into its limit, in the cluster's zone."""
    azure = "v3.1-azure-maskrcnn-230503232823702563316_1-last60.log"
    closed = found.of(azure, kind="ranks_closed")
    assert sorted(int(row.attrs["pid"]) for row in closed) == [143, 146, 151, 160, 182, 196, 212]
    assert {row.attrs["signal"] for row in closed} == {"15"}
    failed = found.of(azure, kind="rank_failed")
    assert {(row.attrs["pid"], row.attrs["exit_code"]) for row in failed} == {("169", "1")}
    assert "4" in {row.attrs.get("local_rank") for row in failed}
    smc = "v4.0-smc-bert-240419135535325785707_1.log"
    (end,) = found.of(smc, kind="step_cancelled")
    assert (end.attrs["job"], end.time, end.attrs["reason"]) == ("2545", moment("2024-04-19T06:08:52Z"), "time_limit")
    tasks = {(row.attrs["tasks"], row.attrs["outcome"], row.attrs.get("exit_code", "")) for row in found.of(smc, kind="task_ended")}
    assert tasks == {("0", "exited", "1"), ("1-7", "terminated", "")}
    marks = Counter((row.attrs["text"], row.time) for row in found.of(smc, what="mllog"))
    assert marks == {("cache_clear", moment("2024-04-19T05:56:28.855Z")): 1, ("init_start", 1_713_506_204_999): 7}


def moment(text: str) -> int:
    """UTC milliseconds of an ISO time."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


Check = Callable[[Found, Path], None]
CHECKS: tuple[Check, ...] = (
    every_line_is_accounted_for,
    unparsed_lines_are_few,
    auditd_records,
    auditd_fields,
    auditd_events,
    auditd_kills,
    sshd_log,
    sshd_small_logs,
    megatron,
    torchrun,
)


def row_of(file: str, event: Any, time: int) -> Row:
    """A row of `events` as it left ingest."""
    return Row(file, event.source, event.kind, event.host, event.job, time, event.attrs, event.raw)


def names(checks: Iterable[Check]) -> list[str]:
    """For test ids."""
    return [check.__name__ for check in checks]
