"""`trainwatch sniff`: what it reads, what it prints, what it answers a script."""

import gzip
import lzma
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.cli.simulate import write
from pipeline.simulate import TOPICS, simulate

LOGIN = b"Mar  2 19:40:41 login-1 sshd[9]: Accepted publickey for u017 from 10.0.0.7 port 5022 ssh2: ED25519 SHA256:abc"
ODD = b"job \x1b[31mred\x1b[0m [bold]7[/bold] of u017 \xff"


def sniff(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    """The command."""
    return CliRunner().invoke(main, ["sniff", *map(str, arguments)], input=stdin)


def told(result: Result) -> dict[str, Any]:
    """The first sample of `--json`."""
    first = msgspec.json.decode(result.stdout)["samples"][0]
    assert isinstance(first, dict)
    return first


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A file of three logins, the last without line end."""
    path = tmp_path / "auth.log"
    path.write_bytes(b"\n".join([LOGIN] * 3))
    return path


def test_a_file_of_one_format(log: Path) -> None:
    """All is claimed: exit 0, and the settings lines can be pasted."""
    result = sniff(log)
    assert result.exit_code == 0
    assert "3 records, 3 lines; confidence high" in result.stdout
    pasted = yaml.safe_load(result.stdout[result.stdout.index("sources:") :])
    assert pasted["sources"][0]["format"] == "sshd"
    assert pasted["sources"][0]["file"] == r"(?:^|/)auth\.log$"


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_line_ends(log: Path, end: bytes) -> None:
    """With or without a last line end, or with CR LF, the lines are the same."""
    log.write_bytes((end or b"\n").join([LOGIN] * 3) + end)
    report = told(sniff(log, "--json"))
    assert (report["records"], report["typed"], report["unclaimed"], report["crlf"]) == (3, 3, 0, 3 if end == b"\r\n" else 0)


def test_standard_input() -> None:
    """`-` reads what is piped in, and no file is advised."""
    report = told(sniff("-", "--json", stdin=LOGIN + b"\n" + LOGIN))
    assert (report["sample"], report["records"], report["typed"]) == ("-", 2, 2)
    assert not any("file:" in line for line in report["settings"])


def test_some_lines_are_nobodys(log: Path) -> None:
    """Unclaimed lines make exit 1 and are shown by shape, harmless."""
    log.write_bytes(LOGIN + b"\n" + ODD + b"\n" + ODD.replace(b"7", b"8"))
    result = sniff(log)
    assert result.exit_code == 1
    assert "\x1b" not in result.output
    assert "[bold]0[/bold]" in result.stdout
    assert told(sniff(log, "--json"))["shapes"][0]["count"] == 2


def test_broken_lines_are_told(log: Path) -> None:
    """A line that a format knows and cannot read is lost: exit 1, with the reason."""
    log.write_bytes(b"type=SYSCALL msg=x\n")
    result = sniff(log)
    assert result.exit_code == 1
    assert "decode_error" in result.stdout
    assert "an audit record without type, time and serial" in result.stdout


@pytest.mark.parametrize(("packed", "advice"), [(gzip.compress(LOGIN), "zcat"), (lzma.compress(LOGIN), "xzcat")], ids=["gz", "xz"])
def test_packed_files_are_refused(log: Path, packed: bytes, advice: str) -> None:
    """A packed file is no log, from disk or piped in; what to do about it is said."""
    log.write_bytes(packed)
    for result in (sniff(log), sniff("-", stdin=packed)):
        assert result.exit_code == 2
        assert f"{advice} FILE | trainwatch sniff -" in result.output


def test_binary(log: Path) -> None:
    """Bytes that are no text are nobody's lines."""
    log.write_bytes(bytes(range(256)) * 20)
    result = sniff(log)
    assert result.exit_code == 1
    assert "that are not text" in result.stdout


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_nothing_in_it(log: Path, content: bytes) -> None:
    """An empty file is not claimed by anybody."""
    log.write_bytes(content)
    result = sniff(log)
    assert result.exit_code == 1
    assert "no line holds any text" in result.stdout


def test_a_document(log: Path) -> None:
    """A file that is one JSON document gets advice in place of settings."""
    log.write_bytes(b'{\n  "jobs": [\n    {"job_id": 7}\n  ]\n}\n')
    result = sniff(log)
    assert result.exit_code == 1
    assert "jq -c" in result.stdout
    assert "sources:" not in result.stdout


def test_limit(log: Path) -> None:
    """Only the first records are looked at, which is said."""
    log.write_bytes(b"\n".join([LOGIN] * 50))
    assert told(sniff(log, "--limit", "7", "--json"))["records"] == 7
    assert "7 records, the first 7," in sniff(log, "--limit", "7").stdout


def test_zone_and_year(log: Path) -> None:
    """What is known of the sample is used, and stands in the settings lines."""
    report = told(sniff(log, "--zone", "Asia/Shanghai", "--collected", "2024-06-01T00:00:00Z", "--json"))
    assert report["times"]["earliest"] == 1_709_379_641_000  # 2 March 2024, 11:40:41 UTC
    assert any("zone: Asia/Shanghai" in line and "read as Asia/Shanghai here" in line for line in report["settings"])
    assert sniff(log, "--zone", "Mars/Olympus").exit_code == 2


def test_settings_are_used(log: Path, tmp_path: Path) -> None:
    """The zone that `sources` say for the file holds without an option."""
    site = tmp_path / "site.yaml"
    site.write_text(yaml.safe_dump({"sources": [{"name": "auth", "file": "auth", "zone": "Asia/Tokyo"}]}))
    result = CliRunner().invoke(main, ["--settings", str(site), "sniff", str(log), "--json"])
    assert any("zone: Asia/Tokyo" in line for line in told(result)["settings"])


def test_several_files(log: Path, tmp_path: Path) -> None:
    """Each file is a sample of its own; one with unclaimed lines makes exit 1."""
    other = tmp_path / "other.log"
    other.write_bytes(b"An ordinary sentence.\n")
    result = sniff(log, other, "--json")
    assert result.exit_code == 1
    assert [each["claimed"] for each in msgspec.json.decode(result.stdout)["samples"]] == [True, False]


@pytest.mark.parametrize("arguments", [[], ["--topic", "logs.access", "-"], ["--limit", "0", "-"], ["/nowhere/x.log"]])
def test_wrong_usage(arguments: list[str]) -> None:
    """Neither files nor topic, both, no records, no such file: exit 2."""
    assert sniff(*arguments).exit_code == 2


def test_files_of_records(tmp_path: Path) -> None:
    """Files of `trainwatch simulate` are opened as `replay` opens them; but for the noise that is simulated too, all is claimed."""
    write(simulate(1, 1.0), tmp_path)
    for topic in TOPICS:
        report = told(sniff(tmp_path / f"{topic}.jsonl", "--limit", "2000", "--json"))
        assert report["records"] > 0
        assert report["unclaimed"] + report["broken"] <= report["lines"] // 100
        assert report["families"][0] == topic.rpartition(".")[2]
