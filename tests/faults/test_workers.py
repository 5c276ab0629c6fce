"""Faults of workers, one seed each, on the real broker and the real ClickHouse: nothing lost, nothing twice, the same findings."""

from pathlib import Path

import pytest

from pipeline.settings import Settings
from tests.faults.carry_out import carry_out, names

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("name", names("on_workers"))
def test_fault(name: str, shared: Settings, tmp_path: Path) -> None:
    """Whatever was done, the account is right; and it was done."""
    carry_out(name, shared, tmp_path)
