"""Opening and leaving: modes, what `with` commits and discards, what the end of an object or a process does."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import arrayfs
from tests.t4_fuse.promises import keeps


def fill(path: str, mode: Any = "x", value: int = 1) -> None:
    with arrayfs.open(path, mode) as container:
        container.create("t", shape=(4,), dtype="u1", existing="init")[...] = value


def test_importing_the_package_imports_none_of_what_only_parts_of_it_need() -> None:
    program = "import arrayfs, sys; print(*{'pyfuse3', 'trio', 'zarr', 'click'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "\n"


@pytest.mark.parametrize(
    ("mode", "missing", "there"),
    [("r", arrayfs.MissingObjectError, 1), ("a", None, 1), ("w", None, None), ("x", None, arrayfs.ObjectExistsError)],
)
def test_modes(path: str, mode: Any, missing: Any, there: Any) -> None:
    def look() -> int | None:
        with arrayfs.open(path, mode) as container:
            return int(container["t"][0]) if "t" in container else None

    if missing is None:
        assert look() is None
        os.unlink(path)
    else:
        with pytest.raises(missing):
            look()
    fill(path)
    if isinstance(there, type):
        with pytest.raises(there):
            look()
    else:
        assert look() == there


def test_beginning_anew_leaves_the_versions_before(path: str) -> None:
    with arrayfs.open(path, "x") as container:
        container.create("", shape=(2, 2), chunks=(1, 1), dtype="u1")[...] = 3
    fill(path, "w", 2)
    with arrayfs.open(path) as container:
        assert (list(container), container["t"][0], "" in container) == (["t"], 2, False)
    with arrayfs.open(path, version=1) as container:
        assert (container[""][1, 1], container.version) == (3, 1)


def test_a_mode_a_codec_or_a_version_that_makes_no_sense_is_refused(path: str) -> None:
    fill(path)
    for options, error in (
        ({"mode": "r+"}, ValueError), ({"codec": "gzip"}, arrayfs.FormatError), ({"version": 9}, arrayfs.VersionError),
        ({"mode": "a", "version": 1}, arrayfs.ReadOnlyError),
    ):  # fmt: skip
        with pytest.raises(error):
            arrayfs.open(path, **options)


@keeps("Leaving a with block normally, close, and the end of the process commit", "also what was flushed since")
def test_leaving_normally_commits_and_by_an_exception_discards(path: str) -> None:
    fill(path)

    def work() -> None:
        with arrayfs.open(path, "a") as container:
            container["t"][...] = 9
            container.flush()
            container.commit("kept")
            container["t"][...] = 5
            container.flush()
            assert container.dirty
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    with arrayfs.open(path) as container:
        assert container["t"][...].tolist() == [9] * 4
        assert [version.message for version in container.versions()] == ["", "", "kept"]
    assert sorted(os.listdir(Path(path).parent)) == ["c.1.af", "c.2.af", "c.af", "c.lock"]


def test_for_reading_nothing_can_be_changed(path: str) -> None:
    fill(path)
    with arrayfs.open(path) as container:
        array = container["t"]
        for change in (
            lambda: array.__setitem__(0, 1), lambda: array.resize((1,)), lambda: array.attrs.update(a=1),
            lambda: container.create("u", shape=(), dtype="u1"), lambda: container.__delitem__("t"),
            lambda: container.rename("t", "u"), lambda: container.create_group("g"), lambda: array.erase_chunk((0,)),
            container.commit, container.flush, container.discard, lambda: container.tag("x"),
            lambda: array.store_encoded_chunk((0,), bytes(4)), lambda: array.store_chunk((0,), bytes(4)),
        ):  # fmt: skip
            with pytest.raises(arrayfs.ReadOnlyError):
                change()
        assert not container.dirty


def test_what_is_closed_says_so(path: str) -> None:
    with arrayfs.open(path, "x") as container:
        array = container.create("t", shape=(2,), dtype="u1")
    container.close()
    for use in (
        lambda: array[0],
        lambda: container["t"],
        lambda: list(container),
        container.commit,
        lambda: array.shape,
    ):
        with pytest.raises(ValueError, match=r"c\.af is closed"):
            use()
    assert "closed" in repr(container)
    assert "closed" in repr(array)


def test_a_container_that_nobody_holds_any_more_is_committed(path: str) -> None:
    fill(path)
    array = arrayfs.open(path, "a")["t"]
    array[0] = 7
    gc.collect()
    with arrayfs.open(path) as container:
        assert container["t"][0] == 1
    del array
    gc.collect()
    with arrayfs.open(path) as container:
        assert container["t"][0] == 7


def test_the_end_of_the_process_commits(path: str) -> None:
    fill(path)
    program = f"import arrayfs; c = arrayfs.open({path!r}, 'a'); c['t'][0] = 7; keep = [c]; keep.append(keep)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with arrayfs.open(path) as container:
        assert container["t"][...].tolist() == [7, 1, 1, 1]


def test_a_forked_child_neither_commits_nor_writes(path: str) -> None:
    fill(path)
    program = f"""if True:
        import arrayfs, os, sys
        c = arrayfs.open({path!r}, "a")
        c["t"][0] = 7
        if not os.fork():
            try:
                c.commit()
            except OSError as error:
                sys.exit(3 if "before a fork" in str(error) else 4)
            sys.exit(5)
        sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "")
    with arrayfs.open(path) as container:
        assert (container["t"][0], container.version) == (7, 2)


# --- groups and names -------------------------------------------------------------------------------------------------


def test_groups_and_names(container: arrayfs.Container) -> None:
    group = container.create_group("g/h", {"a": 1})
    array = group.create("t", shape=(2,), dtype="u1")
    assert (list(container), list(container["g"]), len(group), array.path) == (["g"], ["h"], 1, "g/h/t")
    assert [node.path for node in container.walk()] == ["g", "g/h", "g/h/t"]
    assert [found.path for found in container.arrays()] == ["g/h/t"]
    assert ("g" in container, "g/h/t" in container, "t" in group, "x" in group, 1 in group) == (
        True, True, True, False, False,
    )  # fmt: skip
    container.rename("g/h", "k")
    assert (array.path, group.path, dict(group.attrs), "h" in container["g"]) == ("k/t", "k", {"a": 1}, False)
    array[...] = 5
    container.rename("k/t", "g/u")
    assert container.array("g/u")[0] == 5
    for name, call in (("g", container.array), ("g/u", container.group), ("no", container.__getitem__)):
        with pytest.raises(arrayfs.ArrayNotFoundError):
            call(name)
    with pytest.raises(arrayfs.EntryExistsError):
        container.rename("g/u", "k")
    with pytest.raises(arrayfs.ArrayNotFoundError):
        del container["no"]
    with pytest.raises(NotADirectoryError, match="is an array, no group"):
        container.create("g/u/v", shape=(), dtype="u1")
    del container["g"]
    assert list(container) == ["k"]
    with pytest.raises(arrayfs.ArrayNotFoundError, match="any more"):
        array[0]


@pytest.mark.parametrize("name", ["a//b", "..", "a/./b", "x\0"])
def test_a_name_that_can_be_none_is_refused(container: arrayfs.Container, name: str) -> None:
    for call in (container.create_group, lambda name: container.create(name, shape=(), dtype="u1")):
        with pytest.raises(ValueError, match="can be in no name"):
            call(name)
    assert list(container) == []


@pytest.mark.parametrize("existing", ["refuse", "load", "init", "init_on_fail"])
def test_no_array_takes_the_place_of_a_group(container: arrayfs.Container, existing: Any) -> None:
    container.create("g/t", shape=(), dtype="u1")
    for name in ("g", ""):
        with pytest.raises(arrayfs.EntryExistsError, match="is a group"):
            container.create(name, shape=(), dtype="u1", existing=existing)
    assert list(container["g"]) == ["t"]


@pytest.mark.parametrize("existing", ["refuse", "load", "init", "init_on_fail"])
@pytest.mark.parametrize("there", [True, False])
def test_create_on_what_is_there_or_not(container: arrayfs.Container, existing: Any, there: bool) -> None:
    if there:
        container.create("t", shape=(2,), dtype="u1", fill_value=4)[0] = 1
    errors = {("refuse", True): arrayfs.EntryExistsError, ("load", False): arrayfs.ArrayNotFoundError}
    expected = {("load", True): [1, 4], ("init_on_fail", True): [1, 4]}.get((existing, there), [4, 4])
    call = lambda: container.create("t", shape=2, dtype="u1", fill_value=4, existing=existing)  # noqa: E731
    if (existing, there) in errors:
        with pytest.raises(errors[existing, there]):
            call()
    else:
        assert call()[...].tolist() == expected


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"shape": (3,)}, "has the shape"), ({"chunks": (2,)}, "has the chunks"), ({"dtype": "i1"}, "has the dtype"),
        ({"dtype": "u1", "fill_value": 5}, "has the fill value"), ({}, ""),
        ({"shape": (2,), "chunks": (1,), "dtype": "u1", "fill_value": 4}, ""),
    ],
)  # fmt: skip
def test_load_compares_what_is_said(container: arrayfs.Container, said: dict[str, Any], message: str) -> None:
    container.create("t", shape=(2,), chunks=(1,), dtype="u1", fill_value=4)
    for existing in ("load", "init_on_fail"):
        if message:
            with pytest.raises(ValueError, match=message):
                container.create("t", existing=existing, **said)
        else:
            assert container.create("t", existing=existing, **said).shape == (2,)


# --- versions ---------------------------------------------------------------------------------------------------------


def test_versions_tags_and_others(path: str) -> None:
    fill(path)
    told: list[tuple[int, int]] = []
    with arrayfs.open(path, "a") as one, arrayfs.open(path, "a") as other, arrayfs.open(path) as reader:
        one["t"][0] = 2
        report = one.commit("two", lambda *done: told.append(done))
        assert report is not None
        assert (report.version, told[-1][0], told[-1][0] == told[-1][1]) == (2, told[-1][1], True)
        assert one.commit() is None
        assert (reader["t"][0], reader.refresh(), reader["t"][0], reader.refresh()) == (1, True, 2, False)
        other.create("u", shape=(), dtype="u1")
        other.commit()
        other.tag("paper", 2)
        other.commit()
        one.refresh()
        one["t"][1] = 3
        other["t"][2] = 4
        other.commit("theirs")
        with pytest.raises(arrayfs.ConflictError, match="both changed"):
            one.commit()
        one.discard()
        assert one["t"][...].tolist() == [2, 1, 1, 1]
        one.refresh()
        assert one["t"][...].tolist() == [2, 1, 4, 1]
    with arrayfs.open(path, version="paper") as older:
        assert (older["t"][...].tolist(), older.version, "u" in older) == ([2, 1, 1, 1], 2, False)
        assert [version.tags for version in older.versions()][2] == ()
    with arrayfs.open(path, "a") as container:
        assert container.log()[2].tags == ("paper",)
        container.untag("paper")
        with pytest.raises(arrayfs.VersionError):
            container.tag("x", 99)


def test_of_two_writers_the_one_that_is_to_win_wins(path: str) -> None:
    fill(path)
    with arrayfs.open(path, "a", on_conflict="ours") as one, arrayfs.open(path, "a") as other:
        one["t"][0] = 2
        other["t"][0] = 3
        other.commit()
    with arrayfs.open(path) as container:
        assert container["t"][...].tolist() == [2, 1, 1, 1]


def test_arrays_are_of_the_time_that_one_looks_at(container: arrayfs.Container) -> None:
    array = container.create("t", shape=(2,), dtype="u1")
    container.commit()
    array.resize((3,))
    array.attrs["a"] = 1
    container.discard()
    assert (array.shape, dict(array.attrs)) == ((2,), {})
    container.rename("t", "u")
    container.discard()
    array[0] = 1
    np.testing.assert_array_equal(container["t"][...], [1, 0])
    container.create("late", shape=(), dtype="u1")
    late = container["late"]
    container.discard()
    with pytest.raises(arrayfs.ArrayNotFoundError):
        late[()]
