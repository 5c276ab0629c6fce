"""What is installed, what is refused, and what is said when it cannot be."""

import base64
import hashlib
from pathlib import Path

import pytest

from pipeline.embedded import install
from pipeline.errors import ServerFailed


def quiet(line: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without anything: an empty cache, and programs only from the folder `bin` that is returned."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return programs


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def java(folder: Path, version: str) -> None:
    program(folder, "java", f"""echo 'openjdk version "{version}" 2025-04-15' >&2""")


@pytest.mark.parametrize(
    ("version", "enough"),
    [("17.0.15", True), ("21", True), ("25-ea", True), ("11.0.2", False), ("1.8.0_392", False)],
)
def test_java_must_be_new_enough(bare: Path, version: str, enough: bool) -> None:
    """An old Java on the search path counts as none."""
    java(bare, version)
    with pytest.raises(ServerFailed) as caught:
        install.find_kafka()
    assert ("Java" not in str(caught.value)) is enough


def test_java_home_goes_before_the_search_path(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual way to name another Java."""
    java(bare, "17.0.1")
    (tmp_path / "jdk").mkdir()
    java(tmp_path / "jdk" / "bin", "21.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    (tmp_path / "cache" / "trainwatch" / install.KAFKA_FOLDER).mkdir(parents=True)
    assert install.find_kafka().java == tmp_path / "jdk" / "bin" / "java"


def test_what_is_missing_is_named_with_the_command_that_fetches_it(bare: Path) -> None:
    """The first thing a new user sees."""
    for find in (install.find_kafka, install.find_clickhouse):
        with pytest.raises(ServerFailed) as caught:
            find()
        assert "is not installed" in str(caught.value)
        assert "trainwatch up --install" in caught.value.advice


def test_a_failed_download_is_told_in_the_clients_own_words(bare: Path, tmp_path: Path) -> None:
    """With what to do, and nothing half-done left behind."""
    java(bare, "17.0.15")
    program(bare, "mvn", "echo 'could not reach the mirror'; exit 1")
    with pytest.raises(ServerFailed, match="could not reach the mirror") as caught:
        install.ensure(clickhouse=False, say=quiet)
    assert "run `trainwatch up --install` again" in caught.value.advice
    assert [path.name for path in (tmp_path / "cache" / "trainwatch").iterdir()] == ["lock"]


def test_leftovers_of_a_killed_installation_are_removed(bare: Path, tmp_path: Path) -> None:
    """They are large, and nobody else would."""
    java(bare, "17.0.15")
    cache = tmp_path / "cache" / "trainwatch"
    (cache / f"{install.INCOMPLETE}abc").mkdir(parents=True)
    (cache / install.KAFKA_FOLDER).mkdir()
    install.ensure(clickhouse=False, say=quiet)
    assert sorted(path.name for path in cache.iterdir()) == [install.KAFKA_FOLDER, "lock"]


@pytest.mark.parametrize(("free", "memory", "named"), [(100, 9000, "XDG_CACHE_HOME"), (9000, 100, "larger machine")])
def test_too_little_room_is_refused_before_anything_is_fetched(tmp_path: Path, free: int, memory: int, named: str) -> None:
    """With the numbers."""
    with pytest.raises(ServerFailed, match="100 MiB") as caught:
        install.check_room(tmp_path, free=free, memory=memory)
    assert named in caught.value.advice


@pytest.mark.parametrize(
    ("files", "wrong"),
    [
        pytest.param({"a.jar": b"a", "b.jar": b"b"}, None, id="as expected"),
        pytest.param({"a.jar": b"a", "b.jar": b"B"}, "b.jar", id="another content"),
        pytest.param({"a.jar": b"a"}, "b.jar", id="one missing"),
        pytest.param({"a.jar": b"a", "b.jar": b"b", "c.jar": b""}, "c.jar", id="one too many"),
    ],
)
def test_archives_must_be_those_of_the_manifest(tmp_path: Path, files: dict[str, bytes], wrong: str | None) -> None:
    """Each of them, and no other: all of them are on the class path."""
    manifest = "".join(f"{hashlib.sha256(name[:1].encode()).hexdigest()}  {name}\n" for name in ("a.jar", "b.jar"))
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    if wrong is None:
        install.check_jars(tmp_path, manifest)
        return
    with pytest.raises(ServerFailed, match=wrong):
        install.check_jars(tmp_path, manifest)


def test_the_manifest_lists_the_broker() -> None:
    """The committed file is the one of this Kafka version."""
    names = {line.split()[1] for line in (install.HERE / "kafka-jars.sha256").read_text().splitlines()}
    assert len(names) == 46
    assert {"kafka_2.13-4.1.1.jar", "log4j-core-2.24.3.jar", "log4j-slf4j-impl-2.24.3.jar"} <= names


def test_another_archive_under_the_same_name_is_refused(tmp_path: Path) -> None:
    """A mirror must not be able to change what runs."""
    archive = tmp_path / "package.tgz"
    archive.write_bytes(b"content")
    digest = base64.b64encode(hashlib.sha512(b"content").digest()).decode()
    install.check_archive(archive, digest, say=quiet)
    archive.write_bytes(b"other content")
    with pytest.raises(ServerFailed, match="not the expected archive"):
        install.check_archive(archive, digest, say=quiet)


def test_a_machine_without_java_and_maven_names_both_packages_at_once(bare: Path) -> None:
    """Without apt-get nobody can install them from here, root or not."""
    with pytest.raises(ServerFailed, match="openjdk-17-jre-headless and maven") as caught:
        install.ensure(clickhouse=False, say=quiet)
    assert "openjdk-17-jre-headless maven" in caught.value.advice
