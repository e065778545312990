"""File names of a container, both ways, by the rules of the crate."""

from __future__ import annotations

import pytest

from arrayfs.errors import FormatError
from arrayfs.format.naming import ContainerNames, sidecar_of_other

WEATHER = ContainerNames("weather")
ID = "0123456789abcdef" * 2

MADE = {
    "weather.af": WEATHER.base,
    "weather.stats": WEATHER.stats,
    "weather.lock": WEATHER.lock,
    "weather.1.af": WEATHER.sidecar(1),
    "weather.4294967295.af": WEATHER.sidecar(2**32 - 1),
    f"weather.part-{ID}": WEATHER.part(ID),
    f"weather.log-{ID}": WEATHER.log(ID),
}
SIDECARS = {
    "weather.1.af": 1,
    "weather.01.af": 1,
    "weather.+2.af": 2,
    "weather.+0002.af": 2,
    "weather.4294967295.af": 2**32 - 1,
    f"weather.{'0' * 5000}7.af": 7,
}
NO_SIDECARS = [
    "weather.af",
    "weather.0.af",
    "weather.+0.af",
    "weather.-1.af",
    "weather.-0.af",
    "weather.++1.af",
    "weather.+.af",
    "weather..af",
    "weather. 1.af",
    "weather.1_0.af",
    "weather.٣.af",
    "weather.1\n.af",
    "weather.4294967296.af",
    f"weather.{'9' * 5000}.af",
    "weather.1.2.af",
    "weather.1.AF",
    "weather.1",
    "other.1.af",
    "weather1.af",
]


@pytest.mark.parametrize("name", MADE)
def test_names_as_they_are_made(name: str) -> None:
    assert MADE[name] == name


@pytest.mark.parametrize("name", SIDECARS)
def test_sidecars_are_numbered_as_rust_parses(name: str) -> None:
    assert WEATHER.parse_sidecar(name) == SIDECARS[name]


@pytest.mark.parametrize("name", NO_SIDECARS)
def test_other_names_are_no_sidecars(name: str) -> None:
    assert WEATHER.parse_sidecar(name) is None


def test_journals_are_told_by_their_ids() -> None:
    assert WEATHER.parse_part(WEATHER.part(ID)) == ID
    assert WEATHER.parse_log(WEATHER.log(ID)) == ID
    for name in (f"weather.part-{ID[1:]}", f"weather.part-{ID.upper()}", f"other.part-{ID}", WEATHER.log(ID), ID):
        assert WEATHER.parse_part(name) is None


def test_nothing_but_layers_ends_like_a_layer() -> None:
    assert [name for name in MADE if name.endswith(".af")] == ["weather.af", "weather.1.af", "weather.4294967295.af"]


@pytest.mark.parametrize(("name", "stem"), [("weather.af", "weather"), ("a.b.af", "a.b"), ("t.af.af", "t.af")])
def test_a_base_names_its_container(name: str, stem: str) -> None:
    assert ContainerNames.from_base(name) == ContainerNames(stem)
    assert ContainerNames(stem).base == name


@pytest.mark.parametrize("name", ["weather", ".af", "weather.AF", "weather.af2", "", "dir/weather.af"])
def test_other_names_are_no_base(name: str) -> None:
    with pytest.raises(FormatError, match=r"has to be STEM\.af"):
        ContainerNames.from_base(name)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("weather.2024.af", ("weather", 2024)),
        ("weather.+7.af", ("weather", 7)),
        ("a.b.3.af", ("a.b", 3)),
        ("weather.af", None),
        ("weather.0.af", None),
        ("weather.v2.af", None),
        ("2024.af", None),
        (".2024.af", None),
        ("weather.2024", None),
    ],
)
def test_a_base_that_would_be_a_sidecar_of_another(name: str, other: tuple[str, int] | None) -> None:
    assert sidecar_of_other(name) == other
    if other:
        assert ContainerNames(other[0]).parse_sidecar(name) == other[1]


def test_names_that_cannot_be_are_not_made() -> None:
    for number in (0, -1, 2**32):
        with pytest.raises(ValueError, match="a sidecar has no number"):
            WEATHER.sidecar(number)
    for wrong in (ID.upper(), ID + "0", "../" + ID[3:]):
        with pytest.raises(ValueError, match="is not 32 hex digits"):
            WEATHER.part(wrong)
