"""A file system of a few files for tests of the runtimes: MOUNTPOINT RUNTIME.

`plain` can be read; opening `gate` is parked until the command `go`; opening `full` is parked and fails with ENOSPC;
opening `bug` raises what no handler may raise.
"""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
import threading
from pathlib import Path

import pyfuse3

from arrayfs.fuse.direct import make_runtime
from arrayfs.fuse.runtime import Runtime

NAMES = [b"plain", b"gate", b"full", b"bug"]
CONTENT = bytes(range(256)) * 16


def say(*words: object) -> None:
    # one call, and none of Python's buffers: threads do not mix, and a signal's handler may say something in between
    os.write(sys.stdout.fileno(), (" ".join(map(str, words)) + "\n").encode())


class FewFiles(pyfuse3.Operations):
    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self.runtime = runtime
        self.gate = threading.Event()

    def init(self) -> None:
        say("ready")

    async def getattr(self, inode, ctx):
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = inode
        directory = inode == pyfuse3.ROOT_INODE
        entry.st_mode = stat.S_IFDIR | 0o755 if directory else stat.S_IFREG | 0o644
        entry.st_size = 0 if directory else len(CONTENT)
        return entry

    async def lookup(self, parent_inode, name, ctx):
        if name not in NAMES:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return await self.getattr(2 + NAMES.index(name), ctx)

    async def open(self, inode, flags, ctx):
        name = NAMES[inode - 2].decode()
        if name == "bug":
            raise ZeroDivisionError("a handler's bug")
        if name != "plain":
            try:
                await self.runtime.park({"gate": self.pass_gate, "full": self.fail}[name])
            except OSError as error:
                raise pyfuse3.FUSEError(error.errno) from None
        return pyfuse3.FileInfo(fh=inode, keep_cache=False)

    async def read(self, fh, offset, size):
        return memoryview(CONTENT)[offset : offset + size]

    def pass_gate(self) -> None:
        say("parked")
        self.gate.wait()
        say("passed")

    def fail(self) -> None:
        assert threading.current_thread() is not threading.main_thread()
        raise OSError(errno.ENOSPC, "no space")


def signal_beside_the_wait() -> None:
    """Once the main thread waits for requests: a signal that does not end its `poll`, as it comes to another thread."""
    waits_in = Path("/proc/self/wchan")  # of the main thread
    while "poll" not in waits_in.read_text() != "0":  # 0: not told here
        pass
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)


def main(mountpoint: str, name: str) -> None:
    runtime = make_runtime(name)
    operations = FewFiles(runtime)

    def listen() -> None:
        for line in sys.stdin:
            if line == "go\n":
                operations.gate.set()
            if line == "signal\n":
                signal_beside_the_wait()

    def on_signal(number: int, frame: object) -> None:
        runtime.terminate()
        say("terminated")

    threading.Thread(target=listen, daemon=True).start()
    signal.signal(signal.SIGTERM, on_signal)
    pyfuse3.init(operations, mountpoint, {"fsname=few", "subtype=few"})
    if os.environ.get("TERMINATE_FIRST"):
        say("ready")
        runtime.terminate()
    try:
        runtime.run(operations)
        say("returned")
    except ZeroDivisionError as error:
        say("raised", error)
    pyfuse3.close()
    sys.stdout.flush()
    os._exit(0)  # the listening thread holds the lock of stdin


main(*sys.argv[1:])
