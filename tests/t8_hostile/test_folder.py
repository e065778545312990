"""The folder of a container: what lies in the place of a layer, and layers that contradict each other or themselves."""

from __future__ import annotations

import dataclasses
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from arrayfs.container.container import Container
from arrayfs.errors import ConflictError, FormatError, MissingObjectError
from arrayfs.format.extension import decode_extension, encode_extension
from arrayfs.format.model import ArrayMeta, DType
from arrayfs.format.stats import decode_stats
from arrayfs.store.local import LocalStore
from arrayfs.view.tree import Tree, open_tree
from tests.t2_container.making import i32, layer_bytes, new_container, new_url, spec
from tests.t4_fuse.promises import defends
from tests.t8_hostile.containers import files_of, of_ours, open_files, parts, resealed
from tests.t8_hostile.crafted import array, content, names_in, why_not
from tests.t8_hostile.walking import walk


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A container of one layer with a chunk, on disk."""
    (tmp_path / "t.af").write_bytes(layer_bytes(array("a"), data=b"abcd"))
    return tmp_path / "t.af"


def chunk(path: Path) -> bytes:
    tree = open_tree(str(path))
    try:
        return content(tree, "a", "c", "0")
    finally:
        tree.close()


OTHERS: dict[str, Callable[[Path], None]] = {
    "directory": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "device": lambda path: os.mknod(path, 0o020666, os.makedev(1, 5)),
    "dangling link": lambda path: path.symlink_to("nothing"),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "link to itself": lambda path: path.symlink_to(path.name),
}
possible = [
    pytest.param(
        kind, marks=pytest.mark.skipif(kind == "device" and os.getuid() != 0, reason="only root makes devices")
    )
    for kind in OTHERS
]


@defends(
    "Only regular files are layers: a directory, a named pipe or a device in the place of a sidecar is not read and "
    "never waited for; a commit that would need its name is refused and keeps the changes."
)
@pytest.mark.parametrize("kind", possible)
def test_what_is_no_file_is_no_layer(base: Path, kind: str) -> None:
    place = base.with_name("t.1.af")
    OTHERS[kind](place)
    assert chunk(base) == b"abcd"
    container = Container.open(str(base), "a")
    new = container.define("b", spec((2,), (2,)))
    container.put(new, (0,), i32(1, 2), 0)
    with pytest.raises(ConflictError, match=r"t\.1\.af"):
        container.commit()
    assert container.read(new, (0,)) == i32(1, 2)
    if place.is_dir():
        place.rmdir()
    else:
        place.unlink()
    container.commit()
    container.close()
    assert place.is_file()


@pytest.mark.parametrize("kind", possible)
def test_a_base_that_is_no_file_is_an_error(tmp_path: Path, kind: str) -> None:
    OTHERS[kind](tmp_path / "t.af")
    with pytest.raises((MissingObjectError, OSError)):
        Container.open(str(tmp_path / "t.af"))


@defends("A symbolic link to a regular file is followed for reading")
def test_a_link_to_a_layer_is_followed(base: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    os.rename(base, tmp_path / "far/data")
    base.symlink_to("far/data")
    assert chunk(base) == b"abcd"


@defends("nothing is ever written through one")
def test_nothing_is_written_through_a_link(base: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    base.with_name("t.stats").symlink_to("victim")
    base.with_name(".t.stats.put").symlink_to("victim")
    container = Container.open(str(base), "a")
    container.define("b", spec((2,), (2,)))
    container.commit()
    container.close()
    store = LocalStore(str(tmp_path))
    with pytest.raises(OSError, match="symbolic links"):
        store.put("t.stats", b"statistics", replace=True)
    assert victim.read_bytes() == b"precious"


@defends("a lock that is a link, a pipe or a device is refused.")
@pytest.mark.parametrize("kind", [*possible, pytest.param("link")])
def test_a_lock_that_is_no_file_is_refused(base: Path, tmp_path: Path, kind: str) -> None:
    lock = base.with_name("t.lock")
    if kind == "link":
        lock.symlink_to(tmp_path / "made")
    else:
        OTHERS[kind](lock)
    with pytest.raises(OSError, match="lock"):
        Container.open(str(base), "a")
    assert not (tmp_path / "made").exists()
    assert chunk(base) == b"abcd"


@defends("Two files that claim the same layer number (t.1.af and t.01.af) are refused by name.")
@pytest.mark.parametrize("other", ["t.01.af", "t.+1.af", "t.0000000000001.af"])
def test_two_files_with_one_number(base: Path, other: str) -> None:
    for name in ("t.1.af", other):
        base.with_name(name).write_bytes(layer_bytes(array("b"), data=b"efgh"))
    for mode in ("r", "a"):
        with pytest.raises(FormatError, match="are both sidecar 1") as caught:
            Container.open(str(base), mode)
        assert "t.1.af" in str(caught.value)
        assert other in str(caught.value)


@defends("A sidecar that was made on top of another layer than the one below it is refused by name.")
def test_a_sidecar_of_another_container() -> None:
    one, other, *_ = of_ours().values()
    with pytest.raises(FormatError, match=r"t\.1\.af: was made on top of layer"):
        open_files({"t.af": one["t.af"], "t.1.af": other["t.1.af"]})


@pytest.mark.parametrize(
    "newer",
    [
        array("a", (4,), (4,), (((0,), 0, 0, 8),), DType("UInt16")),
        array("a", (2, 4), (2, 4), (((0, 0), 0, 0, 8),)),
        array("a", (4,), (2,), (((1,), 0, 0, 2),)),
        array("a", (), (), (((), 0, 0, 1),)),
    ],
)
def test_layers_that_disagree_about_an_array(newer: ArrayMeta) -> None:
    tree = Tree(
        open_files({"t.af": layer_bytes(array("a"), data=b"abcd"), "t.1.af": layer_bytes(newer, data=b"8 bytes!")})
    )
    assert walk(tree) == []
    stored = b"8 bytes!"[: int(newer.chunks.sizes[0])]
    names = ("c", *map(str, newer.chunks.coords[0].tolist()))
    assert content(tree, "a", *names) == stored
    assert names_in(tree) == ["a"]


# --- an extension block that says something else than the footer ----------------------------------------------


def contradicted(**fields: object) -> dict[str, bytes]:
    """A container of one commit whose sidecar's extension block says this instead, checksums made right."""
    url = new_url()
    container = new_container(url)
    made = container.define("a", spec((4,), (2,)))
    container.put(made, (0,), i32(1, 2), 1000)
    container.put(made, (1,), i32(3, 4), 2000)
    container.commit()
    container.close()
    files = files_of(url)
    data, block, footer = parts(files["t.1.af"])
    changed = encode_extension(dataclasses.replace(decode_extension(block), **fields))  # type: ignore[arg-type]
    files["t.1.af"] = resealed(data, changed, _of_size(footer, len(block), len(changed)))
    return files


def _of_size(footer: bytes, old: int, new: int) -> bytes:
    """The footer with the size of the extension block, packed and unpacked, put right."""
    pair = struct.pack("<QQ", old, old)
    assert footer.count(pair) == 1
    return footer.replace(pair, struct.pack("<QQ", new, new))


@pytest.mark.parametrize("count", [1, 3, 1000])
def test_checksums_for_another_number_of_blocks(count: int) -> None:
    with pytest.raises(FormatError, match=rf"t\.1\.af: extension block: {count} checksums for 2 blocks"):
        open_files(contradicted(block_crcs=np.zeros(count, np.uint32)))


def test_checksums_of_other_bytes() -> None:
    tree = Tree(open_files(contradicted(block_crcs=np.array([1, 0], np.uint32))))
    assert "checksum is" in why_not(tree, "a", "c", "0")


def test_holes_times_marks_and_names_of_what_is_not_there() -> None:
    most = 2**32 - 1
    files = contradicted(
        holes=np.array([[most, most, most], [7, 0, 8], [0, 0, 9]], np.uint32),
        chunk_mtimes={most: np.zeros(3, np.int64), 0: np.zeros(7, np.int64)},
        array_marks={most: most, 0: most},
        renamed_from={most: "x", 0: "../../x"},
        version=2**64 - 1,
        time_ns=-(2**63),
    )
    tree = Tree(open_files(files))
    assert walk(tree) == []
    assert content(tree, "a", "c", "0") == i32(1, 2)


def test_a_version_and_time_that_nothing_can_follow(tmp_path: Path) -> None:
    for name, data in contradicted(version=2**64 - 1, time_ns=2**63 - 1).items():
        (tmp_path / name).write_bytes(data)
    container = Container.open(str(tmp_path / "t.af"), "a")
    container.define("b", spec((2,), (2,)))
    with pytest.raises(OverflowError, match="identity"):
        container.commit()
    container.close()


def test_a_statistics_file_is_never_believed(base: Path) -> None:
    base.with_name("t.stats").write_bytes(b"nonsense" * 100)
    with pytest.raises(FormatError):
        decode_stats(base.with_name("t.stats").read_bytes())
    assert chunk(base) == b"abcd"
