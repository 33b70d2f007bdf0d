"""Who may talk to the listener."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field

from dicom_node.shared_limits import PeerLimits


@dataclass(frozen=True, slots=True)
class AllowedPeer:
    """A calling AE title and where it may call from.

    Attributes
    ----------
    host
        An address, a network (CIDR) or a host name.
    limits
        How much of the listener it may ask for.
    notices
        SOP classes by which it may tell of a study's images; none unless the site says so.
    """

    ae_title: str
    host: str
    limits: PeerLimits = field(default_factory=PeerLimits)
    notices: frozenset[str] = frozenset()

    def matches(self, ae_title: str, address: str) -> bool:
        """Whether a caller with this AE title and IP address is this peer."""
        return ae_title.strip() == self.ae_title and is_at(self.host, address)


def allowed(peers: tuple[AllowedPeer, ...], ae_title: str, address: str) -> bool:
    """Whether a caller may associate. Without a list only this machine may."""
    if not peers:
        return is_this_machine(address)
    return matching(peers, ae_title, address) is not None


def matching(peers: tuple[AllowedPeer, ...], ae_title: str, address: str) -> int | None:
    """Position of the peer that a caller is; None where it is none of them."""
    return next((n for n, peer in enumerate(peers) if peer.matches(ae_title, address)), None)


def is_this_machine(address: str) -> bool:
    """Whether an IP address is a loopback address."""
    return _plain_address(address).is_loopback


def is_at(host: str, address: str) -> bool:
    """Whether an IP address is the one that an address, network (CIDR) or host name says."""
    caller = _plain_address(address)
    try:
        return caller in ipaddress.ip_network(host, strict=False)
    except ValueError:
        pass  # not an address: a name, which is asked for at every call because it may move
    try:
        answers = socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):  # unknown, or no host name at all, such as "a..b"
        return False
    return any(_plain_address(str(answer[4][0])) == caller for answer in answers)


def _plain_address(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address without its zone; an IPv4 caller of a dual-stack socket as IPv4 again."""
    plain = ipaddress.ip_address(address.partition("%")[0])
    return getattr(plain, "ipv4_mapped", None) or plain
