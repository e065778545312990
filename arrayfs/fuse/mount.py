"""The life of a mount: checks, a daemon, signals, and at its end the commit and word of how it went.

1. The caller's process checks the mount point and forks (unless in the foreground).
2. The daemon locks its state file, opens the tree, mounts, and reports when the kernel has said hello; the caller
   returns.
3. The session is served until the file system is unmounted or SIGINT, SIGTERM or SIGHUP comes.
4. The mount is taken away, so that nothing can be written that would not be kept; then `tree.close()` commits.
5. When the commit is durable its result is appended to the state file, and the lock goes: `umount` returns.
A daemon killed before 5 leaves a state file without a result, and from 2 to 4 a dead mount: the next `mount` here gets
the lock and takes it away.

A signal in step 2 ends it before or right after the mount, with an error for the caller; one in step 4 is without
effect: the commit is what the signal would ask for. If the caller goes before the report, nothing stays mounted.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import pyfuse3

from arrayfs.errors import ArrayFSError, ConflictError, DaemonDiedError, MountError
from arrayfs.fuse import mountinfo
from arrayfs.fuse.daemon import Report, captured_stderr, detach, fork_daemon
from arrayfs.fuse.direct import RuntimeName, make_runtime
from arrayfs.fuse.logs import RecentWarnings, begin_log, open_output
from arrayfs.fuse.notify import Notifier
from arrayfs.fuse.operations import TreeOperations
from arrayfs.fuse.options import MountOptions
from arrayfs.fuse.runtime import Runtime, is_end_of_connection
from arrayfs.fuse.servicemanager import tell
from arrayfs.fuse.state import MountInfo, MountResult, StateFile, process_start, read_state
from arrayfs.fuse.tree_protocol import Tree
from arrayfs.fuse.usage import Usage
from arrayfs.fuse.usage_log import UsageLog

log = logging.getLogger("arrayfs.fuse")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 1.0  # seconds for the last invalidations after the loop has ended; then the connection is aborted


@dataclass(frozen=True, slots=True)
class MountRequest:
    """What is to be mounted where. open_tree is called in the process that will serve, after all forks.

    container: the URL or path, for messages and for `mount` to show. log, log_level: where the log goes, see
    `logs.begin_log`; "" in the background: nowhere, but the last warnings are in the status. stats: count and time
    operations for the status. usage_log: also write each of them to this file, "" for none. Paths are absolute.
    """

    container: str
    mountpoint: str
    open_tree: Callable[[], Tree]
    options: MountOptions = field(default_factory=MountOptions)
    runtime: RuntimeName = "direct"
    log: str = ""
    log_level: str = "info"
    stats: bool = False
    usage_log: str = ""


def mount(request: MountRequest, *, foreground: bool = False) -> MountResult | None:
    """Mount; in the foreground serve until it ends and return the result, else return None as soon as the mount
    answers.

    Call it from a process without threads of its own: it forks. Raises MountError, or what `open_tree` raised (as a
    MountError with its message where it happened in the daemon). In the foreground a failed commit is in the result.
    """
    mountpoint = check_mountpoint(request.mountpoint, request.container)
    if foreground:
        recent = begin_log(request.log, request.log_level, request.container)
        return _Mount(request, mountpoint, recent, lambda: tell("READY=1"), is_leaving=False).serve()
    try:
        fork_daemon(lambda report: _serve_detached(request, mountpoint, report))
    except DaemonDiedError as error:
        _clean_up(mountpoint)
        seen = f"; see {request.log}" if os.path.isabs(request.log) else ""
        raise DaemonDiedError(f"{mountpoint}: {error}{seen}") from None
    return None


def check_mountpoint(mountpoint: str, container: str) -> str:
    """Return the mount point as an absolute path without symbolic links. Raises MountError if it is not fit for
    `container`.

    The Rust crate walks the folder of a container, and would walk into the mount: not inside that folder.
    """
    path = mountinfo.resolve(mountpoint)
    there = mountinfo.mount_at(path)
    served = read_state(path) if there is not None and there.kind == mountinfo.KIND else None
    if served is not None and served.alive:  # not asked anything: a daemon that hangs would not answer
        raise MountError(f"{path}: mounted already ({served.info.container})")
    if there is None or not mountinfo.is_dead(there):
        _check_directory(path)
    folder = _folder_of(container)
    if folder is not None and Path(path).is_relative_to(folder):
        raise MountError(f"{path} lies inside {folder}, the folder of {container}: other programs walk it for sidecars")
    return path


def _check_directory(path: str) -> None:
    try:
        if not os.path.isdir(path):
            os.stat(path)
            raise MountError(f"{path}: not a directory")
    except FileNotFoundError:
        raise MountError(f"{path}: no such directory") from None
    except OSError as error:
        raise MountError(f"{path}: {error.strerror}") from None


def _folder_of(container: str) -> Path | None:
    """Return the folder of a container in the file system, None of one that lives elsewhere."""
    parts = urlsplit(container)
    if parts.scheme and parts.scheme != "file":
        return None
    return Path(parts.path if parts.scheme else container).resolve().parent


def _clean_up(mountpoint: str) -> None:
    """After a daemon that died before it was ready: whatever it left, unless another one serves the place by now."""
    try:
        state = StateFile(mountpoint)
    except MountError:
        return
    mountinfo.take_away_dead(mountpoint)
    state.discard()


def _serve_detached(request: MountRequest, mountpoint: str, report: Report) -> None:
    recent = begin_log(request.log, request.log_level, request.container)  # before anything is mounted: it may fail
    output = open_output(request.log)

    def ready() -> None:
        detach(output)
        faulthandler.enable()
        report.success()

    result = _Mount(request, mountpoint, recent, ready, is_leaving=True).serve()
    if result.error:
        report.failure(MountError(result.error))  # heard if it ended before it was ready


class _Mount:
    """One mount in the process that serves it. is_leaving: the process ends with the mount."""

    def __init__(
        self,
        request: MountRequest,
        mountpoint: str,
        recent: RecentWarnings,
        on_ready: Callable[[], None],
        *,
        is_leaving: bool,
    ) -> None:
        self._request = request
        self._mountpoint = mountpoint
        self._recent = recent
        self._on_ready = on_ready
        self._is_leaving = is_leaving
        self._runtime: Runtime = make_runtime(request.runtime)
        self._entry: mountinfo.MountEntry | None = None
        self._usage_log: UsageLog | None = None
        self._is_ready = False
        self._signal: signal.Signals | None = None  # the first one that came

    def serve(self) -> MountResult:
        """Steps 2 to 5 above."""
        before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        try:
            return self._serve()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _serve(self) -> MountResult:
        state = StateFile(self._mountpoint)
        try:
            mountinfo.take_away_dead(self._mountpoint)
            _check_directory(self._mountpoint)
            tree = self._request.open_tree()
            try:
                self._check_no_signal()
                operations, notifier = self._init(tree)
            except BaseException:
                tree.close()
                raise
        except BaseException:
            state.discard()
            raise
        state.begin(self._info(tree))
        failure = self._run(operations, notifier)
        tell("STOPPING=1")
        result = _commit(tree)
        if failure and not result.error:
            result = replace(result, error=f"{failure}; what was closed before is committed")
        if not self._is_ready:
            state.discard()  # nobody learnt of this mount
            self._check_no_signal()
            return result
        log.info("%s: ended, %s", self._mountpoint, result.error or result.sidecar or "nothing to commit")
        if self._usage_log is not None:
            self._usage_log.close()
        state.end(result, is_leaving=self._is_leaving)
        return result

    def _check_no_signal(self) -> None:
        if self._signal is not None:
            raise MountError(f"{self._mountpoint}: {self._signal.name} came before the mount answered; it is not there")

    def _init(self, tree: Tree) -> tuple[TreeOperations, Notifier]:
        operations, notifier = self._operations(tree), Notifier()
        tree.on_invalidate = notifier.changed
        self._observe(tree, operations)
        read_only = tree.read_only or bool(self._request.options.read_only)
        options = self._request.options.for_libfuse(self._request.container, read_only=read_only)
        with captured_stderr() as said:
            try:
                pyfuse3.init(operations, self._mountpoint, options)
            except RuntimeError as error:  # pyfuse3 says that it failed, libfuse and fusermount3 say why, on stderr
                raise MountError(f"{self._mountpoint}: cannot mount: {said() or error}") from None
        self._entry = mountinfo.mount_at(self._mountpoint)
        return operations, notifier

    def _operations(self, tree: Tree) -> TreeOperations:
        options = self._request.options
        owner = (
            os.getuid() if options.owner_uid is None else options.owner_uid,
            os.getgid() if options.owner_gid is None else options.owner_gid,
        )
        return TreeOperations(
            tree,
            self._runtime,
            owner=owner,
            check_modes=not options.kernel_checks_modes,
            masks=options.masks,
            on_ready=self._ready,
        )

    def _observe(self, tree: Tree, operations: TreeOperations) -> None:
        """Let the control directory show what is known here."""
        control = tree.control
        control.figures["log"] = self._recent.lines
        control.figures["operations"] = lambda: None
        if self._request.usage_log:
            self._usage_log = UsageLog(self._request.usage_log, control.path_of)
            control.recent_operations = self._usage_log.recent
        if self._request.stats or self._usage_log is not None:
            usage = Usage(self._usage_log)
            usage.watch(operations)
            control.figures["operations"] = usage.as_json

    def _ready(self) -> None:
        """Called in the first request of the kernel, which cannot fail."""
        try:
            self._on_ready()
            self._is_ready = True
            log.info("%s: mounted %s", self._mountpoint, self._request.container)
        except OSError as error:
            log.warning("%s: unmounting, whoever asked for the mount is gone (%s)", self._mountpoint, error.strerror)
            self._runtime.terminate()
        except Exception:
            log.exception("%s: the mount cannot begin", self._mountpoint)
            self._runtime.terminate()

    def _info(self, tree: Tree) -> MountInfo:
        pid = os.getpid()
        request = self._request
        return MountInfo(pid, process_start(pid), request.container, self._mountpoint, tree.read_only, request.log)

    def _run(self, operations: TreeOperations, notifier: Notifier) -> str:
        """Serve; leave nothing mounted. Returns, not raises, what went wrong ("": nothing): a commit must follow."""
        _quieten_pyfuse3()
        failure = ""
        try:
            self._runtime.run(operations)
        except BaseException as error:  # whatever pyfuse3 could not go on with
            if not is_end_of_connection(error):
                log.exception("%s: the session failed", self._mountpoint)
                failure = f"the session failed: {type(error).__name__}: {error}"
        if self._signal is not None:
            log.info("%s: unmounting %s", self._signal.name, self._mountpoint)
        try:
            operations.close()
            self._take_away(notifier)
        except Exception:
            log.exception("%s: the mount cannot be taken away", self._mountpoint)
        return failure

    def _take_away(self, notifier: Notifier) -> None:
        """End the connection; an invalidation may still wait in the kernel for a request that nobody will answer."""
        ended = notifier.close(PATIENCE)
        if not ended and self._entry is not None and mountinfo.abort_connection(self._entry):
            ended = notifier.close(PATIENCE)
        if ended:
            pyfuse3.close()
        else:  # the session must outlive that thread, so it lives until the process ends
            subprocess.run(["fusermount3", "-u", "-z", "--", self._mountpoint], check=False, capture_output=True)

    def _on_signal(self, number: int, _frame: object) -> None:
        """Say nothing here: the log may be the very thing that was interrupted."""
        if self._signal is None:
            self._signal = signal.Signals(number)
            self._runtime.terminate()


def _commit(tree: Tree) -> MountResult:
    """Step 4. Errors are told, not raised: they go to whoever unmounts."""
    try:
        report = tree.close()
    except ConflictError as error:
        log.error("commit failed: %s", error)
        kept = "its work stays in its journal; the next mount for writing tries again, `arrayfs journal` settles it"
        return MountResult(error=f"{type(error).__name__}: {error}; {kept}")
    except (ArrayFSError, OSError, MemoryError) as error:
        log.error("commit failed: %s", error)
        return MountResult(error=f"{type(error).__name__}: {error}")
    except Exception as error:
        log.exception("commit failed")
        return MountResult(error=f"{type(error).__name__}: {error}")
    if report is None:
        return MountResult()
    return MountResult(report.sidecar, report.version, report.size)


def _quieten_pyfuse3() -> None:
    """Drop its complaint that a reply came too late: the program was killed meanwhile, and that is all."""

    def matters(record: logging.LogRecord) -> bool:
        return "fuse_reply_* failed with" not in record.getMessage()

    logging.getLogger("pyfuse3").addFilter(matters)
