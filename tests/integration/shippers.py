"""A real rsyslog or syslog-ng as a private process: the configuration that is shipped, with address, topics and folders of the test.

Both are Debian packages that exclude one another and would take the machine's log over, so `deploy/test` unpacks them into a folder of
the user instead (`private_packages` of deploy/lib.sh); an installed one is taken first.

    story ──► audit.log, slurmctld.log, slurm-7.out, the log socket ──► the daemon, with deploy/shippers/… ──► the embedded broker
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.settings import Settings, cache_folder
from tests.patience import PATIENCE_SECONDS

SHIPPED = Path(__file__).parents[2] / "deploy" / "shippers"
UNPACKED = cache_folder() / "shippers"
COMPLAINT = re.compile(r"error|fail|warn|could not", re.IGNORECASE)


class Daemon(NamedTuple):
    """A program with its arguments, and where its libraries are (empty: where the system's are)."""

    command: list[str | Path]
    libraries: str
    folder: Path


class Host:
    """Log files and the log socket of one host, as programs write to them."""

    def __init__(self, folder: Path) -> None:
        self.jobs, self.socket = folder / "jobs", folder / "log"
        self.files = {"auditd": folder / "audit.log", "slurmctld": folder / "slurmctld.log", "job": self.jobs / "slurm-7.out"}
        self.jobs.mkdir()
        for file in self.files.values():
            file.touch()

    def write(self, program: str, text: str) -> None:
        """One more line in the program's log file."""
        with self.files[program].open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")

    def rotate(self, program: str) -> None:
        """What auditd and logrotate do: the file gets another name, and a new one begins."""
        file = self.files[program]
        file.rename(file.with_name(f"{file.name}.1"))
        file.touch()

    def log(self, priority: int, text: str) -> None:
        """What syslog(3) does."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(str(self.socket))
            sender.send(f"<{priority}>{text}".encode())


def topics(settings: Settings) -> dict[str, str]:
    """Default topic -> this test's own."""
    return {f"logs.{family}": getattr(settings.kafka, f"{family}_topics")[0] for family in ("training", "scheduler", "access")}


def rsyslog(settings: Settings, folder: Path, host: Host, name: str) -> Daemon:
    """With a main configuration like Debian's that includes ours."""
    program, modules, libraries = _find("rsyslogd", "usr/lib/*/rsyslog", "omkafka.so")
    broker = {'["k1:9092","k2:9092"]': f'["{settings.kafka.bootstrap_servers}"]', "/var/spool/rsyslog": str(folder)}
    included = _substituted("rsyslog-trainwatch.conf", broker, settings, folder, host)
    main = folder / "rsyslog.conf"
    main.write_text(
        f'global(workDirectory="{folder}" localHostname="{name}")\n'
        'module(load="imuxsock" SysSock.Use="off")\n'
        f'input(type="imuxsock" Socket="{host.socket}" IgnoreTimestamp="off" UseSysTimeStamp="off")\n'
        f'include(file="{included}")\n'
    )
    return Daemon([program, "-n", "-f", main, "-i", folder / "pid", "-M", modules], libraries, folder)


def syslog_ng(settings: Settings, folder: Path, host: Host, name: str) -> Daemon:
    """Likewise."""
    program, modules, libraries = _find("syslog-ng", "usr/lib/syslog-ng/[0-9]*", "libkafka.so")
    override, plain = f'host-override("{name}")', "flags(no-parse)"
    own = {"k1:9092,k2:9092": settings.kafka.bootstrap_servers, "/var/lib/syslog-ng": str(folder), plain: f"{plain} {override}"}
    included = _substituted("syslog-ng-trainwatch.conf", own, settings, folder, host)
    main = folder / "syslog-ng.conf"
    main.write_text(
        f"@version: {modules.name}\noptions {{ log-msg-size(262144); stats-freq(0); }};\n"
        f'source s_src {{ unix-dgram("{host.socket}" so-passcred(no) {override}); }};\n@include "{included}"\n'
    )
    files: list[str | Path] = ["-p", folder / "pid", "-R", folder / "persist", "-c", folder / "control"]
    return Daemon([program, "-F", "--stderr", "--no-caps", "-f", main, "--module-path", modules, *files], libraries, folder)


@contextmanager
def running(daemon: Daemon, host: Host) -> Iterator[None]:
    """The daemon while it runs; it listens on the socket of the host, and may complain of nothing."""
    environment = {"PATH": "/usr/bin:/bin", "TZ": "UTC", **({"LD_LIBRARY_PATH": daemon.libraries} if daemon.libraries else {})}
    log = daemon.folder / "daemon.log"
    with log.open("wb") as output:
        process = subprocess.Popen(daemon.command, env=environment, stdout=output, stderr=output, cwd=daemon.folder)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not host.socket.exists():
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.05)
        yield
        said = log.read_text(errors="replace")
        assert not COMPLAINT.search(said), said
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _find(program: str, modules: str, wanted: str) -> tuple[Path, Path, str]:
    """The daemon, the folder of its modules, and that of its libraries.  Skips the test where there is none that speaks to Kafka."""
    installed = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    for root, path in ((Path("/"), Path(installed or "/nowhere")), (UNPACKED, UNPACKED / "usr/sbin" / program)):
        for folder in root.glob(modules):
            if path.is_file() and (folder / wanted).is_file():
                libraries = [*root.glob("lib/*-linux-gnu"), *root.glob("usr/lib/*-linux-gnu"), root / "usr/lib/syslog-ng"]
                return path, folder, "" if root == Path("/") else ":".join(map(str, libraries))
    pytest.skip(f"no {program} with {wanted} here: deploy/test unpacks it where apt-get and its packages are")


def _substituted(name: str, own: Mapping[str, str], settings: Settings, folder: Path, host: Host) -> Path:
    """A copy of the shipped configuration with other words in some places; each must be there."""
    changes = {
        **own,
        "/var/log/audit/audit.log": str(host.files["auditd"]),
        "/var/log/slurm/slurmctld.log": str(host.files["slurmctld"]),
        "/var/log/slurm/jobs": str(host.jobs),
        **{f'"{default}"': f'"{topic}"' for default, topic in topics(settings).items()},
    }
    text = (SHIPPED / name).read_text(encoding="utf-8")
    for before, after in changes.items():
        assert before in text, f"{name} says nothing of {before}"
        text = text.replace(before, after)
    copy = folder / name
    copy.write_text(text, encoding="utf-8")
    return copy
