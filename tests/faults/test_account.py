"""The account of a run notices what it is there for: a fault suite that cannot fail would prove nothing."""

from pathlib import Path
from random import Random

import pytest

from pipeline.faults import account
from pipeline.faults.account import Account
from pipeline.faults.run import Fault, Run, carry_out
from pipeline.faults.servers import Servers
from pipeline.faults.site import Site, as_records, simulated
from pipeline.settings import Settings

pytestmark = pytest.mark.servers

SEED = 1
NO_FAULT = Fault(
    name="none", does="nothing", bites="never", act=lambda run: run.folds(run.start()), bit=lambda run: run.replayed() > 0, seconds=2.0
)


def test_a_lost_row_a_doubled_row_and_a_lost_finding_are_named(shared: Settings, tmp_path: Path) -> None:
    """One run without a fault, which is right and did not bite; then its tables are damaged, one by one."""
    week = simulated(SEED)
    with Site(Servers(shared).settings, week, tmp_path / "site", {}) as site:
        run = Run(NO_FAULT, site, Servers(shared), Random(SEED), as_records(week, site.settings))
        carry_out(run)

        def taken() -> Account:
            return account.take(site, run.sent, run.judged, codes=run.codes, gone=frozenset(), deleted=frozenset())

        def damage(sql: str) -> None:
            site.database.command(sql.replace("{db}", site.settings.clickhouse.database))

        found = taken()
        assert not found.wrong
        assert found.records == len(run.sent) + 6  # the ends of channels are records too
        assert found.findings
        assert not NO_FAULT.bit(run)

        damage("INSERT INTO {db}.events SELECT * FROM {db}.events WHERE _topic LIKE '%access' AND _offset = 40 AND _partition = 0")
        found = taken()
        assert (found.lost, found.doubled) == (0, 1)
        assert any("access/0@40" in line for line in found.wrong)

        damage("ALTER TABLE {db}.events DELETE WHERE _topic LIKE '%access' AND _offset = 41 AND _partition = 1 SETTINGS mutations_sync = 1")
        found = taken()
        assert (found.lost, found.doubled) == (1, 1)
        assert any("access/1@41" in line for line in found.wrong)
        assert any(line.startswith("verify: ") and "access/1" in line for line in found.wrong)

        damage("TRUNCATE TABLE {db}.findings")
        assert not taken().findings_equal
        assert taken().verdicts_equal
