"""Mount a container for the benchmarks that write: `serve_writing.py CONTAINER MOUNTPOINT [without]`.

As `arrayfs mount` does, with the journal beside the container; `without`: with none. Returns when the mount answers.
"""

from __future__ import annotations

import sys
from functools import partial

from arrayfs.fuse.mount import MountRequest, mount
from arrayfs.view.autocommit import open_writable_tree
from arrayfs.view.tree import open_tree


def main(container: str, mountpoint: str, journal: str = "with") -> None:
    """Mount."""
    opened = partial(open_tree, mode="a") if journal == "without" else open_writable_tree
    mount(MountRequest(container, mountpoint, partial(opened, container)))


if __name__ == "__main__":
    main(*sys.argv[1:])
