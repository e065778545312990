"""Both runtimes serve a real mount; a request that waits holds up no other."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from arrayfs.fuse.runtime import MAX_PARKED, PAUSE, REST, SPIN_NS, InlineRuntime, is_end_of_connection
from tests.t4_fuse.conftest import Server
from tests.t4_fuse.posix import refused

CONTENT = bytes(range(256)) * 16

Start = Callable[..., Server]
both = pytest.mark.parametrize("runtime", ["direct", "inline", "trio"])


@both
def test_requests_are_answered_until_the_unmount(runtime: str, start: Start, mountpoint: Path) -> None:
    server = start("serve_runtime.py", runtime)
    assert [(mountpoint / "plain").read_bytes() for _ in range(200)] == [CONTENT] * 200
    assert not (mountpoint / "absent").exists()
    server.unmount()
    server.wait_for("returned")


@both
def test_a_parked_request_does_not_hold_up_the_others(runtime: str, start: Start, mountpoint: Path) -> None:
    server = start("serve_runtime.py", runtime)
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit((mountpoint / "gate").read_bytes)
        server.wait_for("parked")
        for _ in range(50):
            assert (mountpoint / "plain").read_bytes() == CONTENT
        assert not parked.done()
        server.tell("go")
        assert parked.result() == CONTENT
    assert (mountpoint / "plain").read_bytes() == CONTENT


@both
def test_requests_are_served_while_others_come_and_go_from_the_parking_place(
    runtime: str, start: Start, mountpoint: Path
) -> None:
    server = start("serve_runtime.py", runtime)
    server.tell("go")
    with ThreadPoolExecutor(4) as pool:
        names = ["gate", "plain", "full", "plain"] * 100

        def read(name: str) -> bytes | int | None:
            try:
                return (mountpoint / name).read_bytes()
            except OSError as error:
                return error.errno

        answers = list(pool.map(read, names))
    assert answers == [errno.ENOSPC if name == "full" else CONTENT for name in names]
    server.unmount()
    server.wait_for("returned")


@both
def test_more_requests_than_parking_places_wait_in_the_kernel(runtime: str, start: Start, mountpoint: Path) -> None:
    server = start("serve_runtime.py", runtime)
    count = MAX_PARKED + 9
    with ThreadPoolExecutor(count) as pool:
        waiting = [pool.submit((mountpoint / "gate").read_bytes) for _ in range(count)]
        for _ in range(MAX_PARKED):
            server.wait_for("parked")
        server.tell("go")
        assert [each.result() for each in waiting] == [CONTENT] * count
    assert (mountpoint / "plain").read_bytes() == CONTENT


@both
def test_what_parked_work_raises_is_raised_in_the_handler(runtime: str, start: Start, mountpoint: Path) -> None:
    start("serve_runtime.py", runtime)
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            (mountpoint / "full").read_bytes()
    assert (mountpoint / "plain").read_bytes() == CONTENT


@both
def test_the_end_waits_for_parked_requests(runtime: str, start: Start, mountpoint: Path) -> None:
    server = start("serve_runtime.py", runtime)
    reader = threading.Thread(target=_try_to_open, args=(mountpoint / "gate",))
    reader.start()
    server.wait_for("parked")
    os.kill(server.process.pid, signal.SIGTERM)
    server.wait_for("terminated")
    server.tell("go")
    server.wait_for("returned")
    reader.join()
    assert server.heard[-2:] == ["passed", "returned"]


@both
def test_a_signal_ends_an_idle_session(runtime: str, start: Start) -> None:
    server = start("serve_runtime.py", runtime)
    os.kill(server.process.pid, signal.SIGTERM)
    server.wait_for("returned")


@both
def test_a_signal_that_comes_just_before_the_wait_for_requests_is_heard(runtime: str, start: Start) -> None:
    server = start("serve_runtime.py", runtime)
    server.tell("signal")
    server.wait_for("returned")


@both
def test_a_session_terminated_before_it_began_ends_at_once(
    runtime: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERMINATE_FIRST", "1")
    start("serve_runtime.py", runtime).wait_for("returned")


def test_a_bug_in_a_handler_is_raised_after_parked_requests_are_finished(start: Start, mountpoint: Path) -> None:
    server = start("serve_runtime.py", "inline")
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit(_try_to_open, mountpoint / "gate")
        server.wait_for("parked")
        bug = threading.Thread(target=_try_to_open, args=(mountpoint / "bug",))
        bug.start()
        server.tell("go")
        assert server.wait_for("raised") == "raised a handler's bug"
        bug.join()
        parked.result()
    assert "passed" in server.heard


def test_a_bug_in_a_handler_is_the_error_of_its_request(start: Start, mountpoint: Path) -> None:
    server = start("serve_runtime.py", "direct")
    with refused(errno.EIO):
        os.open(mountpoint / "bug", os.O_RDONLY)
    assert (mountpoint / "plain").read_bytes() == CONTENT
    server.unmount()
    server.wait_for("returned")


def _try_to_open(path: Path) -> None:
    with contextlib.suppress(OSError):  # the mount may end before the answer
        os.close(os.open(path, os.O_RDONLY))


class Device:
    """What a spinning runtime asks, and the clock it looks at: each poll and each yield (yield_ns) lets time go by."""

    def __init__(self, yield_ns: int = 500) -> None:
        self.now = 0
        self.yield_ns = yield_ns
        self.asked = self.slept = 0
        self._comes = 0

    def poll(self, timeout: int | None = None) -> list[tuple[int, int]]:
        if timeout is None:
            self.slept += 1
            self.now = max(self.now, self._comes)
        else:
            self.asked += 1
            self.now += 500
        return [(3, 1)] if self.now >= self._comes else []

    def sched_yield(self) -> None:
        self.now += self.yield_ns

    def wait(self, runtime: InlineRuntime, comes_after: int, times: int = 1) -> None:
        for _ in range(times):
            self._comes = self.now + comes_after
            assert runtime._wait() == [(3, 1)]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    device = Device()
    monkeypatch.setattr("arrayfs.fuse.runtime.monotonic_ns", lambda: device.now)
    monkeypatch.setattr("os.sched_yield", device.sched_yield)
    return device


def runtime_on(device: Device) -> InlineRuntime:
    runtime = InlineRuntime()
    vars(runtime)["_poll"] = device
    return runtime


def test_a_client_that_asks_again_at_once_is_spun_for(device: Device) -> None:
    runtime = runtime_on(device)
    device.wait(runtime, comes_after=30_000, times=100)
    assert device.slept == 1


def test_sparse_requests_are_slept_for(device: Device) -> None:
    runtime = runtime_on(device)
    device.wait(runtime, comes_after=30_000, times=10)
    device.asked = device.slept = 0
    device.wait(runtime, comes_after=1_000_000, times=100)
    assert device.slept == 100
    assert device.asked <= 2 * SPIN_NS // 500  # one spin in vain


def test_a_rest_is_soon_forgotten_in_the_next_burst(device: Device) -> None:
    runtime = runtime_on(device)
    device.wait(runtime, comes_after=1_000_000, times=1000)
    device.slept = 0
    device.wait(runtime, comes_after=30_000, times=1000)
    assert 0 < device.slept <= 2 * REST


def test_long_waits_among_short_ones_end_the_spinning(device: Device) -> None:
    runtime = runtime_on(device)
    for _ in range(100):
        device.wait(runtime, comes_after=30_000, times=10)
        device.wait(runtime, comes_after=1_000_000)
    device.asked = 0
    device.wait(runtime, comes_after=30_000, times=10)
    assert not device.asked


def test_a_core_that_does_not_come_back_soon_is_left_to_others(device: Device) -> None:
    runtime = runtime_on(device)
    device.wait(runtime, comes_after=30_000, times=10)
    device.yield_ns = 3_000_000
    device.wait(runtime, comes_after=30_000)
    device.asked = device.slept = 0
    device.wait(runtime, comes_after=30_000, times=PAUSE)
    assert device.slept == PAUSE
    assert not device.asked
    device.yield_ns = 500
    device.wait(runtime, comes_after=30_000, times=100)
    assert device.asked


@pytest.mark.parametrize(
    ("error", "is_end"),
    [
        (ConnectionAbortedError(errno.ECONNABORTED, "fuse_session_receive_buf failed"), True),
        (BaseExceptionGroup("trio's", [ConnectionAbortedError(), ConnectionAbortedError()]), True),
        (BaseExceptionGroup("trio's", [ConnectionAbortedError(), OSError(errno.EIO, "")]), False),
        (OSError(errno.EIO, "fuse_session_receive_buf failed"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_the_kernel_ending_the_connection_under_a_request_is_no_failure(error: BaseException, is_end: bool) -> None:
    assert is_end_of_connection(error) is is_end
