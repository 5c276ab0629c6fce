"""The checkpoint against a sink that refuses, errs or is silent."""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec
import pytest

from pipeline.errors import MigrationMissing, SinkOverloaded
from pipeline.model.facts import Fact
from pipeline.model.outcome import Record
from pipeline.runtime import checkpoint as module
from pipeline.runtime import state_log
from pipeline.runtime.abandoned import Abandoned, Cancelled
from pipeline.runtime.partition import Source
from pipeline.sink.rows import RowsRefused
from tests.property.test_checkpoint_model import Crash, Process, World

ASIDE = b"\x00case"  # of no record


class Wilful(Process):
    """A process whose sink does as a test wants."""

    refused: frozenset[int] = frozenset()
    errors = 0
    fatal = False
    lost: BaseException | None = None  # what the proof raises

    def insert(self, table: str, rows: Sequence[msgspec.Struct], token: str, incarnation: str = "") -> None:
        if self.fatal:
            raise MigrationMissing("no such table")
        if self.errors:
            self.errors -= 1
            error = SinkOverloaded("too many parts")
            error.retry_after_seconds = 0.01
            raise error
        positions = tuple(position for position, row in enumerate(rows) if row.offset in self.refused)  # type: ignore[attr-defined]
        if positions:
            raise RowsRefused("a value out of bounds", positions)
        super().insert(table, rows, token, incarnation)

    async def confirm(self, offsets: Mapping[Source, int]) -> None:
        if self.lost is not None:
            raise self.lost
        await super().confirm(offsets)

    async def _originals(self, source: Source, offsets: Sequence[int]) -> list[Record]:
        return [record for record in self.world.records if record.offset in offsets]


def world_of(count: int) -> World:
    """A topic with records 0 to count - 1; of five, the third, fourth and fifth are written."""
    world = World()
    world.end = count
    world.records = [
        Record(topic="logs.access", partition=0, offset=offset, timestamp=1, value=b"line", key=b"key") for offset in range(count)
    ]
    return world


def stored(world: World) -> list[int]:
    return sorted(row.offset for row in world.sink.rows("events"))  # type: ignore[attr-defined]


@pytest.mark.asyncio
async def test_refused_rows_become_dead_letters_and_the_rest_is_stored() -> None:
    """Under the same token, so that a replay of the range meets the block that is there."""
    world = world_of(10)
    process = Wilful(world)
    process.refused = frozenset({3, 8})
    process.fold(10)
    await process.checkpoint.run()
    assert stored(world) == [2, 4, 7, 9]
    [noted] = world.sink.ranges()
    assert dict(noted.listed)[3] == dict(noted.listed)[8] == "insert_refused"
    assert noted.offsets_written + len(noted.listed) == noted.hi - noted.lo
    assert [letter for letter in process.letters if b"insert_refused" in dict(letter).values()]
    process.checkpoint.close()


@pytest.mark.asyncio
async def test_a_replay_of_a_range_with_refused_rows_ends_the_same() -> None:
    """The process dies behind its insert; the next one finds the block, whose intent already says what was refused."""
    world = world_of(10)
    first = Wilful(world)
    first.refused, first.acts = frozenset({3}), 3  # intent, proof, intent with fewer rows; it dies where it publishes
    first.fold(10)
    with pytest.raises(Crash):
        await first.checkpoint.run()
    first.checkpoint.close()
    second = Wilful(world)
    second.refused = frozenset({3})
    second.fold(10)
    await second.checkpoint.run()
    assert stored(world) == [2, 4, 7, 8, 9]
    assert len(world.sink.ranges()) == 1
    second.checkpoint.close()


@pytest.mark.asyncio
async def test_a_frozen_worker_deletes_nothing_even_without_new_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What its new bases replace is still in use by the next owner, and no other proof comes when no offset has moved."""
    monkeypatch.setattr(state_log, "BASE_FROM_BYTES", 1)
    monkeypatch.setattr(state_log, "BASE_SHARE", 0.0)
    world = world_of(10)
    first = Process(world)
    first.fold(10)
    await first.checkpoint.run()
    assert first.part is not None
    for number in range(20):  # all buckets have bases, which the next ones replace
        first.part.cases.merge(Fact(ASIDE, str(number), b"", b"x"))
        await first.checkpoint.run()
    assert [name for name, value in world.log if value is None]
    first.part.cases.merge(Fact(ASIDE, "late", b"", b"x"))
    second = Process(world)  # takes over while the first is frozen
    before = len(world.log)
    await first.checkpoint.run()
    assert first.part is None
    assert not [name for name, value in world.log[before:] if value is None]
    third = Process(world)  # finds all that the second found
    assert second.part is not None
    assert third.part is not None
    assert set(third.part.cases.of(ASIDE)) == set(second.part.cases.of(ASIDE)) == {str(number) for number in range(20)}
    for process in (first, second, third):
        process.checkpoint.close()


@pytest.mark.asyncio
async def test_transient_errors_are_tried_again() -> None:
    """An error says nothing about the outcome; the token makes repeating harmless."""
    world = world_of(10)
    process = Wilful(world)
    process.errors = 3
    process.fold(10)
    await process.checkpoint.run()
    assert stored(world) == [2, 3, 4, 7, 8, 9]
    process.checkpoint.close()


@pytest.mark.asyncio
async def test_a_fatal_error_drops_the_partitions() -> None:
    """Nothing of them may be committed by the checkpoint that the shutdown runs."""
    world = world_of(10)
    process = Wilful(world)
    process.fatal = True
    process.fold(10)
    before = len(world.log)
    with pytest.raises(MigrationMissing):
        await process.checkpoint.run()
    assert process.part is None
    assert len(world.log) == before + 1  # the intent, for the next owner
    await process.checkpoint.run()
    assert len(world.log) == before + 1
    process.checkpoint.close()


@pytest.mark.asyncio
async def test_a_rebalance_does_not_wait_for_a_sink_that_errs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hurried, it leaves the intent open, and the next owner finishes the range."""
    monkeypatch.setattr(module, "HURRY_SECONDS", 0.05)
    world = world_of(10)
    first = Wilful(world)
    first.errors = 10**9
    first.fold(10)
    running = asyncio.create_task(first.checkpoint.run())
    await asyncio.sleep(0)
    first.checkpoint.hurry()
    await asyncio.wait_for(running, 10)
    assert first.part is None
    first.checkpoint.close()
    second = Wilful(world)
    assert second.part is not None
    assert second.part.held
    second.fold(10)
    await second.checkpoint.run()
    assert stored(world) == [2, 3, 4, 7, 8, 9]
    second.checkpoint.close()


@pytest.mark.asyncio
async def test_a_checkpoint_that_is_cancelled_within_is_an_error() -> None:
    """As by a client whose future somebody cancels: its task would end without a word, and the worker go on without checkpoints."""
    process = Wilful(world_of(10))
    process.lost = asyncio.CancelledError()
    process.fold(10)
    with pytest.raises(Cancelled) as ended:
        await process.checkpoint.run()
    assert "start it again" in ended.value.advice.lower()
    assert process.part is None
    process.checkpoint.close()


@pytest.mark.asyncio
async def test_a_checkpoint_whose_task_is_cancelled_ends_quietly() -> None:
    """Whoever cancels it waits for that."""
    process = Wilful(world_of(10))
    process.errors = 10**9
    process.fold(10)
    running = asyncio.create_task(process.checkpoint.run())
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert process.part is None
    process.checkpoint.close()


@pytest.mark.asyncio
async def test_nothing_is_urgent_behind_a_checkpoint_that_was_abandoned() -> None:
    """Its partitions are somebody else's, and there is nothing to hurry for."""
    process = Wilful(world_of(10))
    process.checkpoint.urgent = True  # published, before the proof of the commit fails
    process.lost = Abandoned("no longer a member")
    process.fold(10)
    await process.checkpoint.run()
    assert (process.part, process.checkpoint.urgent) == (None, False)
    process.checkpoint.close()
