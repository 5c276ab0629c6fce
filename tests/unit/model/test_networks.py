"""Networks that settings name: by number, and what is no network says what to write."""

import pytest

from pipeline.model.networks import is_in, network_of

READ = {
    "10.1.0.0/16": "10.1.0.0/16",
    "10.1.": "10.1.0.0/16",
    "10.": "10.0.0.0/8",
    "10.1.2.": "10.1.2.0/24",
    "10.1.2.3": "10.1.2.3/32",
    "2001:db8::/32": "2001:db8::/32",
    "2001:db8:": "2001:db8::/32",
    "1:2:3:4:5:6:7:": "1:2:3:4:5:6:7:0/112",
    "::1": "::1/128",
}
REFUSED = {
    "10.1": "write 10.1.0.0/16",
    "10.1.2": "write 10.1.2.0/24",
    "10.1.2.3/16": "write 10.1.0.0/16",
    "2001:db8:1::": "write 2001:db8:1::/48",
    "::": "write an address",
    "300.1.": "write an address",
    "010.1.": "write an address",
    "10.1.2.3.": "write an address",
    "vpn-1": "write an address",
    "": "write an address",
}


@pytest.mark.parametrize(("text", "network"), READ.items())
def test_what_can_be_read_without_guessing_is_read(text: str, network: str) -> None:
    """CIDR, an address, and the whole numbers with which addresses begin."""
    assert str(network_of(text)) == network


@pytest.mark.parametrize(("text", "said"), REFUSED.items())
def test_what_must_be_guessed_is_refused(text: str, said: str) -> None:
    """With what would say it."""
    with pytest.raises(ValueError, match="is no network") as caught:
        network_of(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("address", "network", "inside"),
    [
        ("10.1.2.3", "10.1.", True),
        ("10.100.2.3", "10.1.", False),
        ("10.0.255.255", "10.1.", False),
        ("::ffff:10.1.2.3", "10.1.", True),
        ("::ffff:10.1.2.3", "::ffff:10.1.0.0/112", True),
        ("2001:DB8:0::7", "2001:db8::/32", True),
        ("fe80::1%eth0", "fe80::/10", True),
        ("10.1.2.3", "::/0", False),
        ("10.1.host.example", "10.1.", False),
        ("", "0.0.0.0/0", False),
    ],
)
def test_an_address_is_of_a_network_by_its_number(address: str, network: str, inside: bool) -> None:
    """Not by its text: 10.1. is no beginning of 10.100, and a name is no address."""
    assert is_in(address, network) is inside
