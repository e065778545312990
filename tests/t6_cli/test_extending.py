"""docs/EXTENDING.md, carried out: its toy package, installed for one process, and its tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import arrayfs
from arrayfs.cli.main import commands
from arrayfs.errors import FormatError, StoreURLError
from arrayfs.format.foreign_codecs import installed

SOURCE = Path(__file__).parents[2]
PAGE = (SOURCE / "docs" / "EXTENDING.md").read_text(encoding="utf-8")
ENTRY_POINTS, TOY, TESTS = re.findall(r"```(?:toml|python)\n(.*?)```", PAGE, re.DOTALL)
VALUES = np.arange(4000, dtype="i4").reshape(10, 400)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder that has the package as pip would leave it."""
    folder = tmp_path / "site"
    info = folder / "toy-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    lines = []
    for line in ENTRY_POINTS.splitlines():
        group = re.fullmatch(r'\[project\.entry-points\."(.*)"\]', line)
        entry = re.match(r'([\w-]+) = "(.*?)"', line)
        lines.append(f"[{group[1]}]" if group else f"{entry[1]} = {entry[2]}" if entry else "")
    (info / "entry_points.txt").write_text("\n".join([*lines, "broken = toy:Nothing", "poor = toy:zlib.crc32", ""]))
    (folder / "toy.py").write_text(TOY)
    (folder / "test_toy.py").write_text(TESTS)
    return folder


@pytest.fixture
def toy(package: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(package))
    installed.cache_clear()
    yield
    sys.modules.pop("toy", None)
    installed.cache_clear()


def told(*arguments: str) -> Result:
    return CliRunner().invoke(commands, [*arguments], prog_name="arrayfs")


def write(url: str | Path, **options: object) -> None:
    with arrayfs.open(url, "x", **options) as c:  # type: ignore[arg-type]
        c.create("t", shape=VALUES.shape, chunks=(1, 400), dtype="i4")[...] = VALUES


def test_the_tests_of_the_page_pass(package: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_toy.py"]
    environment = os.environ | {"PYTHONPATH": f"{package}:{SOURCE}"}
    done = subprocess.run(
        command, cwd=package, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "failed" not in done.stdout


@pytest.mark.usefixtures("toy")
def test_a_container_in_a_store_of_another_package() -> None:
    write("toy://shelf/w.af")
    with arrayfs.open("toy://shelf/w.af") as c:
        assert np.array_equal(c["t"][...], VALUES)


@pytest.mark.usefixtures("toy")
def test_blocks_of_a_codec_of_another_package(tmp_path: Path) -> None:
    path = tmp_path / "w.af"
    write(path, codec="toy-deflate")
    with arrayfs.open(path, "a") as c:
        array = c["t"]
        assert np.array_equal(array[...], VALUES)
        assert array.codec == "toy-deflate"
        array[3] = 7
    with arrayfs.open(path) as c:
        chunk = c["t"].retrieve_encoded_chunk((3, 0))
        assert chunk is not None
        assert chunk.codec == "toy-deflate"
        assert (c["t"][3] == 7).all()
    info = told("info", str(path)).output
    assert "toy-deflate: " in info
    assert "blocks of codec 'toy-deflate' are not read by the crate, but here: an installed package adds it" in info
    assert told("verify", str(path)).exit_code == 0


def test_without_the_package_its_name_is_said(package: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.af"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(package))
        installed.cache_clear()
        write(path, codec="toy-deflate")
    sys.modules.pop("toy", None)
    installed.cache_clear()
    missing = r"unknown codec 'toy-deflate'; known are none, lz4, zstd; no installed package adds it"
    with arrayfs.open(path) as c:
        assert c["t"].shape == VALUES.shape
        with pytest.raises(FormatError, match=rf"w\.1\.af: array 't': chunk .*block 0: {missing}"):
            c["t"][0]
    with pytest.raises(FormatError, match=missing):
        arrayfs.open(path, "a", codec="toy-deflate")
    assert "'toy-deflate' are not read by the crate, nor here" in told("info", str(path)).output
    verified = told("verify", str(path))
    assert verified.exit_code != 0
    assert missing in verified.output
    with pytest.raises(StoreURLError, match="no store is known for toy://"):
        arrayfs.open("toy://shelf/w.af")


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("codec", "message"),
    [
        ("broken", "codec 'broken': toy:Nothing, as installed, cannot be imported: "),
        ("poor", "codec 'poor': toy:zlib.crc32 has no compress and decompress"),
        ("arrayfs.extension", "unknown codec"),
        ("../toy", "unknown codec"),
        ("toy:Deflate", "unknown codec"),
    ],
)
def test_what_a_name_cannot_do(tmp_path: Path, codec: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        write(tmp_path / "w.af", codec=codec)
