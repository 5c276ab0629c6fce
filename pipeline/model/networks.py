"""What settings call a network in; which addresses are of it out.

    10.21.0.0/16, 2001:db8::/32    CIDR                    10.21.3.7    one address
    10.21., 2001:db8:              the first numbers of an address, whole ones: the same two
    10.21, 2001:db8::              refused: the one may begin 10.210, too, the other may be an address

Holds: an address belongs to a network by its number, never by its text: ::ffff:10.21.3.7 is 10.21.3.7, and no host name is of any.
"""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

BEGUN = re.compile(r"(\d+\.){1,3}|([0-9a-fA-F]+:){1,7}")  # whole numbers, and what parts them from the next


@lru_cache(maxsize=1024)
def network_of(text: str) -> IPv4Network | IPv6Network:
    """Raises ValueError, which says what to write."""
    try:
        if not text.endswith("::"):
            return ip_network(_whole(text))
    except ValueError:
        pass
    raise ValueError(f"{text!r} is no network: write {_meant(text)}")


def is_in(address: str, network: str) -> bool:
    """Is it an address of the network?  `network`: as `network_of` takes it."""
    known = network_of(network)
    return any(each in known for each in _addresses(address))


def _whole(text: str) -> str:
    """CIDR of the first numbers of an address; else the same."""
    if not BEGUN.fullmatch(text):
        return text
    if ":" in text:
        return f"{text}:/{16 * text.count(':')}" if text.count(":") < 7 else f"{text}0/112"
    return f"{text}{'.'.join('0' * (4 - text.count('.')))}/{8 * text.count('.')}"


def _meant(text: str) -> str:
    for guess in (f"{text}.", text[:-1] if text.endswith("::") else text):
        try:
            return f"{ip_network(_whole(guess), strict=False)}, if that is meant"
        except ValueError:
            continue
    return "an address, or as many of its bits as count: 10.21.0.0/16, 2001:db8::/32"


@lru_cache(maxsize=4096)  # people come from few, and each is asked of every network
def _addresses(text: str) -> tuple[IPv4Address | IPv6Address, ...]:
    """The address, and the IPv4 one in it; none: it is a name."""
    try:
        found = ip_address(text)
    except ValueError:
        return ()
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return (found, mapped) if mapped else (found,)
