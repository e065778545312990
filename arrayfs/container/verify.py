"""Every way a container can be broken, as a list of findings: nothing here raises for damage, and nothing is changed.

Layers are looked at one by one, so that one damaged file does not hide what is wrong with the others. Only committed
layers are read, without a lock: a writer may be at work meanwhile, and what it adds is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from arrayfs.container.exchange import without_repetitions
from arrayfs.container.findings import Finding, without
from arrayfs.container.layer import Layer, open_layer
from arrayfs.container.opening import OPEN_TRIES, check_whose_base, close_all, sidecars
from arrayfs.container.repair_scan import extension_before
from arrayfs.container.stack import LayerStack
from arrayfs.container.verify_blocks import Progress, check_blocks
from arrayfs.container.verify_figures import check_figures
from arrayfs.container.verify_tables import check_entries, check_extension, check_layers, check_visible
from arrayfs.errors import FormatError, MissingObjectError
from arrayfs.format.naming import ContainerNames
from arrayfs.format.stats import decode_stats
from arrayfs.store import open_store
from arrayfs.store.protocol import Store

__all__ = ["Check", "Finding", "Progress", "verify"]

Check = Callable[[LayerStack], Iterator[Finding]]


def verify(url: str, progress: Progress = lambda *_: None, checks: Sequence[Check] = ()) -> Iterator[Finding]:
    """Check a container completely: structure, addresses, checksums, every block unpacked.

    progress: called with bytes of blocks checked, and in all. checks: what else is to be looked at, by those who know
    what arrays mean. Raises MissingObjectError if there is no such container.
    """
    store, base = open_store(url)
    names = ContainerNames.from_base(base)
    check_whose_base(store, names)
    layers, findings = _open_layers(store, names)
    yield from findings
    try:
        counting, repeating = without_repetitions(layers)
        for layer in repeating:
            text = "left by a compaction that did not end, and said below; the next open for writing removes it"
            yield Finding("warning", layer.name, "", text)
        stack = LayerStack.of(counting)
        damaged = {names.parse_sidecar(finding.file) or 0 for finding in findings}
        yield from check_layers(counting, damaged, {layer.number for layer in repeating})
        for layer in counting:
            yield from _check_footer(layer)
        for name, span in stack.spans.items():
            yield from check_visible(name, span)
        for check in checks:
            yield from check(stack)
        yield from check_blocks(stack, progress)
    finally:
        close_all(layers)
    yield from _check_stats(store, names)


def _open_layers(store: Store, names: ContainerNames) -> tuple[list[Layer], list[Finding]]:
    """The layers that can be opened, oldest first, and what is wrong with the others."""
    for _ in range(OPEN_TRIES):
        found = [*sidecars(store, names)]
        layers: list[Layer] = []
        findings: list[Finding] = []
        try:
            # the base last, as readers do: a compaction that swaps files meanwhile is seen by the list
            for number, name in [*reversed(found), (0, names.base)]:
                try:
                    layers.insert(0, open_layer(number, store.open(name)))
                except FormatError as error:
                    findings.insert(0, Finding("error", name, "", without(name, error)))
        except MissingObjectError:
            close_all(layers)
            if found == sidecars(store, names):
                raise
            continue
        except BaseException:
            close_all(layers)
            raise
        # a layer that came on top disturbs nothing; one that went says that files were swapped
        if set(found) <= set(sidecars(store, names)):
            return layers, findings
        close_all(layers)
    raise FormatError(f"{names.base}: its files do not hold still")


def _check_footer(layer: Layer) -> Iterator[Finding]:
    ids = layer.footer.blocks.ids
    twice = len(ids) - len(np.unique(ids))
    if twice:
        yield Finding("warning", layer.name, "blocks", f"{twice} block ids stand twice; the first counts")
    if layer.extension is None and extension_before(layer.blob, layer.footer_start) is not None:
        text = "does not name the extension block that lies before it: checksums and holes are not known"
        yield Finding("error", layer.name, "footer", text)
    yield from check_extension(layer)
    yield from check_figures(layer)
    for meta in layer.footer.arrays:
        yield from check_entries(layer, meta)


def _check_stats(store: Store, names: ContainerNames) -> Iterator[Finding]:
    try:
        blob = store.open(names.stats)
    except MissingObjectError:
        return  # no statistics are always right
    try:
        decode_stats(blob.read(0, blob.size))
    except FormatError as error:
        # the crate from 0.12 on refuses to open a container with such a file; arrayfs does not need it
        yield Finding(
            "warning", names.stats, "", f"unreadable, newer releases of the crate refuse the container: {error}"
        )
    finally:
        blob.close()
