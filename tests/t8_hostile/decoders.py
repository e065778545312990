"""Every decoder as a row: seeds, what runs, what it may raise, and how much memory it may take.

A row's `run` returns None if the input was decoded, else the refusal's text; any other exception is a failure.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from arrayfs.container import statistics
from arrayfs.container.array import ArraySpec
from arrayfs.container.container import Container
from arrayfs.container.stack import attributes_of
from arrayfs.errors import ArrayFSError, FormatError, LimitError
from arrayfs.format.attributes import attribute_to_python
from arrayfs.format.chunkdata import recut, split_elements
from arrayfs.format.codecs import compress, decompress
from arrayfs.format.dtypes import fill_array
from arrayfs.format.extension import decode_extension, encode_extension
from arrayfs.format.figures import Figures, decode_figures, encode_figures
from arrayfs.format.footer import TRAILER, decode_footer, decode_trailer, encode_footer
from arrayfs.format.model import DType
from arrayfs.format.naming import ContainerNames, sidecar_of_other
from arrayfs.format.stats import decode_stats, encode_stats
from arrayfs.view import paths, zarr2, zarr3
from arrayfs.view.tree import Tree
from tests.t0_format.golden import VECTORS, all_footers
from tests.t0_format.test_extension import FULL
from tests.t2_container.making import attributes, int_fill, spec, texts
from tests.t8_hostile.changing import change
from tests.t8_hostile.containers import (
    Files,
    golden,
    of_ours,
    open_files,
    pack,
    parts,
    resealed,
    resealed_extension,
    unpack,
)  # fmt: skip
from tests.t8_hostile.documents import V2, V3, json_mutants
from tests.t8_hostile.journals import journal_inputs, read_journal, take_up_files, take_up_inputs
from tests.t8_hostile.mutations import Mutant, mutants
from tests.t8_hostile.walking import walk

KIB, MIB = 1 << 10, 1 << 20
LARGEST_SEED = 8 << 10


@dataclass(frozen=True, slots=True)
class Decoder:
    """inputs: made when asked for, some seeds take a moment. bound: input's size -> bytes that may be allocated."""

    name: str
    inputs: Callable[[], st.SearchStrategy[bytes]]
    run: Callable[[bytes], str | None]
    bound: Callable[[int], int]
    count: int  # inputs in an ordinary run


def refusal(action: Callable[[], object], *allowed: type[Exception]) -> str | None:
    """What the action was refused with; by default only FormatError is a refusal."""
    expected = allowed or (FormatError,)
    try:
        action()
    except expected as error:
        return f"{type(error).__name__}: {error}"
    return None


def mutated(seeds: dict[str, bytes]) -> st.SearchStrategy[bytes]:
    return mutants(seeds).map(lambda mutant: mutant.data(seeds))


# --- format -----------------------------------------------------------------------------------------------------------


def small_footers(version: str) -> dict[str, bytes]:
    return {name: data for name, data in all_footers().items() if name.startswith(version) and len(data) < LARGEST_SEED}


def run_footer(data: bytes) -> str | None:
    def decode() -> None:
        footer = decode_footer(data)
        for value in footer.attr_values:
            attribute_to_python(value)
        encode_footer(footer)  # whatever was decoded is a whole model

    return refusal(decode)


def run_trailer(data: bytes) -> str | None:
    def decode() -> None:
        (size,) = struct.unpack("<Q", data[:8].ljust(8, b"\0"))
        place = decode_trailer(data[8:], size)
        assert 0 <= place.start <= place.stop <= size - TRAILER.size

    return refusal(decode)


def run_stats(data: bytes) -> str | None:
    return refusal(lambda: encode_stats(decode_stats(data)))


def extension_seeds() -> dict[str, bytes]:
    files = of_ours().values()
    blocks = {str(number): parts(layer)[1] for number, one in enumerate(files) for layer in one.values()}
    return {**blocks, "full": encode_extension(FULL)}


def extension_inputs() -> st.SearchStrategy[bytes]:
    as_they_are = mutated(extension_seeds())
    return st.one_of(as_they_are, as_they_are.map(resealed_extension), as_they_are.map(resealed_extension))


def run_extension(data: bytes) -> str | None:
    return refusal(lambda: encode_extension(decode_extension(data)))


def figures_inputs() -> st.SearchStrategy[bytes]:
    columns = np.arange(4, dtype=np.uint64)
    some = Figures(columns, columns + np.uint64(5), np.array([0, 1, 2**32 - 1, 7], np.uint32))
    return mutated({"none": encode_figures({}), "some": encode_figures({0: some, 3: some.take(slice(1))})})


def run_figures(data: bytes) -> str | None:
    return refusal(lambda: encode_figures(decode_figures(data)))


CODECS = (None, "lz4", "zstd")
_CODEC_HEAD = struct.Struct("<BQ")


def codec_inputs() -> st.SearchStrategy[bytes]:
    """A codec, a claimed size, and the block."""
    contents = (b"", b"a", bytes(5000), bytes(range(256)) * 20, b"abc" * 1000)
    seeds = {
        f"{codec}-{number}": _CODEC_HEAD.pack(CODECS.index(codec), len(content)) + bytes(compress(codec, content))
        for codec in CODECS
        for number, content in enumerate(contents)
    }
    return mutated(seeds)


def run_codec(data: bytes) -> str | None:
    number, size = _CODEC_HEAD.unpack_from(data.ljust(_CODEC_HEAD.size, b"\0"))
    return refusal(lambda: decompress(CODECS[number % 3], data[_CODEC_HEAD.size :], size))


def codec_bound(size: int) -> int:
    """What a block of `size` bytes can hold at most: zstd has the highest ratio."""
    return 256 * KIB + 4 * size + 2 * (1 << 17) * (size // 4)


_LEAVES = (DType("Int32"), DType("UInt8"), DType("Float64"), DType("Bool"), DType("TimestampNs"), DType("String"))
DTYPES = (
    *_LEAVES,
    DType("Binary"),
    DType("List", DType("Int32")),
    DType("List", DType("String")),
    DType("FixedSizeList", DType("Int16"), 3),
    DType("FixedSizeList", DType("Int16"), 0),
    DType("FixedSizeList", DType("FixedSizeList", DType("Bool"), 2), 2),
    DType("FixedSizeList", DType("String"), 2),
    DType("List", DType("List", DType("Int8"))),
)


def run_chunkdata(data: bytes) -> str | None:
    """The first bytes say type and extents, the rest is the stored chunk."""
    head, stored = data[:6].ljust(6, b"\0"), data[6:]
    dtype = DTYPES[head[0] % len(DTYPES)]
    old, new = (head[1] % 9, head[2] % 9), (head[3] % 9, head[4] % 9)
    fill = (None, int_fill(head[5]))[head[5] % 2]

    said = [
        refusal(lambda: fill_array(dtype, fill, 3), FormatError, LimitError),
        refusal(lambda: recut(dtype, fill, stored, old, new), FormatError, LimitError),
        refusal(lambda: split_elements(dtype, stored, head[1] % 9), FormatError, LimitError),
    ]
    return "; ".join(map(str, said)) if any(said) else None


def chunkdata_inputs() -> st.SearchStrategy[bytes]:
    seeds = {
        f"{number}": bytes((number, 1, 3, 2, 2, number)) + content
        for number in range(len(DTYPES))
        for content in (texts("a", "bc", ""), bytes(12))
    }
    return mutated(seeds)


def run_names(data: bytes) -> str | None:
    """File names of a container, and array names as file names."""
    text = data.decode("utf-8", "ignore")
    stem = ContainerNames("t")
    for name in (text, f"t.{text}.af", f"t.part-{text}", f"t.log-{text}", f"{text}.af"):
        number = stem.parse_sidecar(name)
        assert number is None or 0 < number < 2**32
        stem.parse_part(name)
        stem.parse_log(name)
        sidecar_of_other(name)
    shown = paths.show(text)
    assert shown not in ("", ".", "..", paths.CONTROL_NAME, *paths.DOCUMENT_NAMES)
    assert "/" not in shown
    assert "\0" not in shown
    assert len(shown.encode()) <= paths.NAME_MAX
    paths.unshow(text)
    if len(text.encode()) * 3 < paths.NAME_MAX:
        assert paths.unshow(shown) == text
    return refusal(lambda: ContainerNames.from_base(text))


def names_inputs() -> st.SearchStrategy[bytes]:
    words = ("", ".", "..", "%", "%2E", "%2E%2E", "%25", "zarr.json", "%7Aarr.json", ".arrayfs", "a/b", "a\0b", "a\nb")
    numbers = ("1", "01", "+1", "4294967295", "4294967296", "9" * 5000, "٣")
    long = ("x" * 254, "é" * 127, "%" * 255, "%41" * 85, "/" * 300)
    seeds = {str(number): word.encode() for number, word in enumerate((*words, *numbers, *long))}
    return st.one_of(mutated(seeds), st.sampled_from(sorted(seeds.values())))


# --- documents --------------------------------------------------------------------------------------------------------

CURRENT = (
    None,
    spec((4, 4), (2, 2), 7),
    ArraySpec(DType("FixedSizeList", DType("Float32"), 3), (4,), (2,), ("n",)),
    ArraySpec(DType("List", DType("Int32")), (4,), (2,), ("n",)),
    ArraySpec(DType("String"), (0,), (0,), ()),
)


def run_zarr3(data: bytes) -> str | None:
    def decode() -> None:
        for current in CURRENT:
            for version in (4, 5):
                zarr3.parse(data, version, current=current, attributes=attributes(units="m", a=1))
            zarr3.parse(zarr3.patch(data, current, attributes(units="m")), 5)

    return refusal(decode, ValueError)


def run_zarr2(data: bytes) -> str | None:
    """The same bytes as each of the documents."""

    def decode() -> None:
        for current in CURRENT:
            zarr2.parse(data, data, 5, current=current, attributes=attributes(units="m", a=1))
            zarr2.parse(V2["array"], data, 4, current=current)
            zarr2.patch_array(data, current)
            zarr2.patch_attributes(data, current, attributes(units="m"))
        zarr2.parse_group(data, data)

    return refusal(decode, ValueError)


# --- containers -------------------------------------------------------------------------------------------------------


def container_inputs() -> st.SearchStrategy[bytes]:
    """One layer of a small container is mutated: as it is, or its footer or extension block alone and then resealed."""
    stacks: dict[str, Files] = {**golden(), **of_ours()}
    layers = {f"{case}/{name}": data for case, files in stacks.items() for name, data in files.items()}
    taken = {name: parts(data) for name, data in layers.items()}
    footers = {name: footer for name, (_, _, footer) in taken.items()}
    blocks = {name: block for name, (_, block, _) in taken.items() if block}

    def placed(name: str, layer: bytes) -> bytes:
        case, _, file = name.rpartition("/")
        return pack({**stacks[case], file: layer})

    def footer_changed(mutant: Mutant) -> bytes:
        data, block, _ = taken[mutant.seed]
        return placed(mutant.seed, resealed(data, block, mutant.data(footers)))

    def block_changed(mutant: Mutant) -> bytes:
        data, _, footer = taken[mutant.seed]
        return placed(mutant.seed, resealed(data, mutant.data(blocks), footer))

    ours = [name for name in layers if name.startswith("ours/")]
    return st.one_of(
        mutants(layers, most=2).map(lambda mutant: placed(mutant.seed, mutant.data(layers))),
        mutants(footers, most=2).map(footer_changed),
        mutants(footers, ours, most=2).map(footer_changed),
        mutants(blocks, most=2).map(block_changed),
    )


def opened(data: bytes, use: Callable[[Container], str | None], mode: str = "r") -> str | None:
    said: list[str | None] = []

    def run() -> None:
        container = open_files(unpack(data), mode)
        try:
            said.append(use(container))
        finally:
            container.close()

    return refusal(run, ArrayFSError) or said[0]


def run_stack(data: bytes) -> str | None:
    return opened(data, _read_arrays)


def _read_arrays(container: Container) -> str | None:
    """Each array by itself: one that is damaged does not keep others from being read."""
    first: list[str] = []
    for name in container.names_of_arrays():
        for span in (container.stack.spans[name], container.stack.buried.get(name, ())):
            if span:
                attributes_of(span)
        try:
            array = container.get(name)
            array.stored_bytes()
            coords = array.coords()
        except ArrayFSError as error:
            first.append(f"{type(error).__name__}: {error}")
            continue
        for coord in map(tuple, coords[:200].tolist()):
            array.describe(coord)
            refused = refusal(lambda coord=coord, array=array: container.read(array, coord), ArrayFSError)
            first += [refused] if refused else []
        if len(coords) <= 200:
            refused = refusal(lambda array=array: statistics.of_array(array, container.cache), ArrayFSError)
            first += [refused] if refused else []
    return first[0] if first else None


def run_tree(data: bytes) -> str | None:
    first: list[str] = []
    for look in (3, 2):
        first += filter(None, [opened(data, lambda container, look=look: _walked(container, look))])
    return first[0] if first else None


def _walked(container: Container, look: int) -> str | None:
    tree = Tree(container, look)
    errors = walk(tree)
    return (errors or tree.warnings or [None])[0]


def run_changes(data: bytes) -> str | None:
    """Everything is changed, committed, and looked at by the next one who opens what came of it."""
    first: list[str] = []

    def changed(container: Container) -> str | None:
        change(Tree(container), first)
        return first[0] if first else None

    refused = opened(data, changed, "a")
    if refused is None or first:
        container = Container.open("memory://hostile/t.af")
        walk(Tree(container))
        container.close()
    return refused


# --- journals ---------------------------------------------------------------------------------------------------------


def run_journal(data: bytes) -> str | None:
    return refusal(lambda: read_journal(data))


def run_take_up(data: bytes) -> str | None:
    said: list[str | None] = []
    return refusal(lambda: said.append(take_up_files(unpack(data))), ArrayFSError) or said[0]


def linear(constant: int, factor: int) -> Callable[[int], int]:
    return lambda size: constant + factor * size


def stats_seeds() -> dict[str, bytes]:
    return {str(path.relative_to(VECTORS)): path.read_bytes() for path in sorted(Path(VECTORS).glob("*/*/t.stats"))}


def trailer_inputs() -> st.SearchStrategy[bytes]:
    return mutated({"a": struct.pack("<Q", 638) + TRAILER.pack(576, b"ARRF")})


DECODERS = {
    row.name: row
    for row in (
        Decoder("trailer", trailer_inputs, run_trailer, linear(64 * KIB, 8), 300),
        Decoder("footer-v4", lambda: mutated(small_footers("v4")), run_footer, linear(256 * KIB, 64), 500),
        Decoder("footer-v5", lambda: mutated(small_footers("v5")), run_footer, linear(256 * KIB, 64), 500),
        Decoder("stats", lambda: mutated(stats_seeds()), run_stats, linear(256 * KIB, 64), 300),
        Decoder("extension", extension_inputs, run_extension, linear(256 * KIB, 64), 500),
        Decoder("figures", figures_inputs, run_figures, linear(256 * KIB, 64), 300),
        Decoder("codecs", codec_inputs, run_codec, codec_bound, 500),
        Decoder("chunkdata", chunkdata_inputs, run_chunkdata, linear(256 * KIB, 64), 500),
        Decoder("names", names_inputs, run_names, linear(256 * KIB, 64), 300),
        Decoder("journal", journal_inputs, run_journal, linear(256 * KIB, 64), 500),
        Decoder("zarr3", lambda: json_mutants(V3), run_zarr3, linear(512 * KIB, 128), 200),
        Decoder("zarr2", lambda: json_mutants(V2), run_zarr2, linear(512 * KIB, 128), 200),
        Decoder("stack", container_inputs, run_stack, linear(16 * MIB, 64), 300),
        Decoder("tree", container_inputs, run_tree, linear(32 * MIB, 64), 100),
        Decoder("changes", container_inputs, run_changes, linear(64 * MIB, 64), 60),
        Decoder("take-up", take_up_inputs, run_take_up, linear(64 * MIB, 64), 100),
    )
}
assert np.little_endian
