"""Which port a server gets."""

import socket
from collections.abc import Iterator

import pytest

from pipeline.embedded import ports
from pipeline.errors import ServerFailed

SETTING = "embedded.kafka_port"


@pytest.fixture
def busy() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as listener:
        listener.bind((ports.HOST, 0))
        listener.listen(1)
        yield listener.getsockname()[1]


@pytest.fixture
def free() -> int:
    """A port on which nobody listens."""
    return ports.choose(SETTING, configured=0, remembered=None)


def test_a_configured_port_is_taken_as_it_is(free: int) -> None:
    """Over the remembered one, too."""
    assert ports.choose(SETTING, configured=free, remembered=free + 1) == free


def test_a_configured_port_in_use_is_an_error_that_names_port_and_setting(busy: int) -> None:
    """Clients were told that port, so another one would be no help."""
    with pytest.raises(ServerFailed) as caught:
        ports.choose(SETTING, configured=busy, remembered=None)
    assert str(busy) in str(caught.value)
    assert SETTING in str(caught.value)
    assert SETTING in caught.value.advice


def test_a_configured_port_promised_to_another_server_is_an_error(free: int) -> None:
    """Two settings with one number."""
    with pytest.raises(ServerFailed, match=str(free)):
        ports.choose(SETTING, configured=free, remembered=None, taken={free})


def test_the_remembered_port_is_used_again(free: int) -> None:
    """Open consoles keep working over a restart."""
    assert ports.choose(SETTING, configured=0, remembered=free) == free


def test_a_remembered_port_in_use_is_given_up(busy: int) -> None:
    """A drawn port can be lost while the server is down; it must still start."""
    assert ports.choose(SETTING, configured=0, remembered=busy) != busy


def test_a_remembered_port_promised_to_another_server_is_given_up(free: int) -> None:
    """Two servers never share a port."""
    assert ports.choose(SETTING, configured=0, remembered=free, taken={free}) != free


def test_drawn_ports_lie_below_those_of_outgoing_connections() -> None:
    """Else a client's connection could take the port before the server binds it."""
    assert all(ports.FIRST <= ports.choose(SETTING, configured=0, remembered=None) <= ports.LAST < 32_768 for _ in range(20))
