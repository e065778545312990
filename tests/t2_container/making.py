"""Containers and chunks for the tests: small, in memory, made by hand."""

from __future__ import annotations

import struct
import uuid
from dataclasses import replace

import numpy as np

from arrayfs.container.array import Array, ArraySpec
from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.grid import Coord
from arrayfs.container.pool import PoolOptions
from arrayfs.format.attributes import attribute_from_python
from arrayfs.format.footer import encode_footer, encode_trailer
from arrayfs.format.model import ArrayMeta, AttributeValue, BlockTable, ChunkTable, DType, FillValue, Footer

INT32 = DType("Int32")
STRING = DType("String")

State = dict[str, tuple[ArraySpec, dict[str, AttributeValue], dict[Coord, bytes]]]


def new_url() -> str:
    """The URL of a container in a store that nobody else has."""
    return f"memory://{uuid.uuid4().hex}/t.af"


def new_container(url: str | None = None, **pool: object) -> Container:
    """A new container, open for writing. pool: members of PoolOptions that differ from the usual ones."""
    url = url or new_url()
    Container.create(url)
    return open_container(url, **pool)


def open_container(url: str, **pool: object) -> Container:
    """An existing container, open for writing."""
    return Container.open(url, "a", ContainerOptions(replace(PoolOptions(), **pool)))  # type: ignore[arg-type]


def int_fill(value: int) -> FillValue:
    return FillValue("Int", value.to_bytes(8, "little", signed=True))


def spec(
    shape: tuple[int, ...], chunk_shape: tuple[int, ...], fill: int | None = None, dtype: DType = INT32
) -> ArraySpec:
    """The spec of an array of Int32, named axes included."""
    names = tuple(f"axis{n}" for n in range(len(shape)))
    return ArraySpec(dtype, shape, chunk_shape, names, None if fill is None else int_fill(fill))


def i32(*values: int) -> bytes:
    """Stored elements of Int32."""
    return struct.pack(f"<{len(values)}i", *values)


def texts(*values: str) -> bytes:
    """A stored chunk of String."""
    elements = [value.encode() for value in values]
    offsets = np.cumsum([0, *map(len, elements)])
    return struct.pack(f"<{len(offsets)}I", *offsets) + b"".join(elements)


def attributes(**values: int | str | float) -> dict[str, AttributeValue]:
    """Attributes of the plain types, in order."""
    kinds = {int: "Int64", str: "String", float: "Float64"}
    return {key: attribute_from_python(kinds[type(value)], value) for key, value in values.items()}


def filled(container: Container, name: str = "a", count: int = 4, size: int = 2) -> Array:
    """An array of Int32 of one axis, all of its `count` chunks of `size` elements set to their number."""
    array = container.define(name, spec((count * size,), (size,), -1), attributes(units="m"))
    for number in range(count):
        container.put(array, (number,), i32(*[number] * size), 1000 + number)
    return array


def chunks_of(container: Container, array: Array) -> dict[Coord, bytes]:
    """All chunks of an array as they are now."""
    found = {}
    for coord in map(tuple, array.coords().tolist()):
        content = container.read(array, coord)
        assert content is not None, coord
        found[coord] = bytes(content)
    return found


def state(container: Container) -> State:
    """All that a container says: specs, attributes, chunks."""
    out = {}
    for name in container.names_of_arrays():
        array = container.get(name)
        out[name] = array.spec, dict(array.attributes), chunks_of(container, array)
    return out


def state_at(url: str) -> State:
    """All that a container says to one who opens it now."""
    container = Container.open(url)
    try:
        return state(container)
    finally:
        container.close()


def table(*rows: tuple[Coord, int, int, int]) -> ChunkTable:
    """A chunk table from (coordinate, block id, offset, size)."""
    if not rows:
        return ChunkTable.empty(1)
    columns = [np.array([row[i] for row in rows], np.uint32) for i in (1, 2, 3)]
    return ChunkTable(np.array([row[0] for row in rows], np.uint32).reshape(len(rows), -1), *columns)


def layer_bytes(
    *metas: ArrayMeta,
    data: bytes = b"",
    keys: tuple[str, ...] = (),
    values: tuple[AttributeValue, ...] = (),
    version: int = 5,
) -> bytes:
    """A layer file as the crate makes it: no extension block, `data` as one uncompressed block 0."""
    wide, one = np.array([len(data)], np.uint64), np.zeros(1, np.uint32)
    blocks = BlockTable(one, np.zeros(1, np.uint64), wide, wide, one, (None,)) if data else BlockTable.empty()
    footer = encode_footer(Footer(version, blocks, metas, keys, values))
    return data + footer + encode_trailer(len(footer))
