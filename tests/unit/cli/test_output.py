"""Files that commands write."""

from pathlib import Path

import pytest

from pipeline.cli.output import write_file
from pipeline.errors import ConfigError


def test_only_this_account_reads_what_was_written(tmp_path: Path) -> None:
    """Also where a file of wider rights was there."""
    path = tmp_path / "report.html"
    path.write_text("a longer text than the new one")
    path.chmod(0o644)
    write_file(path, b"names")
    assert path.read_bytes() == b"names"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["", "no/such/folder/report.html", "x" * 300])
def test_what_cannot_be_written_is_said(tmp_path: Path, name: str) -> None:
    """With what to do, and no traceback."""
    with pytest.raises(ConfigError, match="cannot write") as refused:
        write_file(tmp_path / name, b"")
    assert refused.value.advice


def test_a_device_keeps_its_rights() -> None:
    """`--out /dev/null` of root would otherwise close it to everybody."""
    before = Path("/dev/null").stat().st_mode
    write_file(Path("/dev/null"), b"names")
    assert Path("/dev/null").stat().st_mode == before
