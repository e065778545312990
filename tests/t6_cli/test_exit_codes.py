"""Exit codes mean the same for every command, and the README says what."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from arrayfs.cli.exit_codes import MEANING, ExitCode
from tests.t6_cli.conftest import ROOT, Arrayfs, Place


def test_the_readme_has_the_table() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert [(int(code), meaning) for code, meaning in rows] == list(MEANING.items())
    assert set(MEANING) == set(ExitCode)


def test_the_help_has_the_table(arrayfs: Arrayfs) -> None:
    shown = arrayfs("--help").output
    assert all(
        re.search(rf"^ +{code} +{re.escape(meaning)}$", shown, re.MULTILINE) for code, meaning in MEANING.items()
    )


OF_CONTAINERS = ["ls", "info", "verify", "dump"]
OF_MOUNTS = ["umount", "status", "commit", "sync"]


@pytest.mark.parametrize("command", OF_CONTAINERS)
def test_reading_commands(arrayfs: Arrayfs, weather: Path, tmp_path: Path, command: str) -> None:
    assert arrayfs(command, weather).exit_code == ExitCode.DONE
    assert arrayfs(command, tmp_path / "absent.af").exit_code == ExitCode.FAILED
    assert arrayfs(command).exit_code == ExitCode.USAGE
    assert arrayfs(command, weather, "--fast").exit_code == ExitCode.USAGE


def test_create(arrayfs: Arrayfs, tmp_path: Path) -> None:
    assert arrayfs("create", tmp_path / "v.af").exit_code == ExitCode.DONE
    assert arrayfs("create", tmp_path / "v.af").exit_code == ExitCode.FAILED
    assert arrayfs("create").exit_code == ExitCode.USAGE


def test_damage_has_a_code_of_its_own(arrayfs: Arrayfs, weather: Path) -> None:
    layer = weather.with_name("weather.1.af")
    layer.write_bytes(b"\xff" + layer.read_bytes()[1:])
    assert arrayfs("verify", weather).exit_code == ExitCode.DAMAGED


def test_commands_about_a_mount(place: Place) -> None:
    def code(*arguments: str | Path) -> int:
        return place.run(*arguments).returncode

    assert code("mount", place.container, place.mountpoint) == ExitCode.FAILED
    assert code("mount", place.container) == ExitCode.USAGE
    assert code("mount", "--create", place.container, place.mountpoint) == ExitCode.DONE
    for command in OF_MOUNTS[1:]:
        assert code(command, place.mountpoint) == ExitCode.DONE
    for command in OF_MOUNTS:
        assert code(command) == ExitCode.USAGE
    assert code("umount", place.mountpoint) == ExitCode.DONE
    for command in OF_MOUNTS:
        assert code(command, place.mountpoint) == ExitCode.FAILED


def test_ctrl_c_has_a_code_of_its_own(arrayfs: Arrayfs, weather: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: str) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("arrayfs.cli.verify.findings_of", interrupted)
    done = arrayfs("verify", weather)
    assert (done.exit_code, done.output) == (ExitCode.INTERRUPTED, "arrayfs: interrupted\n")
