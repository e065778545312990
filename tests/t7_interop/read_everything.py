"""Read all of containers, each in a process of its own: paths on standard input, a JSON line each on standard output.

open: error or null; files: path -> sha256 or [error class, text]; findings: of verify; peak: bytes of memory; status:
of wait.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any

from arrayfs.container.verify import verify
from arrayfs.errors import ArrayFSError
from arrayfs.view.tree import Tree, open_tree

LONGEST = 20  # seconds for one container: these have a few kilobytes


def all_files(tree: Tree, ino: int = 1, path: str = "") -> Iterator[tuple[str, int]]:
    listing = tree.opendir(ino)
    for name, attr, _ in listing.entries(0):
        if attr.mode & 0o40000 == 0:
            yield path + name, attr.ino
        else:
            yield from all_files(tree, attr.ino, f"{path}{name}/")
    listing.release()


def read(tree: Tree, ino: int) -> str | list[str]:
    try:
        size = tree.getattr(ino).size
        handle = tree.open(ino, write=False, truncate=False)
        try:
            content = bytes(handle.read(0, size + 1))
        finally:
            handle.release()
    except ArrayFSError as error:
        return [type(error).__name__, str(error)]
    assert len(content) == size
    return hashlib.sha256(content).hexdigest()


def everything(path: str) -> dict[str, Any]:
    said: dict[str, Any] = {"open": None, "files": {}}
    said["findings"] = [[finding.severity, finding.file, str(finding)] for finding in verify(path)]
    try:
        tree = open_tree(path)
    except ArrayFSError as error:
        return said | {"open": [type(error).__name__, str(error)]}
    said["files"] = {name: read(tree, ino) for name, ino in all_files(tree)}
    tree.close()
    return said


def main() -> None:
    for line in sys.stdin:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(LONGEST)  # no handler: the process ends, whatever it is doing
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            with open(writer, "w") as out:
                out.write(json.dumps(everything(line.strip())))
            os._exit(0)
        os.close(writer)
        with open(reader) as answer:
            said = json.loads(answer.read() or "{}")
        _, status, usage = os.wait4(child, 0)
        said |= {"status": status, "peak": usage.ru_maxrss * 1024}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
