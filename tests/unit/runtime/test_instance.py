"""The name of a worker in its group: kept over restarts, never shared by two live processes."""

import os

import pytest

from pipeline.errors import ConfigError
from pipeline.runtime.instance import EVICTIONS_OF_NEWCOMER, EVICTIONS_OF_OLD, TWIN_SECONDS, YOUNG_SECONDS, Instance, Twins, claim
from pipeline.settings import KafkaSettings, Settings, WorkerSettings


def settings(tag: str, instance_id: str = "auto") -> Settings:
    """Of a group that no other test, and no other run, uses."""
    return Settings(kafka=KafkaSettings(group=f"{tag}-{os.getpid()}"), worker=WorkerSettings(instance_id=instance_id))


def release(instance: Instance) -> None:
    """What the kernel does when a process is gone."""
    assert instance.held is not None
    instance.held.close()


def test_live_workers_of_a_host_have_slots_of_their_own_and_a_restart_finds_its_own() -> None:
    """Whatever ended the first."""
    site = settings("slots")
    first, second = claim(site), claim(site)
    assert [first.slot, second.slot] == [0, 1]
    assert first.name != second.name
    release(first)
    again = claim(site)
    assert again[:2] == first[:2]
    release(again)
    release(second)


def test_groups_do_not_share_slots() -> None:
    """Each counts from its own first one."""
    mine, yours = claim(settings("mine")), claim(settings("yours"))
    assert mine[:2] == yours[:2]
    release(mine)
    release(yours)


def test_a_chosen_name_in_use_is_refused() -> None:
    """With the process that has it, and free again when that is gone."""
    site = settings("chosen", "gpu-012-a")
    first = claim(site)
    with pytest.raises(ConfigError, match=rf"\(pid {os.getpid()}\) is already instance gpu-012-a"):
        claim(site)
    release(first)
    release(claim(site))


def test_an_empty_name_is_an_ordinary_member() -> None:
    """Nothing is held."""
    assert claim(settings("none", "")) == Instance("")


def evictions(count: int, *, every: float, after: float = 0.0, name: str = "w1") -> None:
    twins = Twins(name)
    twins.joined("m0", 0.0)
    for number in range(1, count + 1):
        twins.joined(f"m{number}", after + number * every)


@pytest.mark.parametrize(
    ("count", "every", "after", "name", "ends"),
    [
        (EVICTIONS_OF_NEWCOMER, 0.4, 0.0, "w1", True),
        (EVICTIONS_OF_NEWCOMER - 1, 0.4, 0.0, "w1", False),
        (EVICTIONS_OF_NEWCOMER, 0.4, YOUNG_SECONDS, "w1", False),  # the elder stays, and has rest when the newcomer has gone
        (EVICTIONS_OF_OLD, 0.4, YOUNG_SECONDS, "w1", True),
        (20, TWIN_SECONDS, 0.0, "w1", False),  # sessions that expire now and then
        (20, 0.4, 0.0, "", False),  # an ordinary member gets a new id at each join
    ],
)
def test_the_newcomer_of_two_twins_gives_way(count: int, every: float, after: float, name: str, ends: bool) -> None:
    """Evictions close together mean that another process goes by our name."""
    if not ends:
        evictions(count, every=every, after=after, name=name)
        return
    with pytest.raises(ConfigError, match="another live process is instance w1"):
        evictions(count, every=every, after=after, name=name)


def test_a_rebalance_is_no_eviction() -> None:
    """The member id stays."""
    twins = Twins("w1")
    for number in range(50):
        twins.joined("m0", number * 0.1)
