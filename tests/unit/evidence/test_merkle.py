"""The tree: roots of RFC 6962, and proofs that hold for what is there and for nothing else."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvariantViolation
from pipeline.evidence.merkle import inclusion_proof, leaf_hash, levels_of, root_of
from pipeline.evidence.verify import is_included

# Leaves and roots that implementations of Certificate Transparency test with.
KNOWN = [b"", b"\0", b"\x10", b"\x20\x21", b"\x30\x31", b"\x40\x41\x42\x43", bytes(range(0x50, 0x58)), bytes(range(0x60, 0x70))]
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}
leaves = st.lists(st.binary(max_size=40), min_size=1, max_size=70)


def recursive(hashes: list[bytes]) -> bytes:
    """The definition of RFC 6962, word by word."""
    if len(hashes) < 2:
        return hashes[0] if hashes else sha256(b"").digest()
    half = 1
    while half * 2 < len(hashes):
        half *= 2
    return sha256(b"\1" + recursive(hashes[:half]) + recursive(hashes[half:])).digest()


@pytest.mark.parametrize("count", sorted(ROOTS))
def test_roots_are_those_of_certificate_transparency(count: int) -> None:
    """Another implementation agrees."""
    assert root_of([leaf_hash(leaf) for leaf in KNOWN[:count]]).hex() == ROOTS[count]


@given(leaves)
def test_level_by_level_is_the_recursive_tree(values: list[bytes]) -> None:
    """An odd node carried up stands where the definition puts it."""
    hashes = [leaf_hash(value) for value in values]
    assert root_of(hashes) == recursive(hashes)


@given(leaves, st.data())
def test_a_leaf_is_proved_where_it_is_and_nowhere_else(values: list[bytes], data: st.DataObject) -> None:
    """Another leaf, place, size or a longer, shorter or changed proof is refused."""
    hashes = [leaf_hash(value) for value in values]
    root, count = root_of(hashes).hex(), len(values)
    at = data.draw(st.integers(0, count - 1))
    proof = [each.hex() for each in inclusion_proof(levels_of(hashes), at)]
    assert is_included(values[at], at, count, proof, root)
    assert not is_included(values[at] + b"x", at, count, proof, root)
    assert not is_included(values[at], at, count, [*proof, "00" * 32], root)
    other = data.draw(st.integers(-1, count))
    if other != at and not (0 <= other < count and hashes[other] == hashes[at]):
        assert not is_included(values[at], other, count, proof, root)
    if proof:
        assert not is_included(values[at], at, count, proof[1:], root)
        changed = data.draw(st.integers(0, len(proof) - 1))
        assert not is_included(values[at], at, count, [*proof[:changed], "11" * 32, *proof[changed + 1 :]], root)


def test_a_node_is_no_leaf() -> None:
    """Two leaves cannot be passed off as one whose bytes are their hashes."""
    first, second = leaf_hash(b"a"), leaf_hash(b"b")
    assert root_of([leaf_hash(first + second)]) != root_of([first, second])


def test_a_leaf_that_is_not_there_has_no_proof() -> None:
    """Asking for one is a fault of ours."""
    with pytest.raises(InvariantViolation):
        inclusion_proof(levels_of([leaf_hash(b"a")]), 1)
