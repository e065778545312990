"""Word to the service manager that started this process (sd_notify(3)): a datagram to the socket that it named."""

from __future__ import annotations

import contextlib
import os
import socket


def tell(state: str) -> None:
    """Say `READY=1` or `STOPPING=1`; nothing if nobody asked (no `NOTIFY_SOCKET`) or nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.connect("\0" + address[1:] if address.startswith("@") else address)
        to.send(state.encode())
