"""Commands that read a container without a mount: create, ls, info, verify, and how errors come out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from arrayfs.container.array import ArraySpec
from arrayfs.container.container import Container
from arrayfs.format.attributes import attribute_from_python
from arrayfs.format.model import DType
from tests.t0_format.golden import VECTORS, expected
from tests.t6_cli.conftest import ROOT, Arrayfs


def test_create_makes_an_empty_container_and_replaces_nothing(arrayfs: Arrayfs, tmp_path: Path) -> None:
    path = tmp_path / "new.af"
    assert (arrayfs("create", path).exit_code, arrayfs("ls", path).output) == (0, "")
    before = path.read_bytes()
    again = arrayfs("create", path)
    assert again.exit_code == 1
    assert again.output.startswith("arrayfs: ")
    assert path.read_bytes() == before


def test_create_refuses_the_name_of_a_sidecar(arrayfs: Arrayfs, tmp_path: Path) -> None:
    done = arrayfs("create", tmp_path / "weather.2024.af")
    assert done.exit_code == 1
    assert "sidecar 2024 of weather.af" in done.output
    assert list(tmp_path.iterdir()) == []


def test_ls_says_what_is_stored(arrayfs: Arrayfs, weather: Path) -> None:
    head, first, second = arrayfs("ls", weather).output.splitlines()
    assert head.split() == ["name", "dtype", "shape", "chunk", "shape", "chunks", "stored"]
    assert first.split()[:7] == ["t", "Int16", "5×4", "2×2", "4", "of", "6"]
    assert second.split()[:7] == ["g/s", "Float64", "scalar", "scalar", "0", "of", "1"]


def test_ls_as_json_of_one_array_has_its_attributes(arrayfs: Arrayfs, weather: Path) -> None:
    (found,) = json.loads(arrayfs("ls", weather, "t", "--json").output)
    assert (found["shape"], found["chunk_shape"], found["dimension_names"]) == ([5, 4], [2, 2], ["y", "x"])
    assert (found["chunks"], found["grid"], found["kind"]) == (4, 6, "native")
    assert found["attributes"] == {"units": {"type": "String", "value": "K"}}


def test_ls_of_a_group_lists_what_lies_in_it(arrayfs: Arrayfs, weather: Path) -> None:
    assert [one["name"] for one in json.loads(arrayfs("ls", weather, "g", "--json").output)] == ["g/s"]
    missing = arrayfs("ls", weather, "absent")
    assert missing.exit_code == 1
    assert missing.output == f"arrayfs: {weather}: no array 'absent', and no group of this name\n"


def test_ls_shows_reserved_names_only_when_asked(arrayfs: Arrayfs, weather: Path) -> None:
    with Container.open(str(weather), "a") as container:
        container.define(".arrayfs/files/note", ArraySpec(DType("Binary"), (0,), (1,)))
    assert ".arrayfs" not in arrayfs("ls", weather).output
    assert ".arrayfs/files/note" in arrayfs("ls", weather, "--all").output


@pytest.mark.parametrize("case", ["v5/dtypes", "v5/layers_all", "v4/many_small_chunks", "v5/lists"])
def test_ls_of_golden_containers_counts_their_chunks(arrayfs: Arrayfs, case: str) -> None:
    listed = json.loads(arrayfs("ls", VECTORS / case / "t.af", "--all", "--json").output)
    said = [(one["name"], one["dtype"], one["shape"], one["chunks"], one["grid"]) for one in listed]
    wanted = [(a["name"], a["dtype"], a["shape"], a["n_stored"], a["n_chunks"]) for a in expected(case)["arrays"]]
    assert said == wanted


def test_info_lists_versions_with_their_messages(arrayfs: Arrayfs, weather: Path) -> None:
    found = json.loads(arrayfs("info", weather, "--json").output)
    assert [(layer["version"], layer["file"], layer["message"]) for layer in found["layers"]] == [
        (0, "weather.af", ""),
        (1, "weather.1.af", "first"),
        (2, "weather.2.af", "second"),
    ]
    assert (found["version"], found["footer_version"], found["arrays"]) == (2, 5, {"native": 2, "opaque": 0})
    assert found["differences"] == []
    assert sum(layer["size"] for layer in found["layers"]) == found["size"]
    shown = arrayfs("info", weather).output
    assert all(word in shown for word in ("weather.1.af", "first", "second", "lz4"))


@pytest.mark.parametrize("version", ["v4", "v5"])
@pytest.mark.parametrize(
    ("case", "kind", "subject"),
    [
        ("fills", "string fill", "string_fill"),
        ("layers_redefine_rank", "rank", "a"),
        ("layers_redefine", "redefined", "a"),
        ("layers_attrs", "attributes", "t.af"),
    ],
)
def test_info_names_what_the_crate_reads_otherwise(
    arrayfs: Arrayfs, version: str, case: str, kind: str, subject: str
) -> None:
    found = json.loads(arrayfs("info", VECTORS / version / case / "t.af", "--json").output)["differences"]
    assert (kind, subject) in [(one["kind"], one["subject"]) for one in found]
    assert f"{subject}: " in arrayfs("info", VECTORS / version / case / "t.af").output


def wrongly_read(case: str, key: str) -> set[str]:
    """The arrays whose attributes the crate was seen to answer wrongly."""
    right = {array["name"]: array["attributes"] for array in expected(case)["arrays"]}
    answers = expected(case).get(key, {"arrays": []})["arrays"]
    return {one["name"] for one in answers if one.get("attributes", {}) != right[one["name"]]}


@pytest.mark.parametrize("case", ["layers_attrs", "layers_all", "layers_attrs_cumulative", "attrs", "layers_overwrite"])
def test_info_foretells_which_attributes_the_crate_reads_wrongly(arrayfs: Arrayfs, case: str) -> None:
    found = json.loads(arrayfs("info", VECTORS / "v5" / case / "t.af", "--json").output)["differences"]
    texts = [one["text"] for one in found if one["kind"] == "attributes"]
    for key, release in (("crate_reads", "0.13"), ("crate_0_14_reads", "0.14")):
        wrong = wrongly_read(f"v5/{case}", key)
        said = "".join(text for text in texts if text.endswith(release))
        assert {name for name in "abcdefgh" if f"'{name}'" in said} == wrong


@pytest.mark.parametrize("version", ["v4", "v5"])
@pytest.mark.parametrize("case", ["layers_attrs", "layers_all", "layers_overwrite", "layers_new_and_delete"])
def test_info_foretells_which_attributes_the_crates_compaction_changes(
    arrayfs: Arrayfs, version: str, case: str
) -> None:
    found = json.loads(arrayfs("info", VECTORS / version / case / "t.af", "--json").output)["differences"]
    said = "".join(one["text"] for one in found if one["kind"] == "compaction")
    right, left = (
        {array["name"]: array["attributes"] for array in expected(f"{version}/{one}")["arrays"]}
        for one in (case, f"{case}_compacted")
    )
    wrong = {name for name in left if left[name] != right[name]}
    assert {name for name in left if f"'{name}'" in said} == wrong


@pytest.mark.parametrize(("commits", "kinds"), [(30, []), (90, ["compaction"])])
def test_info_tells_when_values_have_made_room_for_others(
    arrayfs: Arrayfs, weather: Path, commits: int, kinds: list[str]
) -> None:
    with Container.open(str(weather), "a") as container:
        array = container.get("t")
        for number in range(commits):
            container.set_attributes(array, {"step": attribute_from_python("Int64", number)})
            container.commit()
    found = json.loads(arrayfs("info", weather, "--json").output)["differences"]
    assert [one["kind"] for one in found] == kinds


def test_verify_of_a_whole_container_finds_nothing(arrayfs: Arrayfs, weather: Path) -> None:
    done = arrayfs("verify", weather)
    assert (done.exit_code, done.output) == (0, f"{weather}: 0 errors, 0 warnings\n")


def test_verify_names_the_damaged_block(arrayfs: Arrayfs, weather: Path) -> None:
    layer = weather.with_name("weather.1.af")
    layer.write_bytes(b"\xff" + layer.read_bytes()[1:])
    done = arrayfs("verify", weather)
    assert done.exit_code == 3
    assert "error: weather.1.af: block 0" in done.output
    as_json = arrayfs("verify", weather, "--json")
    assert as_json.exit_code == 3
    assert json.loads(as_json.output)["errors"] == 1


def test_verify_of_what_is_not_there_is_another_code(arrayfs: Arrayfs, tmp_path: Path) -> None:
    done = arrayfs("verify", tmp_path / "absent.af")
    assert done.exit_code == 1
    assert "could not be checked" in done.output


@pytest.mark.parametrize("command", ["ls", "info", "dump"])
def test_an_error_is_one_line_without_a_traceback(arrayfs: Arrayfs, tmp_path: Path, command: str) -> None:
    foreign = tmp_path / "foreign.af"
    foreign.write_bytes(b"not a container\nat all")
    for path in (foreign, tmp_path / "absent.af", tmp_path / "no" / "folder.af"):
        done = arrayfs(command, path)
        assert done.exit_code == 1
        assert done.output.startswith("arrayfs: ")
        assert done.output.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("--dirty-limit", "much", "no size"),
        ("--block-size", "64 parsecs", "no size"),
        ("--commit-every", "0", "no duration"),
        ("--codec", "gzip", "gzip"),
        ("--zarr-format", "1", "'1'"),
    ],
)
def test_wrong_usage_is_code_2(arrayfs: Arrayfs, option: str, value: str, word: str) -> None:
    done = arrayfs("mount", option, value, "a.af", "m")
    assert done.exit_code == 2
    assert word in done.output


def test_help_of_every_command_has_an_example(arrayfs: Arrayfs) -> None:
    commands = arrayfs("--help").output.partition("Commands:")[2].partition("Exit codes:")[0]
    names = [line.split()[0] for line in commands.splitlines() if line.strip()]
    assert {"mount", "umount", "verify", "status"} <= set(names)
    for name in names:
        assert "Example:" in arrayfs(name, "--help").output, name


def test_reading_needs_no_fuse(weather: Path) -> None:
    """`arrayfs info` works, and `arrayfs mount` says what to install, where pyfuse3 cannot be imported."""
    block = "import sys; sys.modules['pyfuse3'] = sys.modules['trio'] = None\nfrom arrayfs.cli.main import main\nmain()"

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", block, *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    assert run("info", weather).returncode == 0
    assert run("umount", weather.parent).stderr.endswith("nothing is mounted here\n")
    done = run("mount", weather, weather.parent)
    assert done.returncode == 1
    assert "pip install pyfuse3" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_command_reads_only_what_it_needs() -> None:
    block = """
import sys
from arrayfs.cli.main import commands
assert commands.get_command(None, "umount").name == "umount"
print(sorted({"numpy", "pyfuse3", "zarr"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
