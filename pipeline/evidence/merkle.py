"""Leaf hashes in; the root of their tree, and proofs against it, out: the tree of RFC 6962, section 2.1.

    root of 5           inclusion of c: d, ab, e
         abcde
        /     \\         Leaves and nodes are hashed with different first bytes, so that no node passes for a leaf.
      abcd     e        Level by level, an odd last node is carried up as it is, which gives the same tree as the
     /    \\             recursive definition with the largest power of two below n.
    ab     cd

Checking a proof is in `verify.py`, since the checker must not need this file.
Holds: the same leaves in the same order give the same root; another leaf, order or number gives another.
"""

from collections.abc import Sequence
from hashlib import sha256

from pipeline.errors import require
from pipeline.evidence.verify import EMPTY_ROOT, LEAF, NODE


def leaf_hash(leaf: bytes) -> bytes:
    """Of the leaf's own bytes."""
    return sha256(LEAF + leaf).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over leaf hashes, in order."""
    return levels_of(hashes)[-1][0] if hashes else EMPTY_ROOT


def levels_of(hashes: Sequence[bytes]) -> list[list[bytes]]:
    """The tree from the leaves upwards: for many proofs of one range."""
    levels = [list(hashes)]
    while len(levels[-1]) > 1:
        levels.append(_above(levels[-1]))
    return levels


def inclusion_proof(levels: Sequence[Sequence[bytes]], position: int) -> list[bytes]:
    """Siblings from the leaf upwards; where it has none on a level, none is listed."""
    require(0 <= position < len(levels[0]), f"no leaf {position} in a tree of {len(levels[0])}")
    siblings = ((level, (position >> height) ^ 1) for height, level in enumerate(levels))
    return [level[sibling] for level, sibling in siblings if sibling < len(level)]


def _above(level: list[bytes]) -> list[bytes]:
    pairs = iter(level)
    above = [sha256(NODE + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
    if len(level) % 2:
        above.append(level[-1])
    return above
