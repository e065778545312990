"""What is left when a program that writes to a mount is killed: real programs, real signals, a real mount."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.mounts import Mounted
from tests.t4_fuse.conftest import ROOT, Volume
from tests.t4_fuse.documents import GROUP3, array2, array3, ints, put, write
from tests.t4_fuse.posix import refused
from tests.t4_fuse.promises import keeps
from tests.t4_fuse.writers import Writer, eventually, killed_after

OLD = ints(1, 2, 3, 4)
NEW = ints(5, 6, 7, 8)
HALF = NEW[:8]
MIXED = HALF + OLD[8:]

BACK = (
    "A chunk file or a document whose writer was killed half way has its last whole content again: what was there "
    "when it was opened, or, if it was synced or a descriptor of it was closed since, what was a chunk or a document "
    "then."
)
REWRITE_HALF = f"fd = os.open(path, os.O_RDWR); os.pwrite(fd, {HALF!r}, 0)"


@pytest.fixture
def array(mounted: Mounted) -> Path:
    """A native array of four int32 chunks of four; the first is there, and committed."""
    write(mounted / "a/zarr.json", array3([16], [4]))
    put(mounted / "a/c/0", 1, 2, 3, 4)
    mounted.remount()
    return mounted / "a"


def lost(mounted: Mounted) -> list[Any]:
    """What the status says of lost+found."""
    found: Any = mounted.status()["lost_found"]
    return list(found)


def reads(path: Path, content: bytes) -> None:
    """Everybody reads this, as soon as the kernel knows."""
    eventually(lambda: path.read_bytes() == content and path.stat().st_size == len(content))


def kept(mounted: Mounted, name: str, content: bytes) -> None:
    """This is the file's content, now and when it was committed."""
    reads(mounted / name, content)
    mounted.remount()
    assert (mounted / name).read_bytes() == content


# --- one writer ----------------------------------------------------------------------------------------------------


@keeps(BACK)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGABRT])
def test_a_rewrite_of_the_same_length(mounted: Mounted, array: Path, number: int) -> None:
    mtime_ns = (array / "c/0").stat().st_mtime_ns
    killed_after(REWRITE_HALF, array / "c/0", number)
    reads(array / "c/0", OLD)
    assert (array / "c/0").stat().st_mtime_ns == mtime_ns
    assert [(stub["path"], stub["why"], stub["bytes"]) for stub in lost(mounted)] == [
        ("a/c/0", f"its writer was killed by {signal.Signals(number).name}", 16)
    ]
    assert mounted.umount().sidecar == ""  # nothing has changed


@keeps(BACK)
def test_a_fault_in_the_program(mounted: Mounted, array: Path) -> None:
    crash = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); say(); ctypes.string_at(0)"
    writer = Writer(f"{REWRITE_HALF}; {crash}", array / "c/0")
    assert writer.process.wait(30) == -signal.SIGSEGV
    writer.process.communicate()
    reads(array / "c/0", OLD)
    assert lost(mounted)[0]["why"] == "its writer was killed by SIGSEGV"


@keeps(BACK)
@pytest.mark.parametrize("size", [0, 8])
def test_a_chunk_that_was_emptied_first(mounted: Mounted, array: Path, size: int) -> None:
    killed_after(f"fd = os.open(path, os.O_WRONLY | os.O_TRUNC); os.write(fd, {NEW[:size]!r})", array / "c/0")
    kept(mounted, "a/c/0", OLD)


@keeps(BACK)
def test_a_chunk_as_its_client_encoded_it_and_in_the_other_format(mounted: Mounted) -> None:
    write(mounted / "a/zarr.json", array3([16], [4], codecs=[{"name": "gzip"}]))
    write(mounted / "b/.zarray", array2([16], [4]))
    for name, half in (("a/c/0", b"coded"), ("b/0", HALF)):
        put(mounted / name, 1, 2, 3, 4)
        killed_after(f"file = open(path, 'wb', 0); file.write({half!r})", mounted / name)
        kept(mounted, name, OLD)


@keeps(BACK)
@pytest.mark.parametrize("name", ["zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"])
def test_a_document_half_written(mounted: Mounted, name: str) -> None:
    v3, path = name == "zarr.json", mounted / "a" / name
    if not v3:
        write(mounted / "a/.zarray", array2([16], [4]))
    write(path, (array3 if v3 else array2)([16], [4]) if name in ("zarr.json", ".zarray") else GROUP3)
    put(mounted / ("a/c/0" if v3 else "a/0"), 1, 2, 3, 4)
    before = path.read_bytes()
    killed_after("file = open(path, 'wb', 0); file.write(b'{\"zarr_format\": ')", path)
    kept(mounted, f"a/{name}", before)
    assert (mounted / ("a/c/0" if v3 else "a/0")).read_bytes() == OLD


@keeps(BACK)
def test_a_document_that_is_made_from_the_container(mounted: Mounted, array: Path) -> None:
    (array / "zarr.json").unlink()
    (mounted / "g").mkdir()
    write(mounted / "g/n/zarr.json", array3([4], [4]))
    mounted.remount()
    before = (mounted / "zarr.json").read_bytes() if (mounted / "zarr.json").exists() else b""
    killed_after("file = open(path, 'wb', 0); file.write(b'{')", mounted / "zarr.json")
    eventually(lambda: ((mounted / "zarr.json").read_bytes() if (mounted / "zarr.json").exists() else b"") == before)


@keeps(
    "A chunk file or a document that is new has no old content: its name is gone when its writer was killed, "
    "and the chunk is missing."
)
@pytest.mark.parametrize("content", [b"", HALF])
@pytest.mark.parametrize("name", ["c/1", "zarr.json", "new/zarr.json"])
def test_a_new_file(mounted: Mounted, array: Path, name: str, content: bytes) -> None:
    if name == "zarr.json":
        name = "../b/zarr.json"
    (array / name).parent.mkdir(exist_ok=True)
    killed_after(f"fd = os.open(path, os.O_WRONLY | os.O_CREAT); os.write(fd, {content!r})", array / name)
    eventually(lambda: not (array / name).exists())
    with refused(errno.ENOENT):
        os.open(array / name, os.O_RDONLY)
    assert Path(name).name not in os.listdir((array / name).parent)
    assert [stub["bytes"] for stub in lost(mounted)] == [len(content)]
    mounted.remount()
    assert not (array / name).exists()
    assert (array / "c/0").read_bytes() == OLD


@keeps(
    "A chunk of a native array that was written from its start to its exact length, each byte once and in order, "
    "is whole, and stays."
)
@pytest.mark.parametrize("name", ["c/0", "c/1"])
def test_a_chunk_that_was_complete(mounted: Mounted, array: Path, name: str) -> None:
    program = f"fd = os.open(path, os.O_WRONLY | os.O_CREAT); os.write(fd, {NEW[:5]!r}); os.write(fd, {NEW[5:]!r})"
    killed_after(program, array / name)
    assert lost(mounted) == []
    kept(mounted, f"a/{name}", NEW)


@keeps(
    "Whoever writes a chunk twice, first zeros, then the content, has written a whole chunk of zeros after the first "
    "time."
)
def test_a_chunk_of_which_only_the_zeros_were_written(mounted: Mounted, array: Path) -> None:
    killed_after("fd = os.open(path, os.O_WRONLY | os.O_CREAT); os.write(fd, bytes(16))", array / "c/1")
    kept(mounted, "a/c/1", bytes(16))


@keeps("A program that catches the signal and closes its files has closed them: so do Python's with blocks at SIGINT.")
def test_a_program_that_closes_its_files_before_it_dies(mounted: Mounted, array: Path) -> None:
    program = f"signal.signal(signal.SIGINT, signal.default_int_handler); sys.stderr.close()\n{REWRITE_HALF}"
    killed_after(f"{program}\nwith os.fdopen(fd, 'r+b', 0): wait()", array / "c/0", signal.SIGINT)
    assert lost(mounted) == []
    kept(mounted, "a/c/0", MIXED)


def test_a_chunk_of_texts_that_was_complete(mounted: Mounted) -> None:
    write(mounted / "a/zarr.json", array3([2], [2], "string", codecs=[{"name": "vlen-utf8"}], fill_value=""))
    whole = b"".join(number.to_bytes(4, "little") for number in (2, 1)) + b"a" + (2).to_bytes(4, "little") + b"bc"
    (mounted / "a/c").mkdir()
    for size, left in ((len(whole) - 1, False), (len(whole), True)):
        killed_after(f"file = open(path, 'wb', 0); file.write({whole[:size]!r})", mounted / "a/c/0")
        eventually(lambda left=left: (mounted / "a/c/0").exists() is left)  # type: ignore[misc]
    kept(mounted, "a/c/0", whole)


@pytest.mark.parametrize(
    "program",
    [
        f"os.write(fd, bytes(16)); os.pwrite(fd, {HALF!r}, 0)",  # zeros first
        f"os.pwrite(fd, {NEW[8:]!r}, 8); os.pwrite(fd, {HALF!r}, 0)",  # complete, but who can know
    ],
)
def test_a_chunk_that_was_not_written_in_order_is_taken_back(mounted: Mounted, array: Path, program: str) -> None:
    killed_after(f"fd = os.open(path, os.O_RDWR); {program}", array / "c/0")
    kept(mounted, "a/c/0", OLD)


@keeps(
    "A plain file keeps what was written to it, as everywhere. A temporary file that was not renamed yet is one: the "
    "chunk or document that it was meant for is as it was."
)
def test_plain_and_temporary_files(mounted: Mounted, array: Path) -> None:
    for name in ("README", "c/.0.partial", "c/4"):  # no such chunk in the grid
        killed_after(f"fd = os.open(path, os.O_WRONLY | os.O_CREAT); os.write(fd, {HALF!r})", array / name)
        assert (array / name).read_bytes() == HALF
    assert lost(mounted) == []
    mounted.remount()
    assert (array / "c/.0.partial").read_bytes() == (array / "c/4").read_bytes() == HALF
    assert (array / "c/0").read_bytes() == OLD


@keeps("A program that ends by itself has closed its files, whatever its exit code.")
@pytest.mark.parametrize(("end", "code"), [("os._exit(0)", 0), ("os._exit(3)", 3), ("sys.exit(9)", 9)])
def test_a_program_that_ends_without_closing(mounted: Mounted, array: Path, end: str, code: int) -> None:
    Writer(f"{REWRITE_HALF}; wait(); {end}", array / "c/0").ended(code)
    assert lost(mounted) == []
    kept(mounted, "a/c/0", MIXED)


@keeps(BACK)
@pytest.mark.parametrize("whole", ["os.close(os.dup(fd))", "os.fsync(fd)"])
def test_what_was_whole_once_is_what_comes_back(mounted: Mounted, array: Path, whole: str) -> None:
    content = ints(9, 9, 9, 9)
    program = f"fd = os.open(path, os.O_RDWR); os.write(fd, {content!r}); {whole}; os.pwrite(fd, {HALF!r}, 0)"
    killed_after(program, array / "c/0")
    kept(mounted, "a/c/0", content)
    document = (array / "zarr.json").read_bytes()
    changed = json.dumps(json.loads(document) | {"attributes": {"n": 1}}).encode()
    program = f"fd = os.open(path, os.O_RDWR | os.O_TRUNC); os.write(fd, {changed!r}); {whole}; os.ftruncate(fd, 5)"
    killed_after(program, array / "zarr.json")
    kept(mounted, "a/zarr.json", changed)


@pytest.mark.parametrize("ends", ["opener", "writer"])
def test_the_opener_was_a_thread_that_has_ended(mounted: Mounted, array: Path, ends: str) -> None:
    """The kernel names the thread that opened. The writer may be another, and the main thread may be over too."""
    opening = "fds = []\nthread = threading.Thread(target=lambda: fds.append(os.open(path, os.O_RDWR)))"
    writing = f"thread.start(); thread.join(); os.pwrite(fds[0], {HALF!r}, 0)"
    if ends == "writer":  # the first thread ends (exit, not exit_group), the others write on
        body = f"os.pwrite(os.open(path, os.O_RDWR), {HALF!r}, 0); wait(); wait()"
        leave = "ctypes.CDLL(None).syscall(60 if os.uname().machine == 'x86_64' else 93, 0)"
        program = f"def body():\n  {body}\nthreading.Thread(target=body).start()\n{leave}"
        Writer(program, array / "c/0").killed()
    else:
        killed_after(f"{opening}\n{writing}", array / "c/0")
    kept(mounted, "a/c/0", OLD)


@keeps(
    "What was taken back shows in a mapping and to an open handle as soon as the kernel has been told, moments later.",
    "A writes half a chunk in place and is killed, B reads: B sees the old chunk.",
)
def test_who_has_it_open_sees_the_old_content(mounted: Mounted, array: Path) -> None:
    writer = Writer(f"{REWRITE_HALF}; wait()", array / "c/0")
    with (array / "c/0").open("rb", buffering=0) as reader:
        assert reader.read() == MIXED
        writer.killed()
        eventually(lambda: os.pread(reader.fileno(), 99, 0) == OLD)
    writer = Writer(f"fd = os.open(path, os.O_RDWR | os.O_CREAT); os.pwrite(fd, {HALF!r}, 0); wait()", array / "c/1")
    with (array / "c/1").open("rb", buffering=0) as reader:
        writer.killed()
        eventually(lambda: not (array / "c/1").exists())
        assert reader.read() == HALF  # as of any file whose name is gone


# --- mappings ------------------------------------------------------------------------------------------------------


PAGES = 4 * 4096
MAP = """
libc = ctypes.CDLL(None)
libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p, *[ctypes.c_long] * 5]
fd = os.open(path, os.O_RDWR)
place = libc.mmap(0, 16384, 3, mmap.MAP_SHARED, fd, 0)
"""
STORE = "ctypes.memset(place, 66, 4096)"
STORED_AFTER_CLOSE = f"{MAP}os.close(fd); {STORE}"


@pytest.fixture
def pages(mounted: Mounted, array: Path) -> bytes:
    """The content of a chunk `b/c/0` of four pages."""
    write(mounted / "b/zarr.json", array3([PAGES // 4], [PAGES // 4]))
    content = os.urandom(PAGES)
    (mounted / "b/c").mkdir()
    (mounted / "b/c/0").write_bytes(content)
    return content


@keeps(BACK)
@pytest.mark.parametrize("program", [MAP + STORE, STORED_AFTER_CLOSE])
def test_stores_into_a_mapping(mounted: Mounted, pages: bytes, program: str) -> None:
    """After the file was closed, a WRITE and a RELEASE tell of them, and no FLUSH."""
    killed_after(program, mounted / "b/c/0")
    kept(mounted, "b/c/0", pages)
    Writer(f"{program}; wait(); os._exit(0)", mounted / "b/c/0").ended()
    kept(mounted, "b/c/0", b"B" * 4096 + pages[4096:])


@keeps(BACK)
def test_stores_into_a_mapping_before_and_after_msync(mounted: Mounted, pages: bytes) -> None:
    synced = f"{STORED_AFTER_CLOSE}; libc.msync(ctypes.c_void_p(place), 16384, 4)"  # MS_SYNC
    killed_after(f"{synced}; ctypes.memset(place + 8192, 67, 4096)", mounted / "b/c/0")
    kept(mounted, "b/c/0", b"B" * 4096 + pages[4096:])


def test_stores_into_a_mapping_that_the_kernel_wrote_back_by_itself(mounted: Mounted, pages: bytes) -> None:
    """Then nothing but a RELEASE comes when the process dies, and the daemon looks at what is left of it."""
    written_back = "fd = os.open(path, os.O_RDONLY); libc.sync_file_range(fd, ctypes.c_long(0), ctypes.c_long(0), 7)"
    writer = Writer(f"{STORED_AFTER_CLOSE}; {written_back}; os.close(fd); wait()", mounted / "b/c/0")
    writer.process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, writer.process.pid, os.WEXITED | os.WNOWAIT)
    reads(mounted / "b/c/0", pages)
    writer.process.communicate()
    assert len(lost(mounted)) == 1


# --- several processes ---------------------------------------------------------------------------------------------


FORKED = f"""
fd = os.open(path, os.O_RDWR)
os.write(fd, {HALF!r})
reader, writer = os.pipe()
child = os.fork()
if not child:
    os.close(writer)
    os.read(reader, 1)
    END
"""
SHARED = (
    "A descriptor that other processes have too (a forked child, a program that was started with it) is released by "
    "the last of them. What one of them writes or closes after the opener was killed is kept."
)


@keeps(
    "A descriptor that is closed while the file is being written, also by a child process that ends, says that the "
    "file is whole as it is: half a rewrite in place has the right length."
)
@pytest.mark.parametrize("rest", ["", f"os.pwrite(fd, {NEW[:4]!r}, 12)"])
def test_half_a_rewrite_that_a_child_closed(mounted: Mounted, array: Path, rest: str) -> None:
    child = FORKED.replace("END", "os._exit(0)")
    killed_after(f"{child}os.close(writer); os.waitpid(child, 0); {rest}", array / "c/0")
    kept(mounted, "a/c/0", MIXED)


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)", "os.close(fd); os._exit(0)"])
def test_a_child_that_ends_takes_nothing_away(mounted: Mounted, array: Path, end: str) -> None:
    rest = f"os.close(writer); os.waitpid(child, 0); wait(); os.write(fd, {NEW[8:]!r}); os.close(fd)"
    writer = Writer(FORKED.replace("END", end) + rest, array / "c/0")
    reads(array / "c/0", MIXED)
    writer.ended()
    assert lost(mounted) == []
    kept(mounted, "a/c/0", NEW)


@keeps(SHARED)
@pytest.mark.parametrize("end", ["killed", "ended"])
def test_a_child_goes_on_after_its_opener(mounted: Mounted, array: Path, end: str) -> None:
    child = f"wait(); os.write(fd, {NEW[8:]!r}); os.close(fd); say('done'); os._exit(0)"
    writer = Writer(FORKED.replace("END", child) + "wait(); os._exit(0)", array / "c/0")
    writer.process.send_signal(signal.SIGKILL) if end == "killed" else writer.go_on()
    writer.process.wait(30)
    writer.hear("ready")
    assert (array / "c/0").read_bytes() == MIXED
    writer.go_on()
    writer.hear("done")
    writer.process.communicate()
    assert lost(mounted) == []
    kept(mounted, "a/c/0", NEW)


@keeps(
    "The opener counts. Of a program that got its descriptor from another the death is not seen: in a shell that is "
    "{ program; } > file, and with some shells (dash) also program > file. bash lets the program open the file."
)
def test_redirections_of_a_shell(mounted: Mounted, array: Path) -> None:
    environment = os.environ | {"SCRIPT": "printf 12345678; kill -KILL $$", "CHUNK": str(array / "c/0")}
    script = 'bash -c "$SCRIPT" 1<> "$CHUNK"; exit 0'
    subprocess.run(["bash", "-c", script], env=environment, check=True, capture_output=True)
    kept(mounted, "a/c/0", OLD)
    script = '{ bash -c "$SCRIPT"; true; } 1<> "$CHUNK"; exit 0'
    subprocess.run(["bash", "-c", script], env=environment, check=True, capture_output=True)
    assert lost(mounted) == []
    kept(mounted, "a/c/0", b"12345678" + OLD[8:])


MIXTURE = (
    "While others have written to the same file too, nothing is taken back, since bytes of a killed writer cannot be "
    "told from theirs; .arrayfs/status.json warns of it. When all who wrote were killed, the last whole content is "
    "there again. Who only has the file open does not count."
)


@keeps(MIXTURE)
def test_one_of_two_writers_is_killed(mounted: Mounted, array: Path) -> None:
    first = Writer(f"{REWRITE_HALF}; wait()", array / "c/0")
    second = Writer(f"fd = os.open(path, os.O_RDWR); os.pwrite(fd, {NEW[8:12]!r}, 8); wait()", array / "c/0")
    first.killed()
    reads(array / "c/0", NEW[:12] + OLD[12:])
    assert mounted.status()["warnings"] == [
        "a/c/0: a writer was killed; what it wrote is kept together with what others wrote"
    ]
    second.ended()
    assert lost(mounted) == []
    kept(mounted, "a/c/0", NEW[:12] + OLD[12:])


@keeps(MIXTURE)
def test_all_writers_are_killed(mounted: Mounted, array: Path) -> None:
    first = Writer(f"{REWRITE_HALF}; wait()", array / "c/0")
    second = Writer(f"fd = os.open(path, os.O_RDWR); os.pwrite(fd, {NEW[8:12]!r}, 8); wait()", array / "c/0")
    first.killed()
    second.killed()
    assert len(lost(mounted)) == 1
    kept(mounted, "a/c/0", OLD)


@keeps(MIXTURE)
def test_who_only_has_it_open_does_not_count(mounted: Mounted, array: Path) -> None:
    writer = Writer(f"{REWRITE_HALF}; wait()", array / "c/0")
    with (array / "c/0").open("r+b"):
        pass
    with (array / "c/0").open("r+b", buffering=0) as other:
        writer.killed()
        eventually(lambda: os.pread(other.fileno(), 99, 0) == OLD)
        other.write(NEW[:4])
    kept(mounted, "a/c/0", NEW[:4] + OLD[4:])


ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0, reason="only root can make a process namespace")


@ROOT_ONLY
def test_a_writer_in_a_process_namespace_below_the_daemons_is_seen(mounted: Mounted, array: Path) -> None:
    script = 'exec 1<> "$CHUNK"; printf 12345678; kill -KILL $$'
    inside = ["unshare", "--pid", "--fork", "sh", "-c", 'sh -c "$SCRIPT"; exit 0']
    subprocess.run(
        inside, env=os.environ | {"SCRIPT": script, "CHUNK": str(array / "c/0")}, check=True, capture_output=True
    )
    kept(mounted, "a/c/0", OLD)


@keeps("A process that the daemon cannot see (in another process namespace, or with hidepid)")
@ROOT_ONLY
def test_a_writer_outside_of_the_daemons_process_namespace_is_not_seen(unmounted: Volume) -> None:
    serve = [sys.executable, str(Path(__file__).parent / "mount_it.py"), str(unmounted.container), str(unmounted / "")]
    daemon = ["unshare", "--pid", "--fork", "sh", "-c", '"$@" && echo ready && read end', "sh", *serve]
    pipe = subprocess.PIPE
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    with subprocess.Popen(daemon, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        write(unmounted / "a/zarr.json", array3([4], [4]))
        put(unmounted / "a/c/0", 1, 2, 3, 4)
        killed_after(REWRITE_HALF, unmounted / "a/c/0")
        (unmounted / ".arrayfs/commit").write_text("what was written is kept, as in any file system")
        status = json.loads((unmounted / ".arrayfs/status.json").read_bytes())
        assert ((unmounted / "a/c/0").read_bytes(), status["lost_found"]) == (MIXED, [])
        subprocess.run(["fusermount3", "-u", unmounted.mountpoint], check=True)


# --- lost+found ----------------------------------------------------------------------------------------------------


@keeps(
    "What was taken back is in .arrayfs/lost+found, a file each, with all that the file had: NAME.NUMBER, where NAME "
    "is its path with %2F for each slash. Only the user who mounted may look into .arrayfs/lost+found; the files are "
    "for reading, and unlink frees one. .arrayfs/status.json lists them with path, reason, time and bytes. They last "
    "as long as the mount and are never committed."
)
def test_lost_and_found(mounted: Mounted, array: Path) -> None:
    place = mounted / ".arrayfs/lost+found"
    assert os.listdir(place) == []
    killed_after(REWRITE_HALF, array / "c/0")
    killed_after(f"fd = os.open(path, os.O_RDWR | os.O_CREAT); os.write(fd, {HALF!r})", array / "c/1")
    assert os.listdir(place) == ["a%2Fc%2F0.1", "a%2Fc%2F1.2"]
    assert [(place / name).read_bytes() for name in os.listdir(place)] == [MIXED, HALF]
    assert [set(stub) for stub in lost(mounted)] == [{"name", "path", "why", "time", "bytes"}] * 2
    assert [stub["name"] for stub in lost(mounted)] == os.listdir(place)
    assert (place.stat().st_mode & 0o777, (place / "a%2Fc%2F0.1").stat().st_mode & 0o777) == (0o700, 0o400)
    changes: dict[int, list[Callable[[], object]]] = {
        errno.EPERM: [
            (place / "x").touch,
            (place / "x").mkdir,
            place.rmdir,
            lambda: (place / "a%2Fc%2F0.1").rename(place / "x"),
            lambda: (place / "a%2Fc%2F0.1").rename(mounted / "x"),
            lambda: os.link(place / "a%2Fc%2F0.1", mounted / "x"),
        ],
        errno.EACCES: [
            lambda: os.open(place / "a%2Fc%2F0.1", os.O_RDWR),
            lambda: os.truncate(place / "a%2Fc%2F0.1", 0),
        ],
    }
    for number, refusals in changes.items():
        for change in refusals:
            with refused(number):
                change()
    with (place / "a%2Fc%2F0.1").open("rb", buffering=0) as reader:
        (place / "a%2Fc%2F0.1").unlink()
        assert reader.read() == MIXED
    assert os.listdir(place) == ["a%2Fc%2F1.2"]
    assert [stub["name"] for stub in lost(mounted)] == ["a%2Fc%2F1.2"]
    assert mounted.remount().sidecar == ""
    assert os.listdir(place) == []
