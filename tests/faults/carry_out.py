"""One seed of one fault, as a test."""

from pathlib import Path

from pipeline.faults.servers import Servers
from pipeline.faults.suite import told, until_bitten
from pipeline.faults.table import BY_NAME, FAULTS
from pipeline.settings import Settings

SEED = 1


def names(*modules: str) -> list[str]:
    """The faults that these modules of `pipeline.faults` bring about, but for those that need servers of their own."""
    some = [fault for fault in FAULTS if fault.act.__module__.rpartition(".")[2] in modules]
    return [fault.name for fault in some if not fault.breaks_servers]


def carry_out(name: str, embedded: Settings, folder: Path) -> None:
    """Run until it bites; fails when anything was lost, doubled or judged otherwise."""
    lines: list[str] = []
    result = until_bitten(BY_NAME[name], SEED, Servers(embedded), folder, say=lines.append)
    assert result.right, told(result)
    assert result.bit, "the fault did not bite:\n" + "\n".join(lines)
