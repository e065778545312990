"""Whether anything was put on top of a layer, without a list of all files where there are many.

A commit asks twice, and a mount every second; reading ten thousand names takes longer than all else that a commit does.
"""

from __future__ import annotations

import time

from arrayfs.container.layer import Layer
from arrayfs.errors import MissingObjectError
from arrayfs.format.naming import ContainerNames
from arrayfs.store.protocol import Store

# With fewer layers all names are looked at each time.
MANY = 256
# Seconds for which a list in which nothing was new stands for the next ones.
EVERY = 10.0


class Lookout:
    """Looks for newer layers of one container.

    Who adds a layer takes the next number: arrayfs makes no gaps, and the crate counts the layers. So where there are
    many, that name is asked for, and all of them now and then: a sidecar of another number was put there by hand.
    """

    def __init__(self, store: Store, names: ContainerNames) -> None:
        self._store, self._names = store, names
        self._listed = 0.0

    def nothing_new(self) -> None:
        """All names have been looked at, and none is newer."""
        self._listed = time.monotonic()

    def is_newest(self, layer: Layer) -> bool:
        """Whether the layer has its name still, and the next name is free. False: only a list can tell."""
        if layer.number < MANY or time.monotonic() - self._listed > EVERY:
            return False
        return layer.blob.is_current() and not self._has(self._names.sidecar(layer.number + 1))

    def _has(self, name: str) -> bool:
        try:
            self._store.open(name).close()
        except MissingObjectError:
            return False
        return True
