"""Mount a container for the benchmark: `serve.py CONTAINER MOUNTPOINT [PROFILE]`.

Without PROFILE the process returns when the mount answers. With it, it serves in the foreground under cProfile, writes
the statistics to that file when it ends, and prints "ready" first.
"""

from __future__ import annotations

import cProfile
import sys
from functools import partial

from arrayfs.fuse.mount import MountRequest, mount
from arrayfs.fuse.operations import TreeOperations
from arrayfs.view.tree import open_tree


def main(container: str, mountpoint: str, statistics: str = "") -> None:
    """Mount; with `statistics`, a file name, serve and profile."""
    request = MountRequest(container, mountpoint, partial(open_tree, container, mode="a"))
    if not statistics:
        mount(request)
        return
    profile = cProfile.Profile()

    def start(_operations: TreeOperations) -> None:
        print("ready", flush=True)
        profile.enable()

    setattr(TreeOperations, "init", start)  # noqa: B010  the kernel's hello: what comes before is no request
    try:
        mount(request, foreground=True)
    finally:
        profile.disable()
        profile.dump_stats(statistics)


if __name__ == "__main__":
    main(*sys.argv[1:])
