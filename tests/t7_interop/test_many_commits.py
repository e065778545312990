"""What hundreds of commits leave behind in the dictionaries makes room for new values; the crate reads on."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from arrayfs.container.container import Container
from arrayfs.container.dictionary import DEAD_BUDGET
from tests.t0_format.golden import VECTORS
from tests.t2_container.making import attributes, spec
from tests.t7_interop import crate

COMMITS = 150


# release 0.10 reads footer version 4, which a container keeps that began with it
@pytest.mark.parametrize(("base", "options"), [("", one) for one in crate.CRATES] + [("v4/empty_base", ())])
def test_attributes_of_all_arrays_are_read_after_many_commits(
    base: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    crate.program()
    path = tmp_path / "t.af"
    if base:
        shutil.copyfile(VECTORS / base / "t.af", path)
    else:
        Container.create(str(path))
    wanted: dict[str, dict[str, int | str]] = {}
    with Container.open(str(path), "a") as container:
        for name in ("changing", "still"):
            wanted[name] = {"units": "K", "n": -1, "of": name}
            container.define(name, spec((4,), (2,)), attributes(**wanted[name]))
        for number in range(COMMITS):
            if number == COMMITS // 3:
                wanted["later"] = {"units": "K", "n": -number, "of": "later", "more": "a text that is not short"}
                container.define("later", spec((4,), (2,)), attributes(**wanted["later"]))
            wanted["changing"] = {"units": "K", "n": number, "of": "changing"}
            container.set_attributes(container.get("changing"), attributes(**wanted["changing"]))
            container.commit()
        layers = container.stack.layers
        values = [len(layer.footer.attr_values) for layer in layers]
    assert any(more > fewer for more, fewer in pairwise(values))
    assert max(values) * 24 < DEAD_BUDGET + 500
    assert layers[-1].footer.version == (4 if base else 5)
    answers = crate.reads(path, *options)
    found = {name: {key: one["value"] for key, one in answers[name]["attributes"].items()} for name in answers}
    assert found == wanted
