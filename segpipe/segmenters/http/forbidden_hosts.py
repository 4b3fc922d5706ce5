"""Hosts that no backend is at: link-local addresses, and where a cloud tells a machine its secrets.

Settings name the host that photos are sent to, and what a host answers is told. So whoever may try
settings could ask the metadata service of the machine that the studio runs on:
https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

import ipaddress
import socket
from collections.abc import Iterable

import httpcore
import httpx

_METADATA_NAMES = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2"}
)
_METADATA_ADDRESSES = frozenset(
    map(ipaddress.ip_address, ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254"))
)
"""Of Alibaba, Azure, Oracle and Amazon; the usual one, 169.254.169.254, is link-local."""


def is_forbidden_host(host: str) -> bool:
    """Whether a name or an address, in whatever form a connection takes it, is one of these.

    >>> [is_forbidden_host(host) for host in ("169.254.169.254", "0xA9FEA9FE", "gpu.example.org")]
    [True, True, False]
    """
    name = host.strip("[]").rstrip(".").lower()
    if name in _METADATA_NAMES:
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(name))  # 2852039166, 0xA9FEA9FE
        except OSError:
            return False
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return address.is_link_local or address in _METADATA_ADDRESSES


def require_allowed_host(host: str) -> None:
    """Raise ValueError when no backend may be at a host."""
    if is_forbidden_host(host):
        raise ValueError(f"must not be a link-local address or that of a cloud's metadata: {host}")


class CarefulTransport(httpx.AsyncHTTPTransport):
    """A transport that also looks where a name leads, before anything is sent there."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._pool._network_backend = _CarefulBackend(self._pool._network_backend)


class _CarefulBackend(httpcore.AsyncNetworkBackend):
    def __init__(self, inner: httpcore.AsyncNetworkBackend) -> None:
        self._inner = inner

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - as httpcore has it
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        reached = stream.get_extra_info("server_addr")
        if reached and is_forbidden_host(str(reached[0])):
            await stream.aclose()
            raise httpcore.ConnectError(
                f"{host} leads to {reached[0]}, a link-local address or that of a cloud's metadata"
            )
        return stream

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)
