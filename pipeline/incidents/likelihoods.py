"""The one table of likelihood ratios: how much more often a kind of evidence is seen under a hypothesis than under its rival.

The rival is always the same, "somebody of whom no record tells", so ratios of one hypothesis multiply and two hypotheses are compared by
their products.  Each kind counts once for a hypothesis, however many records show it: records of one hand are not independent.

Ratios of this kind are hardly ever published.  Where a publication gives the number it is named; all others are marked ASSUMPTION, span at
least a factor of ten, and open nothing by themselves: who is named is decided by independent sources first (attribution.py).

Holds, and a test pins it: low <= high; an assumption spans a factor of ten; a published one names where.
"""

import msgspec

ASSUMPTION = "assumption"
SPAN_MIN = 10.0
# Decades by which a person must lead to be named.
GAP_MIN = 1.0  # over any other person, machine or chance, times the number of candidates
BORROWED_GAP_MIN = 0.5  # over the borrowed account


class Kind(msgspec.Struct, frozen=True):
    """One kind of evidence for or against one kind of hypothesis."""

    name: str
    statement: str
    low: float
    high: float
    source: str = ASSUMPTION

    @property
    def assumed(self) -> bool:
        """No publication gives it."""
        return self.source == ASSUMPTION


_TABLE = (
    # --- who did it: for "did" and, since the account is the same, for "borrowed"
    Kind("act", "a record shows the causing act under this account, and the detector's gate is passed", 1e2, 1e4),
    Kind("act_below_gate", "a record shows such an act; a benign explanation is open, or whether it did the harm", 1.0, 30.0),
    Kind("bytes", "other bytes were loaded than were known before, and a write under this account lies between", 10.0, 1e3),
    Kind("second_source", "a second source, which no one hand writes with the first, shows acts under the same account", 10.0, 1e2),
    Kind("days", "acts under this account on three days or more", 2.0, 20.0),
    Kind("reads", "diagnoses were read under this account, and changes followed", 1.0, 10.0),
    Kind("came_after", "each act under this account was done to what another hand had altered before, with effect", 1e-2, 0.3),
    Kind("altered_before", "each act under this account rests on what had been altered before, and no record says by whom", 1e-2, 0.3),
    # --- the account in others' hands
    Kind("no_sign", "logins were recorded, and none looks borrowed; a copied key need not, nor a new place beside few days", 0.03, 0.3),
    Kind("unheard", "logins were not recorded throughout: whether the account was borrowed cannot be told", 0.3, 3.0),
    Kind("no_login", "logins were recorded, and none of this account: a timer, a job or somebody else acted under it", 0.1, 10.0),
    Kind(
        "unlike_owner",
        "logins were recorded; in the week before an act the account was entered by others, in a new way, or from where a colleague works",
        0.1, 10.0,
    ),
    Kind("open_sign", "logins were recorded, and what looks borrowed in them has a benign explanation that is still open", 0.03, 3.0),
    Kind("signal_apart", "others used this account, but not in the week before any of the acts, nor the day after", 0.1, 3.0),
    Kind("signal", "a finding says that the account was used by others, or after its owner had left", 10.0, 1e3),
    Kind("shared", "several people have this account", 3.0, 1e2),
    Kind("owner_less", "the owner would not have needed what the account's other users did", 0.05, 0.9),
    # --- nobody
    Kind("compared", "what loaded the bytes went otherwise than its siblings; such a comparison errs in 2 of 100", 0.01, 0.3),
    Kind("recorded_act", "acts with an effect are on record: faults leave none", 1e-4, 1e-2),
    Kind(
        "ends_badly", "jobs end badly without anybody's doing", 0.155, 0.434,
        "failed shares of GPU jobs: Helios 15.5 %, Philly 30.5 %, Seren 42.9 % (AcmeTrace cluster_summary.csv); "
        "Unicron 43.4 % (arXiv 2401.00134)",
    ),
    Kind(
        "sequential", "jobs that loaded the bytes kept failing beyond the rate of the others", 1e-3 / 0.9, 1e-2 / 0.9,
        "error bounds of the sequential test, 1e-3 and 0.1: Wald, Ann. Math. Stat. 16 (1945) 117",
    ),
    # --- somebody of whom no record tells
    Kind("one_source", "one source, or one host, alone says who acted: whoever can write there can point at anybody", 1.0, 1e2),
    Kind("several_hands", "several accounts acted on one effect", 1.0, 10.0),
)  # fmt: skip
KINDS: dict[str, Kind] = {kind.name: kind for kind in _TABLE}
