"""Mount a container, with a stop at one stage of a mount's life, for tests: CONTAINER MOUNTPOINT FOLDER STAGE.

Stages: opening, answering, committing (in a request), syncing (of what a commit made), closing (the unmount's commit).
At the stage the process writes its number into the named pipe FOLDER/reached and goes on when FOLDER/go was opened for
writing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arrayfs.container import prepare
from arrayfs.container.part import LayerPart
from arrayfs.errors import ArrayFSError
from arrayfs.fuse import mount as module
from arrayfs.fuse.mount import MountRequest, mount
from arrayfs.view.tree import Tree, open_tree


def main(container: str, mountpoint: str, folder: str, stage: str) -> int:
    def stop() -> None:
        Path(folder, "reached").write_text(f"{Path('/proc/self').resolve().name}\n")
        Path(folder, "go").read_text()

    def stopping(method: Callable[..., Any]) -> Callable[..., Any]:
        def stopped(*arguments: Any) -> Any:
            stop()
            return method(*arguments)

        return stopped

    def opened() -> Tree:
        if stage == "opening":
            stop()
        return open_tree(container, mode="a")

    if stage == "answering":
        module._Mount._ready = stopping(module._Mount._ready)  # type: ignore[method-assign]
    if stage == "committing":
        Tree.commit = stopping(Tree.commit)  # type: ignore[method-assign]
    if stage == "syncing":
        prepare.WORTH = prepare.STEP = 1
        sync, stops = LayerPart.sync, iter([stop])  # the first time
        LayerPart.sync = lambda part: (next(stops, int)(), sync(part))[1]  # type: ignore
    if stage == "closing":
        Tree.close = stopping(Tree.close)  # type: ignore[method-assign]
    try:
        mount(MountRequest(container, mountpoint, opened))  # type: ignore[arg-type]
    except ArrayFSError as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
