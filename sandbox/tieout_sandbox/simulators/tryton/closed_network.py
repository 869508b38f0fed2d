"""Runs another program of this environment in which nothing reaches beyond loopback.

It is run by the environment's own Python, as `python closed_network.py PROGRAM ARGUMENTS...`, and imports nothing else.
"""

from __future__ import annotations

import runpy
import sys

_CONNECTS = {"socket.connect", "socket.sendto", "socket.sendmsg"}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def refuse_others(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: addresses of other machines, and the look-up of their names, are refused.

    Raises:
        PermissionError: If the program means another machine.
    """
    address = arguments[1] if event in _CONNECTS and len(arguments) > 1 else None
    host = address[0] if isinstance(address, tuple) and address else None
    if event == "socket.getaddrinfo":
        host = arguments[0]
    if isinstance(host, str) and host not in _LOOPBACK:
        raise PermissionError(f"the network is closed: {host}")


if __name__ == "__main__":
    sys.addaudithook(refuse_others)
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
