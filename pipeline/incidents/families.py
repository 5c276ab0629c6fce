"""What incidents know of each detector, in one table: by which means its finding was brought about, and how its cost is worked out.

    means   a hand that knows one way knows others of its family: findings of one family are tied more easily (campaigns.py)
    cost    END: the attempt that it ended     ALTERED: from the load of altered bytes to the end     REMOVED: work since the last save
            SLOWED, DIVERGED, ENDINGS: members of a cohort, by pace, by results, by ends              NONE: no formula is used
    FLOODED, ON_NODE, UNHEARD, BORROWED: attempts that the finding does not name, by node, account and time (losses_beside.py)
    doubt   that it did harm nobody saw (foreign code ran, a specification changed): no hours in the low and middle reading
    code    what was altered may run: what it does shows in all that loaded it (losses.py)
    of_run  it is of one run, as checkpoints are: nobody is thought to have loaded it but who owns that run

Holds: every detector has its row, which a test asks for; nothing else in this room knows a detector by its number.
"""

import msgspec

from pipeline.model.finding import Finding

END, ALTERED, REMOVED, NONE = "end", "altered", "removed", ""
SLOWED, DIVERGED, ENDINGS = "slowed", "diverged", "endings"
FLOODED, ON_NODE, UNHEARD, BORROWED = "flooded", "on_node", "unheard", "borrowed"


class Family(msgspec.Struct, frozen=True):
    """One row."""

    means: str
    cost: str = NONE
    doubt: bool = False
    code: bool = False
    of_run: bool = False

    @property
    def shared_code(self) -> bool:
        """May what was altered run in many jobs, so that what it does shows in them?"""
        return self.code and not self.of_run


FAMILIES = {
    "p01_foreign_kill": Family("signals", END),
    "p02_kill_from_inside": Family("bytes", END),
    "p03_foreign_cancel": Family("orders", END),
    "p04_environment_tamper": Family("bytes", ALTERED, code=True),
    "p05_startup_hook": Family("bytes", ALTERED, doubt=True, code=True),
    "p06_checkpoint_tamper": Family("bytes", ALTERED, code=True, of_run=True),
    "p07_unsafe_pickle": Family("bytes", ALTERED, doubt=True, code=True, of_run=True),
    "p08_checkpoint_removed": Family("bytes", REMOVED),
    "p09_injected_delay": Family("bytes", SLOWED),
    "p10_convergence_sabotage": Family("bytes", DIVERGED),
    "p11_dataset_tamper": Family("bytes", ALTERED),
    "p12_spec_changed": Family("orders", END, doubt=True),
    "p13_queue_flooding": Family("queue", FLOODED),
    "p14_node_degraded": Family("nodes", ON_NODE),
    "p15_slow_campaign": Family("bytes", ENDINGS),
    "p16_reads_diagnoses": Family("reading"),
    "p17_borrowed_account": Family("accounts", BORROWED),
    "p18_telemetry_tamper": Family("telemetry", UNHEARD),
}
OF_COHORTS = frozenset({SLOWED, DIVERGED, ENDINGS})
REFUSED = frozenset({"cancel_refused", "spec_change_refused"})  # effects: nothing came of it
RESTORED = frozenset({"imported_restored_module", "read_restored_dataset"})  # likewise: the bytes are former ones, and results hold
NOTHING_CAME = REFUSED | RESTORED
BESIDE = frozenset({FLOODED, ON_NODE, UNHEARD, BORROWED})
WORDS = {
    "signals": "processes killed", "bytes": "files altered", "orders": "jobs cancelled or changed", "queue": "queue flooded",
    "nodes": "nodes slowed", "reading": "diagnoses followed", "accounts": "accounts borrowed", "telemetry": "telemetry silenced",
}  # fmt: skip


def family_of(finding: Finding) -> Family:
    """Its row."""
    return _row(finding.detector)


def _row(detector: str) -> Family:
    """A detector of another release that has none is a family of its own."""
    return FAMILIES.get(detector) or Family(detector)


def words_of(detector: str, effect: str = "") -> str:
    """By what its findings were brought about, in a title: those with this effect, or any."""
    family = _row(detector)
    if effect in REFUSED:
        return "orders refused"
    return "checkpoints removed" if family.cost == REMOVED else WORDS.get(family.means, family.means)


def is_signal(finding: Finding) -> bool:
    """Does it say that an account was in others' hands?"""
    return family_of(finding).means == "accounts" and finding.subject.kind == "identity"


def counts(finding: Finding) -> bool:
    """Does it show an act?  A refused try of which the detector names nobody may be a mistyped number."""
    return finding.alert and (finding.effect not in REFUSED or bool(finding.actor))
