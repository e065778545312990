"""Finding the layers of a container and checking that they belong together; making a new container.

Readers open sidecars newest first and the base last: while a compaction swaps files, that order never sees a mixture
that the check of parents would not find.
"""

from __future__ import annotations

import gc
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import pairwise

from arrayfs.container.exchange import finish, ids_of, without_arrays, without_repetitions
from arrayfs.container.layer import Layer, mark_of, open_by_checksum, open_layer
from arrayfs.container.newest import Lookout
from arrayfs.container.stack import LayerStack
from arrayfs.container.versions import VersionTable
from arrayfs.errors import FormatError, LockedError, MissingObjectError
from arrayfs.format.extension_model import Extension
from arrayfs.format.figures import encode_figures
from arrayfs.format.naming import ContainerNames, sidecar_of_other
from arrayfs.store.local import LocalStore
from arrayfs.store.protocol import Hold, Shared, Store

NEW_FOOTER_VERSION = 5
# How often the files are listed again when they changed while they were opened.
OPEN_TRIES = 5


def open_stack(store: Store, names: ContainerNames, version: str | int | None = None) -> LayerStack:
    """Open all layers, or those up to a version (of the others the end is read, which says what they are called).

    Raises MissingObjectError without a base, FormatError if a layer is damaged or foreign, VersionError.
    """
    for last in (False,) * (OPEN_TRIES - 1) + (True,):
        found = sidecars(store, names)
        try:
            return LayerStack.of(_up_to(version, _counting(_open_files(store, [(0, names.base), *found]))))
        except (MissingObjectError, FormatError):
            # a compaction may have renamed files meanwhile: only what holds still is believed
            if last or found == sidecars(store, names):
                raise
    raise FormatError(f"{names.base}: its files do not hold still")


def _up_to(version: str | int | None, layers: list[Layer]) -> list[Layer]:
    if version is None:
        return layers
    kept = 0
    try:
        kept = VersionTable.of(layers).resolve(version).place + 1
    finally:
        close_all(layers[kept:])
    return layers[:kept]


def sidecars(store: Store, names: ContainerNames) -> list[tuple[int, str]]:
    """Numbers and names of all sidecars, in order."""
    numbered = ((names.parse_sidecar(name), name) for name in store.list())
    return sorted((number, name) for number, name in numbered if number is not None)


def check_whose_base(store: Store, names: ContainerNames) -> None:
    """Raise FormatError for a base without sidecars that is a link to one that has some: it would be read as of old."""
    path = f"{store.path}/{names.base}" if isinstance(store, LocalStore) else ""
    if not os.path.islink(path) or sidecars(store, names):
        return
    real = os.path.realpath(path)
    try:
        left = sidecars(LocalStore(os.path.dirname(real)), ContainerNames.from_base(os.path.basename(real)))
    except (FormatError, MissingObjectError):  # it leads to no container's base, or nowhere
        return
    if left:
        raise FormatError(
            f"{path}: a symbolic link to {real}, whose sidecars (as {left[0][1]}) do not lie beside the link: "
            f"open {real} itself"
        )


def _open_files(store: Store, found: list[tuple[int, str]]) -> list[Layer]:
    """Layer files by number and name, in order; opened newest first."""
    layers: list[Layer] = []
    try:
        with nothing_collected():
            for number, name in reversed(found):
                layers.append(open_by_checksum(number, store.open(name)))
        layers.reverse()
    except BaseException:
        close_all(layers)
        raise
    return layers


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Without looking for garbage: with ten thousand layers, or changed arrays, a fifth of the time goes there, and
    nothing is found.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _counting(layers: list[Layer], below: LayerStack | None = None) -> list[Layer]:
    """Those layers that do not repeat what others say, checked to belong together; the others are closed."""
    before = [] if below is None else list(below.layers)
    counting, repeating = without_repetitions([*before, *layers])
    close_all(repeating)
    try:
        check_chain(counting[max(0, len(before) - 1) :])
    except BaseException:
        close_all(layers)
        raise
    return counting[len(before) :]


def close_all(layers: Iterable[Layer]) -> None:
    """Give their files back."""
    for layer in layers:
        layer.close()


def close_together(layers: Iterable[Layer]) -> None:
    """The same of files that may have no name any more: giving back their room takes the kernel a while."""
    with ThreadPoolExecutor(4, "arrayfs-close") as workers:
        for layer in layers:
            workers.submit(layer.close)


def newer_layers(
    store: Store, names: ContainerNames, stack: LayerStack, lookout: Lookout
) -> tuple[LayerStack | None, list[Layer]]:
    """Open what was committed on top of a stack since it was opened, oldest first.

    Returns it with the stack, or with one that says the same in other files if a compaction has exchanged them; or, if
    its version is in none of the files any more, None and all the layers that there are. Raises FormatError if they are
    damaged or foreign.
    """
    newest = stack.newest
    if lookout.is_newest(newest):
        return stack, []
    for last in (False,) * (OPEN_TRIES - 1) + (True,):
        if not newest.blob.is_current():
            break
        found = _above(store, names, stack.layers)
        try:
            layers = _counting(_open_files(store, found), stack)
        except (MissingObjectError, FormatError):
            if last or (newest.blob.is_current() and found == _above(store, names, stack.layers)):
                raise
            continue
        if newest.blob.is_current():
            if not found:
                lookout.nothing_new()
            return stack, layers
        close_all(layers)  # a compaction came in between: what was opened may say the rest of it only
    layers = list(open_stack(store, names).layers)
    stamps = [layer.stamp for layer in layers]
    if newest.stamp not in stamps:
        return None, layers
    place = stamps.index(newest.stamp) + 1
    return LayerStack.of(layers[:place]), layers[place:]


def open_above(store: Store, names: ContainerNames, layers: Sequence[Layer]) -> list[Layer]:
    """Open the layer files with higher numbers than the last of these, in order. Raises FormatError."""
    return _open_files(store, _above(store, names, layers))


def _above(store: Store, names: ContainerNames, layers: Sequence[Layer]) -> list[tuple[int, str]]:
    """Numbers and names of the sidecars with higher numbers than the last of these layers, in order."""
    known = {layer.name for layer in layers}  # asked every second, also of ten thousand layers
    numbered = sorted((names.parse_sidecar(name) or 0, name) for name in store.list() if name not in known)
    return [(number, name) for number, name in numbered if number > layers[-1].number]


def open_for_writing(store: Store, names: ContainerNames) -> tuple[LayerStack, Hold]:
    """Open all layers and hold the newest, after finishing an exchange of files that was left half done.

    Raises as `open_stack` does, and FormatError where files only repeat others, and no compaction left them.
    """
    while True:
        stack = open_stack(store, names)
        with store.lock(names.lock):
            # all of them: whoever exchanged the others may have ended when the newest had its new name and its old one
            still = stack.is_current()
            if still and (len(sidecars(store, names)) < len(stack.layers) or not _finish(store, names)):
                with suppress(MissingObjectError):  # cut off at its end, or at its beginning: a killed put of it
                    store.delete(names.exchange)
                return stack, store.hold(mark_of(stack.newest.id))
        close_all(stack.layers)


def hold(store: Store, names: ContainerNames, newest: Layer, *, wait: bool = True) -> Hold | None:
    """Say that somebody builds on this layer; None if a compaction has exchanged the files, so that it is too late.

    Raises LockedError if it would have to wait for others, and is not to.
    """
    lock = store.lock(names.lock)
    # under the lock, for then no compaction is between looking who holds what and exchanging it
    if wait:
        lock.acquire()
    else:
        lock.try_lock()
    try:
        return store.hold(mark_of(newest.id)) if newest.blob.is_current() else None
    finally:
        lock.release()


def finish_exchange(store: Store, names: ContainerNames) -> bool:
    """Finish an exchange of files that was left half done; whether there was one. Raises OSError, FormatError."""
    with store.lock(names.lock):
        return _finish(store, names)


def _finish(store: Store, names: ContainerNames) -> bool:
    layers = _open_files(store, [(0, names.base), *sidecars(store, names)])
    try:
        return finish(store, names, layers)
    finally:
        close_all(layers)


def check_chain(layers: list[Layer]) -> None:
    """Raise FormatError, naming the file, where a layer was not made on top of the one below it."""
    for below, layer in pairwise(layers):
        if layer.number == below.number:  # "t.01.af" and "t.1.af": nothing says which was meant
            raise FormatError(f"{below.name} and {layer.name} are both sidecar {layer.number}: move one of them away")
        if layer.footer.version != below.footer.version:
            raise FormatError(
                f"{layer.name}: footer version {layer.footer.version}, but {below.name} has {below.footer.version}"
            )
        if layer.extension is not None and layer.extension.parent_id != below.id:
            raise FormatError(
                f"{layer.name}: was made on top of layer {layer.extension.parent_id.hex()}, "
                f"but below it lies {below.name}, which is {below.id.hex()}: a layer is missing or foreign"
            )


def container_id(stack: LayerStack) -> bytes:
    """The container's id: that of the newest layer that has one, else the base's own id."""
    for layer in reversed(stack.layers):
        if layer.extension is not None:
            return layer.extension.container_id
    return stack.layers[0].id


def version_of(stack: LayerStack, position: int) -> int:
    """The version number of a layer of the stack; one of the crate's counts one more than the layer below."""
    above = 0
    for place in range(position, -1, -1):
        layer = stack.layers[place]
        if layer.extension is not None:
            return layer.extension.version + above
        if not layer.number:
            break
        above += 1
    return above


def create(store: Store, names: ContainerNames, *, chunk_stats: bool = False) -> None:
    """Make an empty container: a base without arrays. chunk_stats: later layers are to have figures of their chunks.

    Raises ObjectExistsError, FormatError.
    """
    other = sidecar_of_other(names.base)
    if other is not None:
        raise FormatError(f"{names.base} would be sidecar {other[1]} of {other[0]}.af: choose another name")
    left = [name for name in store.list() if names.parse_sidecar(name) is not None]
    if left:
        raise FormatError(
            f"{left[0]} is there already and would belong to {names.base}: move it away or choose another name"
        )
    layer_id = secrets.token_bytes(16)
    identity = Extension(
        layer_id=layer_id,
        parent_id=bytes(16),
        container_id=layer_id,
        version=0,
        time_ns=time.time_ns(),
        chunk_figures=encode_figures({}) if chunk_stats else None,
    )
    store.put(names.base, without_arrays(identity, NEW_FOOTER_VERSION), replace=False)


def prepare_writing(store: Store, names: ContainerNames) -> None:
    """What is made from now on gets the base's permissions. Raises MissingObjectError if there is no base.

    The lock is tried: who could not commit in the end is told before there is anything to commit.
    """
    if names.base not in store.list():
        raise MissingObjectError(f"{names.base}: no such container in {store.url}")
    if isinstance(store, Shared):
        store.take_after(names.base)
    lock = store.lock(names.lock)
    with suppress(LockedError):  # somebody is publishing at this moment
        lock.try_lock()
    lock.release()


def clear_abandoned(store: Store, names: ContainerNames, stack: LayerStack) -> list[str]:
    """Remove parts that a dead writer left; those that are whole layers of no version are kept and named.

    Nothing here keeps the container from being opened: what cannot be removed is named.
    """
    warnings = []
    committed = ids_of(stack.layers)
    for name in store.list():
        if names.parse_part(name) is None:
            continue
        try:
            if not store.is_part_abandoned(name):
                continue
            left = _finished_layer(store, name)
            if left is not None and left not in committed:
                warnings.append(f"{name}: a finished layer that was never published is kept; it was not taken in")
                continue
            store.remove_abandoned(name)
        except (LockedError, MissingObjectError):
            continue  # its writer is at work, or someone else was faster
        except OSError as error:
            warnings.append(f"{name}: left behind by a commit that never finished, cannot be removed: {error}")
            continue
        if left is None:
            warnings.append(f"{name}: removed, a commit that never finished (process {os.getpid()} found it)")
    return warnings


def _finished_layer(store: Store, name: str) -> bytes | None:
    """The id of the layer that a part is, None if it has no footer (yet)."""
    blob = store.open(name)
    try:
        return open_layer(0, blob).id
    except FormatError:
        return None
    finally:
        blob.close()
