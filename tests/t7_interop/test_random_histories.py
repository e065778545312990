"""Whatever was done to a container in whatever order: both releases of the original crate read what arrayfs reads."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.profiles import examples
from tests.t0_format.golden import described_value
from tests.t2_container.array_model import ModelArray
from tests.t2_container.crate_reader import CrateReader
from tests.t2_container.test_model import ContainerMachine
from tests.t7_interop import crate


class CrateMachine(ContainerMachine):
    """The histories of the container's own model, on files, each version read by the crate as well."""

    options: tuple[str, ...] = ()

    def place(self) -> str:
        self.folder = Path(tempfile.mkdtemp(prefix="arrayfs-histories-"))
        return str(self.folder / "t.af")

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    def check_crate(self) -> None:
        super().check_crate()
        reader = CrateReader(self.container.stack)
        visible = reader.visible()
        found = crate.reads(Path(self.url), *self.options)
        assert set(found) == set(self.model)
        for name, array in self.model.items():
            if not reader.panics(visible[name]):
                assert_same(found[name], array)


def assert_same(found: dict[str, Any], array: ModelArray) -> None:
    """The crate's answer is the model's array: shape, attributes, every chunk, and fill values where there is none."""
    assert tuple(found["shape"]) == array.spec.shape
    assert tuple(found["chunk_shape"]) == array.spec.chunk_shape
    assert found["attributes"] == {key: described_value(value) for key, value in array.attributes.items()}
    stored = array.stored_chunks()
    answers = {tuple(chunk["coord"]): chunk for chunk in found["chunks"]}
    assert list(answers) == array.coords()
    for coord, chunk in answers.items():
        want = stored.get(coord, array.stored_fill(coord))
        if not chunk["stored"]:
            assert coord not in stored
        elif "hex" in chunk:
            assert chunk["hex"] == want.hex(), coord
        else:
            assert chunk["sha256"] == hashlib.sha256(want).hexdigest(), coord


@pytest.mark.parametrize("options", crate.CRATES, ids=["0.12", "0.14"])
def test_crate_reads_every_version_of_random_histories(options: tuple[str, ...]) -> None:
    crate.program()
    machine = type("Machine", (CrateMachine,), {"options": options})
    run_state_machine_as_test(machine, settings=examples(8, steps=40))
