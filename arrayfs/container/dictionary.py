"""A layer's attribute dictionaries in the making: keys and values by number, each once.

So that the crate's readers before 0.14 come out right, a layer's dictionaries begin with those of the layer below, in
the same order, as long as these are small (format chapter 7, rule 2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arrayfs.format.model import AttributeValue, Footer

# Bytes of dictionaries carried from layer to layer; more would make every small commit pay for all attributes.
ATTRIBUTE_BUDGET = 16 * 1024


class AttributeDictionary:
    """keys and values as the footer will have them, and the pairs of an array in terms of these."""

    def __init__(self, below: Footer | None = None, budget: int = ATTRIBUTE_BUDGET) -> None:
        self._keys: dict[str, int] = {}
        self._values: dict[AttributeValue, int] = {}
        if below is not None and _size(below) <= budget:
            # a dictionary of the crate may hold a thing twice: numbers must stay what they were
            self.keys = list(below.attr_keys)
            self.values = list(below.attr_values)
            for number, key in enumerate(self.keys):
                self._keys.setdefault(key, number)
            for number, value in enumerate(self.values):
                self._values.setdefault(value, number)
        else:
            self.keys, self.values = [], []

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
        number = self._values.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


def _size(footer: Footer) -> int:
    keys = sum(24 + len(key) for key in footer.attr_keys)
    return keys + sum(24 + sum(map(len, value.payload)) if isinstance(value.payload, tuple) else 24 + len(value.payload)
                      for value in footer.attr_values)  # fmt: skip
