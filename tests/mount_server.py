"""Mount containers on request, for tests: one JSON object a line on standard input, one answer a line.

A process of its own, because a mount forks, which a process with threads must not; and one for all, because importing
takes longer than mounting. The mounts outlive it.
"""

from __future__ import annotations

import json
import os
import sys

from arrayfs.errors import ArrayFSError
from arrayfs.fuse.mount import MountRequest, mount
from arrayfs.view.autocommit import open_reading_tree, open_writable_tree

# Tests wait for it.
REFRESH_EVERY = 0.1


def main() -> None:
    for line in sys.stdin:
        wanted = json.loads(line)
        container, mode, look = wanted["container"], wanted["mode"], wanted["look"]
        os.environ["XDG_RUNTIME_DIR"] = wanted["runtime_folder"]

        def opened(container: str = container, mode: str = mode, look: int = look) -> object:
            open_tree = open_reading_tree if mode == "r" else open_writable_tree
            return open_tree(container, look=look, refresh_every=REFRESH_EVERY)

        answer = ""
        try:
            request = MountRequest(container, wanted["mountpoint"], opened, log=wanted["log"], log_level="warning")  # type: ignore[arg-type]
            mount(request)
        except ArrayFSError as error:
            answer = f"{type(error).__name__}: {error}"
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
