"""The comma list of `-o`: its quoting, what each word means, and what is refused."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrayfs.errors import MountOptionError
from arrayfs.fuse.masks import Masks
from arrayfs.fuse.options import is_known, join_options, parse_options, split_options
from arrayfs.view.attr import Attr
from tests.t4_fuse.conftest import Volume
from tests.t4_fuse.promises import SEMANTICS, keeps
from tests.t4_fuse.test_permissions import NOBODY, as_nobody, mode_of, needs_root, open_to_all

MOUNTING = SEMANTICS.with_name("MOUNTING.md")

SPLIT = {
    "": [],
    "ro": ["ro"],
    " ro , rw,,": ["ro", "rw"],
    'when="a=1,b=2",ro': ["when=a=1,b=2", "ro"],
    r"when=a=1\,b=2,ro": ["when=a=1,b=2", "ro"],
    r'"a,b"c\"d': ['a,bc"d'],
    r'"a\"b,c\\",d': ['a"b,c\\', "d"],
    r"log=/a\040b": ["log=/a b"],
    r"log=/a\\b\c": [r"log=/a\bc"],
    "log=/é": ["log=/é"],
}


@keeps(
    "A comma in an option's value stands between double quotes or after a backslash; a backslash before any letter "
    "stands for that letter, and \\040 for a space.",
    page=MOUNTING,
)
@pytest.mark.parametrize("text", SPLIT)
def test_quotes_and_backslashes_keep_commas(text: str) -> None:
    assert split_options(text) == SPLIT[text]


@given(st.lists(st.text(min_size=1).filter(lambda word: word == word.strip())))
def test_what_is_joined_splits_into_the_same(words: list[str]) -> None:
    assert split_options(join_options(words)) == words


@pytest.mark.parametrize("text", ['a="b', 'a="b\\"', "a\\", 'ro,"'])
def test_a_quoted_text_must_end(text: str) -> None:
    with pytest.raises(MountOptionError, match="does not end"):
        split_options(text)


def test_options_of_fstab_are_understood() -> None:
    text = "ro,defaults,_netdev,nofail,x-systemd.automount,comment=a,user=ada,uid=5,gid=root,allow_other,nosuid,rw"
    options = parse_options(split_options(text))
    assert (options.read_only, options.owner_uid, options.owner_gid) == (False, 5, 0)
    passed = options.for_libfuse("/a,b\\c/é.af", read_only=True)
    assert passed == {
        r"fsname=/a\,b\\c/é.af",
        "subtype=arrayfs",
        "allow_other",
        "nosuid",
        "default_permissions",
        "ro",
    }
    assert {option.encode("us-ascii") for option in passed} >= {r"fsname=/a\,b\\c/é.af".encode(), b"nosuid"}
    assert not parse_options([]).kernel_checks_modes


@pytest.mark.parametrize(
    ("words", "masks"),
    [
        (["umask=022"], Masks(0o22, 0o22)),
        (["umask=022", "fmask=0133"], Masks(0o133, 0o22)),
        (["dmask=7"], Masks(0, 7)),
        (["umask=1", "umask=2"], Masks(2, 2)),
    ],
)
def test_masks_are_octal_and_checked_by_the_kernel(words: list[str], masks: Masks) -> None:
    options = parse_options(words)
    assert options.masks == masks
    assert options.kernel_checks_modes


@pytest.mark.parametrize(
    "text",
    [
        "speed=11",
        "uid=no such user",
        "uid=",
        "gid=-1",
        "foo",
        "rw,big_writes",
        "remount",
        "umask=8",
        "umask=77777",
        "uid",
    ],
)
def test_an_unknown_option_is_named(text: str) -> None:
    with pytest.raises(MountOptionError, match=text.split(",")[-1].partition("=")[0]):
        parse_options(split_options(text))


@pytest.mark.parametrize("word", ["ro", "uid=1", "uid=me", "x-y", "X-y=1", "comment=", "user", "user=ada", "nodev"])
def test_known_words(word: str) -> None:
    assert is_known(word)


@pytest.mark.parametrize("word", ["speed", "uid", "nodev=1", "comment", "ro=1", "y-x"])
def test_unknown_words(word: str) -> None:
    assert not is_known(word)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (stat.S_IFREG | 0o600, stat.S_IFREG | 0o640),
        (stat.S_IFREG | 0o711, stat.S_IFREG | 0o751),
        (stat.S_IFDIR | 0o700, stat.S_IFDIR | 0o755),
        (stat.S_IFLNK | 0o777, stat.S_IFLNK | 0o777),
    ],
)
def test_modes_shown_through_masks(stored: int, shown: int) -> None:
    assert Masks(0o026, 0o022).shown(Attr(1, stored, 0, 0, 0)).mode == shown


@needs_root
@keeps(
    "directories 0777 without the bits of dmask, files 0666 without those of fmask, and the execute bits that were "
    "stored",
    "The files in .arrayfs show their own modes. The kernel checks the modes that are shown",
    "whose all files are, by number or name",
    page=MOUNTING,
)
def test_masks_and_owners_decide_who_may_do_what(unmounted: Volume) -> None:
    unmounted.mount("allow_other,fmask=037,dmask=027,uid=nobody,gid=0")
    open_to_all(unmounted.mountpoint)
    (unmounted / "f").write_bytes(b"x")
    os.close(os.open(unmounted / "tool", os.O_CREAT | os.O_WRONLY, 0o700))
    (unmounted / "d").mkdir(0o700)
    modes = {name: mode_of(unmounted / name) for name in ("f", "tool", "d", ".", ".arrayfs/status.json", ".arrayfs")}
    assert modes == {
        "f": 0o640,
        "tool": 0o740,
        "d": 0o750,
        ".": 0o750,
        ".arrayfs/status.json": 0o400,
        ".arrayfs": 0o755,
    }
    assert ((unmounted / "f").stat().st_uid, (unmounted / "f").stat().st_gid) == (NOBODY, 0)
    assert as_nobody("sh", "-c", f"echo y >> {unmounted / 'f'} && rm {unmounted / 'tool'}") == ""
    (unmounted / "f").chmod(0o600)
    assert mode_of(unmounted / "f") == 0o640
    unmounted.umount()
    unmounted.mount("allow_other,umask=0777")
    assert "ermission denied" in as_nobody("ls", unmounted.mountpoint)
    unmounted.umount()
    unmounted.mount("")
    assert mode_of(unmounted / "f") == 0o600
