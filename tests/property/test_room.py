"""The bound of signals on a host: whatever comes in whatever order, with restarts anywhere, the same signals stay.

room     calls in any order, some again, a room made anew of what was kept at any time    =   the two bounds worked out from all calls
stage    the same with the records that name targets, and jobs on the host                =   what is told of the signals that stay
"""

import random
from collections.abc import Callable, Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from pipeline.formats.assembly import SignalCall
from pipeline.hosts.room import FEW, IGNORED, Room, Sent
from pipeline.hosts.step import build_state, step
from pipeline.model.events import Event, SignalSent
from pipeline.model.facts import Fact, host_case
from pipeline.model.instants import DAY_MS, HOUR_MS
from pipeline.model.outcome import Tell
from pipeline.model.source import Source
from pipeline.model.told import NodeTouch, Touch, decode_told
from pipeline.stream.cases import ALIKE, Cases
from pipeline.stream.watermark import NOTHING
from tests import build
from tests.build import CLUSTER, COLLEAGUE, HOST, OTHER, OWNER, PID, UNSET, allocation, heard, job_end, kill_parts, process_started, to_host
from tests.property.profile import examples

PEOPLE = frozenset({OWNER, COLLEAGUE, OTHER})
Call = tuple[Sent, SignalCall, bool]


def key_alike(call: Call) -> tuple[object, ...]:
    return call[1].auid, call[1].uid, call[1].euid, call[1].target, call[1].signal, call[1].done, call[2], call[0][0] // HOUR_MS


def key_harmless(call: Call) -> tuple[object, ...] | None:
    """By whom, if he is sure to have reached only himself."""
    sent, said, unproven = call
    auid, uid, euid = (int(each) if each and each != str(UNSET) else None for each in (said.auid, said.uid, said.euid))
    who = auid if auid is not None or uid not in PEOPLE else uid
    free = uid in (0, None) or euid in (0, None) or any(each != who and each in PEOPLE for each in (uid, euid))
    if free and not unproven:
        return None
    whose = "anybody" if unproven else who
    return whose, *kind(said), sent[0] // DAY_MS


def kind(said: SignalCall) -> tuple[bool, bool, bool]:
    """Whether it succeeded, can kill, was to a group."""
    return said.done, int(said.signal, 16) not in IGNORED, said.target[:1] in ("0", "f") and said.target != ""


def first(calls: Iterable[Call], key: Callable[[Call], tuple[object, ...] | None], most: Callable[[Call], int]) -> list[Call]:
    counts: dict[object, int] = {}
    kept = []
    for call in sorted(calls, key=lambda each: each[0]):
        group = key(call)
        counts[group] = counts.get(group, 0) + 1
        if group is None or counts[group] <= most(call):
            kept.append(call)
    return kept


def model(calls: Sequence[Call], most: int) -> set[Sent]:
    """From scratch."""
    few = max(1, most // FEW)
    alike = first(calls, key_alike, lambda call: few if call[1].target else most)
    return {call[0] for call in first(alike, key_harmless, lambda call: most if kind(call[1]) == (True, True, False) else few)}


def made(dice: random.Random, number: int) -> Call:
    sent = (dice.choice([DAY_MS, DAY_MS + HOUR_MS]) + dice.randrange(3_000), number, "")
    uid = dice.choice(["0", "", str(OWNER), "100001", "100002", *[str(COLLEAGUE)] * 12])
    call = SignalCall(
        auid=dice.choice(["", str(UNSET), str(OWNER), *[str(COLLEAGUE)] * 6]),
        uid=uid,
        euid=dice.choice([*[uid] * 8, "0", str(OWNER)]),
        target=dice.choice(["", "0", "ffffffff", *[f"{pid:x}" for pid in range(16, 60)]]),
        signal=dice.choice(["9", "9", "f", "12"]),
        done=dice.random() < 0.9,
    )
    return sent, call, dice.random() < 0.05


@given(seed=st.integers(0, 2**32), count=st.integers(0, 900), most=st.sampled_from([50, 100, 150]))
@examples(80)
def test_the_same_calls_stay_in_any_order_and_behind_any_restart(seed: int, count: int, most: int) -> None:
    """Each that came stays or was answered as left out."""
    dice = random.Random(seed)
    calls = [made(dice, number) for number in range(count)]
    dice.shuffle(calls)
    room, kept = Room(most, PEOPLE), dict[Sent, Call]()
    for call in [*calls, *dice.sample(calls, count // 3)]:
        if dice.random() < 0.01:
            room, known = Room(most, PEOPLE), [*kept.values()]
            dice.shuffle(known)
            assert not any(room.take(each[0], each[1], unproven=each[2]) for each in known)
        kept[call[0]] = call
        for out in room.take(call[0], call[1], unproven=call[2]):
            kept.pop(out, None)
    assert kept.keys() == model(calls, most)


# --- the stage ------------------------------------------------------------------------------------------------------------------

SETTINGS = build.settings(retention={"host_signals_max": 50})  # so one alike
SIGNALS: list[tuple[list[Event], bool]] = [  # with what stays of it
    (kill_parts(50, serial=1), True),
    (kill_parts(51, serial=2), False),
    (kill_parts(52, serial=3, signal=15), True),
    (kill_parts(53, serial=4, target=PID + 1), True),
    (kill_parts(54, serial=5, target=PID + 1), False),
    (kill_parts(55, serial=6, auid=OTHER, uid=0), True),
    (kill_parts(56, serial=7, auid=OTHER, uid=0), False),
    (kill_parts(3_700, serial=8, auid=OTHER, uid=0), True),  # another hour
    (kill_parts(60, serial=9, asked=2**32 - 9), True),
    (kill_parts(61, serial=10, asked=2**32 - 10), False),  # another group, but one a day
]
WATCHED = [
    build.event(at, Source.TETRAGON, SignalSent(signal=9, target_pid=77, success=True, serial=0, uid=0, auid=COLLEAGUE), host=HOST)
    for at in (70, 71)
]
OTHERS: list[Event | Fact] = [allocation(), process_started(1), job_end(4_000), allocation(0, job="8", owner_uid=OTHER), heard(40)]
PARTS = [part for parts, _ in SIGNALS for part in parts]
FACTS = [*map(to_host, [*PARTS, *WATCHED]), *(each if isinstance(each, Fact) else to_host(each) for each in OTHERS)]
STAY = {part.id for parts, stays in SIGNALS if stays for part in parts} | {WATCHED[0].id}


def cited(event: Event) -> set[str]:
    return {name for name, _ in event.parts} or {event.id}


@given(data=st.data())
@examples(80)
def test_what_is_told_of_signals_does_not_depend_on_order_batches_and_restarts(data: st.DataObject) -> None:
    """Facts again, batches of any size, and a state that is made anew: the same touches, and none of what was left out."""
    said, cases, done = Cases(), Cases(), 0
    order = data.draw(st.permutations([*FACTS, *data.draw(st.lists(st.sampled_from(FACTS), max_size=8))]))
    state = build_state(SETTINGS, cases)
    while done < len(order):
        size = data.draw(st.sampled_from([1, 1, 2, 5, 40]))
        state, outcomes = step(state, order[done : done + size], NOTHING)
        done += size
        for out in outcomes:
            if isinstance(out, Tell) and out.stage == "jobs":
                said.merge(out.fact)
        if data.draw(st.integers(0, 4)) == 0:
            left = cases.left_out
            cases = Cases(cases.facts())
            cases.left_out = left
            state = build_state(SETTINGS, cases)
    touches = {
        (fact.id, fact.rank, fact.body) for fact in said.facts() if fact.body and isinstance(decode_told(fact.body), (Touch, NodeTouch))
    }
    assert touches == TOUCHES
    kept = cases.of(host_case(CLUSTER, HOST)).keys()
    syscalls = {parts[0].id for parts, _ in SIGNALS} | {each.id for each in WATCHED}
    assert kept & syscalls == STAY & syscalls
    assert kept >= STAY
    assert {fact.id for fact in FACTS if not fact.id.startswith("heard")} - kept <= {
        *(part.id for parts, stays in SIGNALS if not stays for part in parts), WATCHED[1].id,
    }  # fmt: skip
    assert cases.left_out[ALIKE] >= len(syscalls - STAY)


def _touches_of_those_that_stay() -> set[tuple[str, bytes, bytes]]:
    """Told by a stage that never saw the others."""
    said = Cases()
    names = {part.id for parts, stays in SIGNALS if not stays for part in parts} | {WATCHED[1].id}
    _, outcomes = step(build_state(build.settings(), Cases()), [fact for fact in FACTS if fact.id not in names], NOTHING)
    for out in outcomes:
        if isinstance(out, Tell) and out.stage == "jobs":
            said.merge(out.fact)
    found = [(fact, decode_told(fact.body)) for fact in said.facts() if fact.body]
    touches = [(fact, told) for fact, told in found if isinstance(told, (Touch, NodeTouch))]
    assert {name for _, told in touches for name in cited(told.event)} == STAY
    return {(fact.id, fact.rank, fact.body) for fact, _ in touches}


TOUCHES = _touches_of_those_that_stay()
