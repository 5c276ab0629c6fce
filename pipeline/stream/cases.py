"""Facts in, cases out: what one partition of one stage remembers.

A case keeps per fact id the greatest (rank, body), so order and repetition of facts do not matter.  Everything that a stage must
not forget is a fact in here, watermarks included; whatever else it holds is derived and built again after a restart.  `news` collects
what changed since it was last taken: the delta that the checkpoint appends to the state log.

    merge x@1, x@2, x@1        news: x@1, x@2        case: x@2

Most of what is known is of the past and not asked for again, so what a stage calls quiet is packed: compressed, with a short digest of
each id, and read without being unpacked for good.  A fact that comes later stands beside the packs; the greater one wins when the case
is asked for, as it would have before.

    a b c    seal(until 9)    [a b c]9    merge c' d    [a b c]9 c' d    of: a b c' d    seal(until 12)    [a b c' d]12

Packing is told in the news too, so that a reader of the state log holds the same things packed.  The times are the stage's own: those at
which it wants to look again, or before which it does not look back.

What was done since `begin` can be taken back, news included: a step that raised in the middle has folded half.

Holds: `of` is the same whether packed or not; asking changes nothing.
"""

import zlib
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

import msgspec

from pipeline.model.facts import Fact

# Ranks of what is not a fact but is done to a case, in the log; each greater than any rank of a content.
DROPPED = b"\xff" * 9  # the fact, or with an empty id the case, was forgotten
SEALED = b"\xff" * 10  # the whole case was packed
PACKED = b"\xff" * 11  # the facts with these digests were
UNPACKED = b"\xff" * 12  # packs that end by then were forgotten
FULL, LATE, ALIKE = "full", "late", "alike"  # why facts are left out
EMPTY: Mapping[str, tuple[bytes, bytes]] = MappingProxyType({})
NOTHING = (b"", b"")
LEVEL = 1  # 5 times smaller in a third of the time that the default takes for 6 times
# What facts say over and over.  Part of the layout: packs are read with the words that they were written with.
WORDS = (
    b"phase\xa3end\xa5startowner_uidaccount\xa9partition\xa3qosname\xa5stateCOMPLETEDFAILEDCANCELLEDTIMEOUTsubmit_hostexit_signal"
    b"derived_codework_dirstd_outtime_limit_secondscancelled_by_uid\xa4gpus\xa5nodesjob_stepcontroller_job\xa6changesubmitted"
    b"allocatedstartedcompletedcheckpoint_noteactionsavedloadedpath\xaf/lustre/checkpoints/iteration_totalconsumed_samples"
    b"elapsed_mslearning_rateglobal_batch_sizeloss_scalegrad_normskippednan\xaerank_failed\xa9local_rankexit_codetexttouch"
    b"signal_sentaudit_recordrecord_typeSYSCALLOBJ_PIDserialfieldsarchsyscallsuccessexeuidauidses\xa4comm\xa4opidoauidouidoses"
    b"\xa5ocomm\xa3keykeysemitted\xa7subject\xa8revision\xa6digest\xa4body\xa9retractedartefact_use\xa4load\xa6before"
    b"checkpoint_saved\xb1checkpoint_loadedsize_byteshost_coverage\xa7attempt\xa4host\xa6source\xa7bucketsslurmctldtrainingprobe"
    b"\xa6auditdsshdkernel\xa7cluster\xa4main\xaaevent_time\xcf\x00\x00\x01\x99\xa3job\xa3pid\xa3uid\xa4rank\xb0process_started"
    b"\xa4kind\xaajob_record\x88\xa4told\xa5event\xa2id\xd9 \xa6source\xadslurm_jobcomp\xa7cluster\xa4main\xaaevent_time\xcf"
    b"\x00\x00\x01\xa4body\x86\xa4type\xa9iteration\xa4host\xa7gpu-0\xa3job\xa6sha256\xd9@"
)


class Pack(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Facts of one case, packed; also how they stand in a base of the state log."""

    case: bytes
    until: int
    digests: bytes  # of the ids, 4 bytes each, ascending
    packed: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[str, bytes, bytes]]).decode
_times = msgspec.msgpack.Decoder(tuple[int, bytes]).decode


def _digest(fact_id: str) -> int:
    return zlib.crc32(fact_id.encode("utf-8", "surrogatepass"))


def _packed(case: bytes, until: int, facts: Mapping[str, tuple[bytes, bytes]]) -> Pack:
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=WORDS)
    packed = packer.compress(_encode([(fact_id, *pair) for fact_id, pair in facts.items()])) + packer.flush()
    return Pack(case, until, array("I", sorted(map(_digest, facts))).tobytes(), packed)


def _unpacked(pack: Pack) -> list[tuple[str, bytes, bytes]]:
    return _decode(zlib.decompressobj(-zlib.MAX_WBITS, zdict=WORDS).decompress(pack.packed))


class Cases:
    """All cases of one partition."""

    def __init__(self, facts: Iterable[Fact] = ()) -> None:
        self._cases: dict[bytes, dict[str, tuple[bytes, bytes]]] = {}  # what is not packed; no case in here is empty
        self._packs: dict[bytes, tuple[Pack, ...]] = {}
        self._digests: dict[bytes, Sequence[int]] = {}  # of all packs of a case, once they were asked for
        self._news: list[Fact] = []
        self._before: dict[bytes, tuple[dict[str, tuple[bytes, bytes]], tuple[Pack, ...]]] | None = None  # what changed since `begin`
        self._told = 0  # news before that
        self.left_out: Counter[str] = Counter()  # why -> facts; for whoever counts them, who takes them away
        self._left_before = self.left_out
        self.aside: frozenset[bytes] = frozenset()  # kept, and out of the sight of the stage, which does not bear them
        for fact in facts:
            self.merge(fact)
        self._news.clear()

    def __len__(self) -> int:
        return len(self._cases) + sum(case not in self._cases for case in self._packs)

    def __iter__(self) -> Iterator[bytes]:
        for case in self.every():
            if case not in self.aside:
                yield case

    def every(self) -> Iterator[bytes]:
        """Also those that are set aside: what the state log holds."""
        yield from self._cases
        for case in self._packs:
            if case not in self._cases:
                yield case

    def __contains__(self, case: bytes) -> bool:
        return case in self._cases or case in self._packs

    def of(self, case: bytes, after: int = 0) -> Mapping[str, tuple[bytes, bytes]]:
        """Fact id -> (rank, body) of one case, without packs that end by then; empty when there is none."""
        packs = [pack for pack in self._packs.get(case, ()) if pack.until > after]
        return self._together(case, packs) if packs else self._cases.get(case, EMPTY)

    def open(self, case: bytes) -> Mapping[str, tuple[bytes, bytes]]:
        """The facts that are not packed."""
        return self._cases.get(case, EMPTY)

    def until(self, case: bytes, fact_ids: Iterable[str]) -> dict[str, int]:
        """Of these facts of one case those that are packed, and until when."""
        packs, is_open = sorted(self._packs.get(case, ()), key=lambda pack: pack.until), self.open(case)
        ends = {digest: pack.until for pack in packs for digest in _array(pack.digests)}
        return {name: ends[_digest(name)] for name in fact_ids if name not in is_open and _digest(name) in ends}

    def merge(self, fact: Fact) -> bool:
        """Take the fact if it says more than what is known; True when the case changed."""
        if fact.rank >= DROPPED:
            return self._done(fact)
        case = self._cases.get(fact.case)
        old = case.get(fact.id) if case is not None else None
        if old is None and fact.case in self._packs:
            old = self._in_packs(fact.case, fact.id)
        new = (fact.rank, fact.body) if fact.rank or fact.body else NOTHING
        if old is not None and old >= new:
            return False
        if self._before is not None:
            self._keep(fact.case)
        if case is None:
            case = self._cases[fact.case] = {}
        case[fact.id] = new
        self._news.append(fact)
        return True

    def drop(self, case: bytes, fact_id: str = "") -> bool:
        """Forget one fact, or with an empty id the whole case.

        The caller guarantees that it is not told again: retention refuses what is older than its horizon.
        """
        self._keep(case)
        if fact_id and case in self._packs and self._in_packs(case, fact_id) is not None:
            self._cases[case] = dict(self._together(case, self._packs[case]))
            self._release(case)
        known = self._cases.get(case)
        if (known is None or fact_id not in known) if fact_id else case not in self:
            return False
        if fact_id and known is not None:
            del known[fact_id]
        if not fact_id or not known:
            self._cases.pop(case, None)
        if not fact_id:
            self._release(case)
        self._news.append(Fact(case, fact_id, DROPPED, b""))
        return True

    def leave_out(self, case: bytes, fact_id: str, why: str) -> bool:
        """Forget a fact: no room (FULL; among signals: ALIKE), or it came when its attempt was forgotten (LATE).  Counted."""
        self.left_out[why] += 1
        return self.drop(case, fact_id)

    # --- packing

    def seal(self, case: bytes, until: int) -> bool:
        """Pack the whole case: nothing is expected of it, and the stage looks at it again at `until`.  False: it is so already."""
        packs = self._packs.get(case, ())
        if case not in self._cases and (not packs or (len(packs) == 1 and packs[0].until == until)):
            return False
        self._keep(case)
        pack = _packed(case, until, self.of(case))
        self._cases.pop(case, None)
        self._release(case)
        self._packs[case] = (pack,)
        self._news.append(Fact(case, "", SEALED, _encode((until, b""))))
        return True

    def pack(self, case: bytes, fact_ids: Collection[str], until: int) -> bool:
        """Pack these facts: the stage does not look back to what was before `until`."""
        return self._pack(case, array("I", sorted(map(_digest, fact_ids))), until)

    def forget(self, case: bytes, before: int) -> bool:
        """Forget the packs until `before`, unopened."""
        packs = self._packs.get(case, ())
        kept = tuple(pack for pack in packs if pack.until > before)
        if len(kept) == len(packs):
            return False
        self._keep(case)
        self._release(case)
        if kept:
            self._packs[case] = kept
        self._news.append(Fact(case, "", UNPACKED, _encode((before, b""))))
        return True

    def sealed(self, case: bytes) -> int:
        """The time at which the stage wants to look at a sealed case; 0 when some of it is not packed."""
        packs = self._packs.get(case)
        return max(pack.until for pack in packs) if packs and case not in self._cases else 0

    def packs(self, case: bytes) -> tuple[Pack, ...]:
        """What is packed of a case."""
        return self._packs.get(case, ())

    def put(self, pack: Pack) -> None:
        """A pack out of a base of the state log."""
        self._packs[pack.case] = (*self._packs.get(pack.case, ()), pack)

    # --- taking back

    def begin(self) -> None:
        """From here on, until `end` or `undo`, what changes can be taken back."""
        self._before, self._told = {}, len(self._news)
        self._left_before = self.left_out.copy()

    def end(self) -> None:
        """It stays."""
        self._before = None

    def undo(self) -> None:
        """All is as it was at `begin`."""
        before, self._before = self._before or {}, None
        self.left_out = self._left_before
        for case, (facts, packs) in before.items():
            self._cases.pop(case, None)
            self._release(case)
            if facts:
                self._cases[case] = facts
            if packs:
                self._packs[case] = packs
        del self._news[self._told :]

    def _keep(self, case: bytes) -> None:
        if self._before is not None and case not in self._before:
            self._before[case] = dict(self._cases.get(case, EMPTY)), self._packs.get(case, ())

    # --- all of it

    def facts(self) -> Iterator[Fact]:
        """Everything known, case by case."""
        for case in self.every():
            for fact_id, (rank, body) in self.of(case).items():
                yield Fact(case, fact_id, rank, body)

    def take_news(self) -> list[Fact]:
        """What changed since the last call, in order."""
        news, self._news = self._news, []
        return news

    # --- inside

    def _done(self, fact: Fact) -> bool:
        """Do what was done to a case."""
        if fact.rank == DROPPED:
            return self.drop(fact.case, fact.id)
        until, digests = _times(fact.body)
        if fact.rank == SEALED:
            return self.seal(fact.case, until)
        if fact.rank == PACKED:
            return self._pack(fact.case, _array(digests), until)
        return self.forget(fact.case, until)

    def _pack(self, case: bytes, digests: Sequence[int], until: int) -> bool:
        if not digests:  # asked with each batch, where there is mostly nothing to pack
            return False
        known, wanted = self._cases.get(case, EMPTY), set(digests)
        facts = {fact_id: pair for fact_id, pair in known.items() if _digest(fact_id) in wanted}
        if not facts:
            return False
        self._keep(case)
        pack = _packed(case, until, facts)
        left = {fact_id: pair for fact_id, pair in known.items() if fact_id not in facts}
        if left:
            self._cases[case] = left
        else:
            del self._cases[case]
        self._digests.pop(case, None)
        self._packs[case] = (*self._packs.get(case, ()), pack)
        self._news.append(Fact(case, "", PACKED, _encode((until, pack.digests))))
        return True

    def _together(self, case: bytes, packs: Iterable[Pack]) -> Mapping[str, tuple[bytes, bytes]]:
        together: dict[str, tuple[bytes, bytes]] = {}
        for pack in packs:
            for fact_id, rank, body in _unpacked(pack):
                if (rank, body) >= together.get(fact_id, NOTHING):
                    together[fact_id] = (rank, body)
        together.update(self._cases.get(case, EMPTY))  # what is not packed came later because it was greater
        return together

    def _in_packs(self, case: bytes, fact_id: str) -> tuple[bytes, bytes] | None:
        digests = self._digests.get(case)
        if digests is None:
            digests = self._digests[case] = array("I", sorted(digest for pack in self._packs[case] for digest in _array(pack.digests)))
        digest = _digest(fact_id)
        at = bisect_left(digests, digest)
        if at == len(digests) or digests[at] != digest:
            return None
        return self._together(case, self._packs[case]).get(fact_id)

    def _release(self, case: bytes) -> None:
        self._packs.pop(case, None)
        self._digests.pop(case, None)


def _array(digests: bytes) -> "array[int]":
    values = array("I")
    values.frombytes(digests)
    return values
