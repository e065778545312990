"""A layer's attribute dictionaries in the making: keys and values by number, each once.

So that the crate's readers before 0.14 come out right, what an array of a lower layer refers to keeps its number in
every layer above (format chapter 7, rule 2). While there is little else in them, a layer's dictionaries begin with
those of the layer below; then values that no array has any more make room for new ones (docs/decisions/006).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.stack import LayerStack
from arrayfs.format.model import AttributeValue, Footer

# Bytes of dictionaries carried from layer to layer; more would make every small commit pay for all attributes.
ATTRIBUTE_BUDGET = 16 * 1024
# Bytes of carried values that no array has any more; what ten thousand commits left behind would be most of each layer.
DEAD_BUDGET = 2 * 1024
# In a container of more arrays a commit does not look which values they have.
MOST_ARRAYS = 4096
# Stands in the place of a value that no array has, until another needs a place: a NaN that no computation makes. Who
# has it as a value of an attribute gets a number of its own for it.
NOTHING = AttributeValue("Float32", b"\xf5\xfa\xff\xff")


class AttributeDictionary:
    """keys and values as the footer will have them, and the pairs of an array in terms of these.

    below: the footer of the layer below; in_use: gives the numbers of its values that arrays have, None: not known.
    Invariant: `_free` holds the numbers of values that nothing refers to, highest first, none of them the last one.
    """

    def __init__(self, below: Footer | None = None, in_use: Callable[[], set[int] | None] = lambda: None) -> None:
        self.keys: list[str] = []
        self.values: list[AttributeValue] = []
        self._free: list[int] = []
        size = 0 if below is None else _keys_size(below.attr_keys) + _values_size(below.attr_values)
        if below is not None and size <= ATTRIBUTE_BUDGET:
            self.keys, self.values = list(below.attr_keys), list(below.attr_values)
            used = in_use() if size > DEAD_BUDGET else None
            if used is not None:
                self._drop([number for number in range(len(self.values)) if number not in used])
        # a dictionary of the crate may hold a thing twice: numbers must stay what they were
        self._keys = {key: number for number, key in reversed(list(enumerate(self.keys)))}
        self._values = {value: number for number, value in reversed(list(enumerate(self.values))) if value != NOTHING}

    def pairs(self, attributes: dict[str, AttributeValue]) -> NDArray[np.unsignedinteger]:
        """The (key, value) numbers of these attributes, sorted by key number; the narrowest width that holds them."""
        pairs = sorted((self._key(key), self._value(value)) for key, value in attributes.items())
        widest = max((max(pair) for pair in pairs), default=0)
        width: type[np.unsignedinteger] = np.uint16 if widest < 1 << 16 else np.uint32
        return np.array(pairs, width).reshape(-1, 2)

    def _key(self, key: str) -> int:
        number = self._keys.setdefault(key, len(self.keys))
        if number == len(self.keys):
            self.keys.append(key)
        return number

    def _value(self, value: AttributeValue) -> int:
        number = self._values.get(value)
        if number is not None:
            return number
        if self._free:
            number = self._free.pop()
            self.values[number] = value
        else:
            number = len(self.values)
            self.values.append(value)
        self._values[value] = number
        return number

    def _drop(self, dead: list[int]) -> None:
        """Make room of these values, in rising order, if they take more than they may."""
        if _values_size([self.values[number] for number in dead]) <= DEAD_BUDGET:
            return
        while dead and dead[-1] == len(self.values) - 1:
            dead.pop()
            self.values.pop()
        for number in dead:
            self.values[number] = NOTHING
        self._free = dead[::-1]


def values_in_use(stack: LayerStack) -> set[int] | None:
    """The numbers of all values that arrays have, as their newest entries say; None if there are too many arrays."""
    if len(stack.spans) > MOST_ARRAYS:
        return None
    used: set[int] = set()
    for span in stack.spans.values():
        used.update(span[-1].meta.attribute_pairs[:, 1].tolist())
    return used


def _keys_size(keys: tuple[str, ...]) -> int:
    return sum([24 + len(key) for key in keys])


def _values_size(values: tuple[AttributeValue, ...] | list[AttributeValue]) -> int:
    return sum(
        [
            24 + (sum(map(len, value.payload)) if isinstance(value.payload, tuple) else len(value.payload))
            for value in values
        ]
    )
