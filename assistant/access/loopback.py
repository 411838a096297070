"""Addresses that only this machine can reach."""

import ipaddress
import socket


def is_loopback(host: str) -> bool:
    """Whether a host, a name or an address, is this machine and nothing but this machine.

    A name counts if all that it resolves to does; one that does not resolve does not.
    """
    if not host:
        return False  # every interface
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(_is_loopback(str(address[0])) for *_, address in found)


def _is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback
