"""Sockets before they speak: names looked up, bound, connected, tuned.

Not here: anything sent over them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import sys
from asyncio.trsock import TransportSocket
from typing import Union

from discomputify_core.errors import AddressInUse, Unreachable
from discomputify_core.interfaces.transport import Address
from discomputify_core.model.conf import Conf

SockAddr = Union[tuple[str, int], tuple[str, int, int, int], tuple[int, bytes]]
Info = tuple[socket.AddressFamily, SockAddr]

#: Peers that may wait to be accepted.
BACKLOG = 1024
#: Seconds for looking up the name of an address to bind.
LOOK_UP = 10.0
#: Bytes that a widened receive buffer may take, if the system lets it; and whether it knows how.
WIDE = 16 * 1024 * 1024
CAN_WIDEN = sys.platform == "linux"

_CANNOT_BIND = {
    errno.EADDRINUSE: "another program uses it. Stop that program, or choose another port in the conf",
    errno.EADDRNOTAVAIL: "it is not an address of this machine. Correct the address in the conf",
    errno.EACCES: "this user may not use that port. Choose one above 1023 in the conf",
}


def said(error: BaseException) -> str:
    """What the operating system says of *error*, in words."""
    if isinstance(error, socket.gaierror):
        return error.strerror or "the name cannot be looked up"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


async def look_up(address: Address) -> list[Info]:
    """The addresses that *address* stands for, IPv4 first, as in confs of old.

    Raises:
        OSError, UnicodeError, OverflowError: it cannot be looked up.
    """
    found = await asyncio.get_running_loop().getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    infos = dict.fromkeys((socket.AddressFamily(family), where) for family, _, _, _, where in found)
    return sorted(infos, key=lambda info: info[0] != socket.AF_INET)


def tune(sock: socket.socket | TransportSocket, conf: Conf, *, wide: bool = False) -> None:
    """Buffer sizes of the conf (the system may cap them), and no waiting to fill packets.

    Args:
        wide: leave the size of the receive buffer to :func:`widen`, where that can do something.
    """
    if not (wide and CAN_WIDEN):
        _wish(sock, socket.SOL_SOCKET, socket.SO_RCVBUF, conf.recv_buffer)
    _wish(sock, socket.SOL_SOCKET, socket.SO_SNDBUF, conf.transmission_buffer)
    _wish(sock, socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def widen(sock: socket.socket | TransportSocket) -> None:
    """Let the system take as much as it may from a peer before any of it is read.

    A low-water mark makes Linux grow the buffer at once, up to tcp_rmem, which is mostly far above what SO_RCVBUF may
    ask for; the buffer stays when the mark goes. Where a size was asked for it does nothing, nor on other systems.
    """
    if CAN_WIDEN:
        for mark in (WIDE, 1):
            _wish(sock, socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark)


def _wish(sock: socket.socket | TransportSocket, level: int, option: int, value: int) -> None:
    try:
        sock.setsockopt(level, option, value)
    except (OSError, OverflowError):
        pass  # a system that does not grant it still carries the bytes


def reset_on_close(sock: TransportSocket) -> None:
    """Make closing *sock* reset the connection, so that the peer can tell it from an orderly close."""
    linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    except OSError:
        pass  # the peer was quicker: there is no connection left to reset


async def bound(address: Address, conf: Conf, *, wide: bool = False) -> socket.socket:
    """A socket bound to exactly *address*, not yet listening; *wide* as in :func:`tune`.

    Raises:
        AddressInUse: it cannot be bound, with the reason.
    """
    try:
        infos = await asyncio.wait_for(look_up(address), LOOK_UP)
    except (OSError, UnicodeError, OverflowError, asyncio.TimeoutError) as error:
        raise _cannot_bind(address, said(error)) from error
    missing: OSError | None = None
    for family, where in infos:
        try:
            return _bound(family, where, conf, wide)
        except OSError as error:
            # A name may stand for an address of a kind that this machine lacks (localhost without IPv6).
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise _cannot_bind(address, _CANNOT_BIND.get(error.errno or 0, said(error))) from error
            missing = error
    raise _cannot_bind(address, _CANNOT_BIND[errno.EADDRNOTAVAIL]) from missing


def _cannot_bind(address: Address, reason: str) -> AddressInUse:
    return AddressInUse(f"Cannot listen at {address}: {reason}.", address=str(address), reason=reason)


def _bound(family: socket.AddressFamily, where: SockAddr, conf: Conf, wide: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            # Elsewhere the option would let two programs share the address.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        tune(sock, conf, wide=wide)
        sock.setblocking(False)
        sock.bind(where)
    except BaseException:  # also when interrupted: the socket belongs to nobody
        sock.close()
        raise
    return sock


async def connected(address: Address, conf: Conf, timeout: float) -> socket.socket:
    """A socket connected to *address*, trying each address that its name stands for within *timeout* seconds together.

    Raises:
        Unreachable: none of them answers, with the reason of each.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    try:
        infos = await look_up(address)
    except (OSError, UnicodeError, OverflowError) as error:
        raise _unreachable(address, f"the name '{address.host}' cannot be looked up: {said(error)}") from error
    reasons: dict[str, None] = {}
    for number, (family, where) in enumerate(infos):
        share = (deadline - loop.time()) / (len(infos) - number)
        try:
            return await asyncio.wait_for(_connected(family, where, conf), share)
        except asyncio.TimeoutError:
            reasons["no answer"] = None
        except OSError as error:
            reasons[said(error)] = None
    raise _unreachable(address, ", ".join(reasons) or "the name stands for no address")


def _unreachable(address: Address, reason: str) -> Unreachable:
    return Unreachable(
        f"Nothing can be reached at {address}: {reason}. Is the service running there, and is the address right?",
        address=str(address),
        reason=reason,
    )


async def _connected(family: socket.AddressFamily, where: SockAddr, conf: Conf) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        tune(sock, conf)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:  # also when cancelled: the socket belongs to nobody
        sock.close()
        raise
    return sock
