"""What could not be run where it was made says so where it stands: whoever copies one file sees no table beside it."""

import re
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[3] / "deploy"
MARK = "not verified here"
SHIPPERS = DEPLOY / "shippers"
TRIED = {
    name: tried
    for names, tried in re.findall(
        r"^\| (`[^|]+) \|[^|]*\| ([^|]+) \|$", (SHIPPERS / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    for name in re.findall(r"`([^`]+)`", names)
}
# Of a running systemd, a container engine, a cluster, Grafana, and accounts made by SQL there was none.
UNTRIED = (
    *("systemd/*.service", "systemd/*.timer", "compose/compose.yaml", "compose/start"),
    *("Containerfile", "helm/*/values.yaml", "grafana/permissions.py", "grafana/provisioning/d*/*.yaml", "sql/roles.sql"),
    *("plan-5M-events-per-second.md", "threat-model.md", "runbooks/upgrade.md", "runbooks/backup-and-restore.md", "README.md"),
)


def marked(path: Path) -> bool:
    return MARK in " ".join(path.read_text(encoding="utf-8").replace("\n#", "\n").split()).lower()


@pytest.mark.parametrize("name", TRIED)
def test_a_shipper_says_itself_whether_it_was_tried(name: str) -> None:
    """As the table does."""
    assert len(TRIED) >= 10
    assert marked(SHIPPERS / name) or MARK not in TRIED[name]


@pytest.mark.parametrize("pattern", UNTRIED)
def test_what_needs_what_was_not_there_says_so(pattern: str) -> None:
    """In the file itself."""
    paths = sorted(DEPLOY.glob(pattern))
    assert paths
    assert [path.name for path in paths if not marked(path)] == []
