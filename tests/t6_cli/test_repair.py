"""`arrayfs repair` as a user runs it: what it says, its exit codes, and that the damaged files stay as they are."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from arrayfs.container.container import Container
from arrayfs.view.draft import PIECE_SIZE
from tests.t0_format.golden import CORRUPT, VECTORS, expected
from tests.t4_fuse.promises import keeps
from tests.t6_cli.conftest import Arrayfs, Place


def digests(folder: Path) -> dict[str, str]:
    """All files of a folder but locks: their content's digests, sizes and times."""
    found = {}
    for path in sorted(folder.iterdir()):
        status = path.stat()
        found[path.name] = f"{hashlib.sha256(path.read_bytes()).hexdigest()} {status.st_mtime_ns} {status.st_mode}"
    return found


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_whole_container_is_copied(arrayfs: Arrayfs, weather: Path, tmp_path: Path) -> None:
    before = digests(weather.parent)
    done = arrayfs("repair", weather, tmp_path / "new.af")
    assert (done.exit_code, done.output) == (0, f"{tmp_path}/new.af: 2 arrays, 4 chunks; nothing was lost\n")
    assert digests(weather.parent) == before
    assert arrayfs("verify", tmp_path / "new.af").exit_code == 0


@keeps(
    "arrayfs repair never writes to the damaged files and replaces nothing",
    "what is lost is named by array and chunk",
)
def test_a_lost_chunk_is_named_with_the_older_copy(arrayfs: Arrayfs, weather: Path, tmp_path: Path) -> None:
    flip(weather.with_name("weather.2.af"), 0)
    before = digests(weather.parent)
    done = arrayfs("repair", weather, tmp_path / "new.af")
    assert done.exit_code == 3
    line, summary = done.output.splitlines()
    assert line.startswith("lost: weather.2.af: array 't': chunk (0, 0): block 0: checksum is ")
    assert line.endswith("; an older copy is intact in version 1 (weather.1.af)")
    assert summary == f"{tmp_path}/new.af: 2 arrays, 3 chunks; 1 loss named"
    older = arrayfs("repair", "--older", weather, tmp_path / "older.af")
    assert older.exit_code == 3
    assert "taken from version 1 (weather.1.af)" in older.output
    assert older.output.endswith("2 arrays, 4 chunks; 1 loss named; 1 replaced by older copies\n")
    assert digests(weather.parent) == before


def test_json_has_the_losses_and_the_layers(arrayfs: Arrayfs, weather: Path, tmp_path: Path) -> None:
    flip(weather.with_name("weather.1.af"), 0)
    done = arrayfs("repair", "--json", weather, tmp_path / "new.af")
    assert done.exit_code == 3
    found = json.loads(done.output)
    assert [(loss["array"], loss["chunk"], loss["layer"]) for loss in found["lost"]] == [
        ("t", [0, 1], "weather.1.af"),
        ("t", [1, 0], "weather.1.af"),
        ("t", [1, 1], "weather.1.af"),
    ]
    assert {loss["older_version"] for loss in found["lost"]} == {None}
    assert [(one["layer"], one["state"], one["version"], one["intact"]) for one in found["layers"]] == [
        ("weather.af", "whole", 0, True),
        ("weather.1.af", "whole", 1, True),
        ("weather.2.af", "whole", 2, True),
    ]
    assert (found["arrays"], found["chunks"], found["losses"], found["older"]) == (2, 1, 3, 0)
    assert (found["whole"], found["version"], found["target"]) == (False, 2, str(tmp_path / "new.af"))


def test_json_without_losses_is_json(arrayfs: Arrayfs, weather: Path, tmp_path: Path) -> None:
    found = json.loads(arrayfs("repair", "--json", weather, tmp_path / "new.af").output)
    assert (found["lost"], found["whole"]) == ([], True)


def test_a_cut_layer_is_named_before_what_is_copied(arrayfs: Arrayfs, weather: Path, tmp_path: Path) -> None:
    os.truncate(weather.with_name("weather.2.af"), 100)
    done = arrayfs("repair", weather, tmp_path / "new.af")
    assert done.exit_code == 3
    first, last = done.output.splitlines()
    assert first.startswith("lost layer: weather.2.af: ")
    assert first.endswith("; 100 bytes are without an index")
    assert last.endswith(": 1 array, 4 chunks; 0 losses named; 1 lost layer")


def test_nothing_is_made_where_nothing_can_be(arrayfs: Arrayfs, weather: Path, tmp_path: Path) -> None:
    for source, target, why in (
        (tmp_path / "absent.af", tmp_path / "new.af", "absent.af: no such container"),
        (weather, weather, "weather.af is there already; nothing is replaced"),
        (weather, weather.with_name("weather.7.af"), "sidecar 7 of weather.af"),
        (weather, tmp_path / "no" / "new.af", "no such folder"),
        (weather, tmp_path / "new", "has to be STEM.af"),
    ):
        before = digests(weather.parent)
        done = arrayfs("repair", source, target)
        assert (done.exit_code, why in done.output) == (1, True), done.output
        assert done.output.startswith(f"arrayfs: {target} was not made: ")
        assert digests(weather.parent) == before
    assert not (tmp_path / "new.af").exists()


@pytest.mark.parametrize("case", CORRUPT)
def test_corrupt_containers_of_the_crate(arrayfs: Arrayfs, case: str, tmp_path: Path) -> None:
    """Nothing of them changes; what comes out verifies, and holds what the original says where nothing was lost."""
    folder, told = VECTORS / "corrupt" / case, expected(f"corrupt/{case}")
    before = digests(folder)
    done = arrayfs("repair", "--json", folder / told["base"], tmp_path / "new.af")
    assert digests(folder) == before
    assert done.exit_code in (0, 3), done.output
    assert arrayfs("verify", tmp_path / "new.af").exit_code == 0
    found = json.loads(done.output)
    # statistics and dead blocks are no content; of two entries for one chunk the first counts, as everywhere
    harmless = told["must_fail_at"] == "stats" or case in ("duplicate_coord", "none_usize_wrong") or UNNOTICED.get(case)
    if not harmless:
        assert done.exit_code == 3
        damaged = [one for one in found["layers"] if not one["intact"]]
        assert told["file"] in {one["layer"] for one in damaged} | {loss["layer"] for loss in found["lost"]}
    named = {(loss["array"], tuple(loss["chunk"])) for loss in found["lost"] if loss["chunk"] is not None}
    lost_layer = any(one["state"] in ("lost", "doubtful") for one in found["layers"])
    with Container.open(str(tmp_path / "new.af")) as made:
        for want in expected(told["made_from"])["arrays"]:
            if lost_layer or UNNOTICED.get(case) or case == "duplicate_coord":
                continue
            array = made.get(want["name"])
            for chunk in want["chunks"] or ():
                coord = tuple(chunk["coord"])
                if (want["name"], coord) not in named and "error" not in chunk:
                    content = made.read(array, coord)
                    assert (content is not None) == chunk["stored"]
                    if content is not None and "hex" in chunk:
                        assert bytes(content).hex() == chunk["hex"]


# Without checksums nobody can know: the codec unpacks other bytes of the same length.
UNNOTICED = {"lz4_bitflip": True, "zstd_bitflip": True}


# --- through a mount --------------------------------------------------------------------------------------------------


def fill(mountpoint: Path) -> dict[str, bytes]:
    """Files of every kind of name that the container keeps; returns what can be read again."""
    store = zarr.storage.LocalStore(mountpoint)
    zarr.create_array(
        store, name="native", data=np.arange(24, dtype="i4").reshape(4, 6), chunks=(2, 3), compressors=None,
        fill_value=-1, attributes={"units": "K", "nested": {"a": [1, None]}}, dimension_names=["y", "x"],
    )  # fmt: skip
    zarr.create_array(store, name="g/opaque", data=np.arange(100.0), chunks=(50,))
    (mountpoint / "README").write_bytes(b"read me")
    (mountpoint / "big").write_bytes(bytes(range(256)) * (PIECE_SIZE // 256) * 2 + b"the end")
    (mountpoint / "dir" / "empty").mkdir(parents=True)
    (mountpoint / "dir" / "sparse").write_bytes(b"")
    os.truncate(mountpoint / "dir" / "sparse", 3 * PIECE_SIZE + 5)
    (mountpoint / "g" / "zarr.json").unlink()
    os.chmod(mountpoint / "README", 0o600)
    return tree(mountpoint)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file with its mode and content, every directory with none."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = oct(path.stat().st_mode)
        found[f"{path.relative_to(folder)} {mode}"] = path.read_bytes() if path.is_file() else b""
    return found


def mounted_tree(place: Place, container: Path) -> dict[str, bytes]:
    done = place.run("mount", "--read-only", container, place.mountpoint)
    assert (done.returncode, done.stderr) == (0, "")
    try:
        return tree(place.mountpoint)
    finally:
        place.umount()


def block_with(container: Path, text: bytes) -> None:
    """Damage the stored block that has these bytes as they are."""
    (path,) = [path for path in container.parent.glob("*.af") if text in path.read_bytes()]
    flip(path, path.read_bytes().index(text))


def test_every_kind_of_file_is_kept(place: Place) -> None:
    place.mount("--codec", "none")
    before = fill(place.mountpoint)
    place.umount()
    files = digests(place.container.parent)
    new = place.container.with_name("new.af")
    done = place.run("repair", place.container, new)
    assert (done.returncode, done.stderr) == (0, "")
    assert mounted_tree(place, new) == before
    assert {name: said for name, said in digests(place.container.parent).items() if name in files} == files


def test_a_lost_piece_of_a_file_is_named_by_its_bytes_and_a_lost_file_left_out(place: Place) -> None:
    place.mount("--codec", "none", "--block-size", "1")
    before = fill(place.mountpoint)
    place.umount()
    block_with(place.container, b"read me")
    block_with(place.container, b"the end")
    new = place.container.with_name("new.af")
    done = place.run("repair", place.container, new)
    assert done.returncode == 3
    assert "file 'README': nothing of it is left: it is left out" in done.stdout
    assert f"file 'big': bytes {2 * PIECE_SIZE} to {3 * PIECE_SIZE}, or its end: block" in done.stdout
    after = mounted_tree(place, new)
    assert before.keys() - after.keys() == {"README 0o100600"}
    (big,) = [name for name in before if name.startswith("big ")]
    assert after[big] == before[big][:-7] + bytes(7)
    assert {n: c for n, c in after.items() if n != big} == {n: c for n, c in before.items() if n in after and n != big}


@keeps("Damage is found by checksum whenever a block is read: EIO for the chunks in it; all other files read.")
def test_a_mount_of_a_damaged_container_answers_eio_for_what_is_damaged(place: Place) -> None:
    place.mount("--codec", "none", "--block-size", "1")
    (place / "broken").write_bytes(b"will be damaged")
    (place / "whole").write_bytes(b"will not")
    place.umount()
    block_with(place.container, b"will be damaged")
    place.mount("--read-only")
    with pytest.raises(OSError) as caught:  # noqa: PT011  the errno is looked at
        (place / "broken").read_bytes()
    assert caught.value.errno == errno.EIO
    assert (place / "whole").read_bytes() == b"will not"
    place.umount()


@keeps("arrayfs verify checks a container while it is mounted for writing, and needs no lock")
def test_a_mount_point_names_its_container(place: Place) -> None:
    place.mount()
    (place / "note").write_text("committed")
    assert place.run("commit", place.mountpoint).returncode == 0
    (place / "note").write_text("not committed yet")
    verified = place.run("verify", place.mountpoint)
    assert (verified.returncode, verified.stdout) == (0, f"{place.mountpoint}: 0 errors, 0 warnings\n")
    new = place.container.with_name("new.af")
    assert place.run("repair", place.mountpoint, new).returncode == 0
    assert (place / "note").read_text() == "not committed yet"
    place.umount()
    assert mounted_tree(place, new)["note 0o100644"] == b"committed"


def test_a_mount_whose_daemon_died_names_its_container(place: Place) -> None:
    process = place.start()
    process.kill()
    process.communicate()
    with pytest.raises(OSError) as caught:  # noqa: PT011  the errno is looked at
        os.listdir(place.mountpoint)
    assert caught.value.errno == errno.ENOTCONN
    assert place.run("verify", place.mountpoint).stdout == f"{place.mountpoint}: 0 errors, 0 warnings\n"


def test_progress_is_shown_on_a_terminal_and_nowhere_else(place: Place) -> None:
    place.mount()
    (place / "note").write_text("something to check")
    place.umount()

    def errors(*options: str) -> bytes:
        try:
            ours, theirs = pty.openpty()
        except OSError as error:
            pytest.skip(f"no terminal can be had here: {error}")
        command = [sys.executable, "-m", "arrayfs", "verify", *options, str(place.container)]
        done = subprocess.run(command, env=place.environment, stdout=subprocess.PIPE, stderr=theirs, check=True)
        os.close(theirs)
        os.set_blocking(ours, False)
        said = b""
        with contextlib.suppress(OSError):  # all was read: nobody has the other end any more
            while chunk := os.read(ours, 4096):
                said += chunk
        os.close(ours)
        assert done.stdout
        return said

    shown = errors()
    assert b"checking" in shown
    assert b"100%" in shown
    assert shown.endswith(b"\x1b[?25h")
    assert errors("--json") == b""
    assert place.run("verify", place.container).stderr == ""
