"""Where the daemon's time goes while files are read cold in order: cProfile around the thread that answers.

cProfile makes every Python call dearer, so the shares count, not the sums; the rate without it is printed beside.
"""

from __future__ import annotations

import pstats
import subprocess
from pathlib import Path

from arrayfs.fuse.unmount import umount
from benchlib.dataset import ARRAY, Stored
from benchlib.measure import Place, drop_caches
from benchlib.systems import System, serve_command

SHOWN = 30
WAITING = ("poll", "sched_yield")


def profile(system: System, stored: Stored, codec: str, mountpoint: Path, folder: Path) -> str:
    """Read a set cold in order without and with the profile; returns a table of own times in µs for each file."""
    place = Place(system, stored, mountpoint)
    drop_caches()
    with system.shown(stored, mountpoint) as shown:
        bare = place.read(shown, "sorted")
    statistics = folder / "profile"
    command = serve_command(stored.containers[codec], mountpoint, str(statistics))
    drop_caches()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        daemon.stdout.readline()
        profiled = place.read(mountpoint / ARRAY / "c", "sorted")
        umount(str(mountpoint))
    count = stored.chunks.count
    head = (
        f"{system.name}, {stored.chunks.label} cold in order: {bare / count * 1e6:.0f} µs a file, "
        f"{profiled / count * 1e6:.0f} under the profile, of which by function itself:"
    )
    return "\n".join([head, *_lines(pstats.Stats(str(statistics)), count)])


def _lines(statistics: pstats.Stats, count: int) -> list[str]:
    rows = sorted(statistics.stats.items(), key=lambda item: -item[1][2])  # type: ignore[attr-defined]
    waiting = sum(row[2] for (_, _, name), row in rows if any(word in name for word in WAITING))
    lines = [f"  {waiting / count * 1e6:8.2f} µs  asking and waiting for requests"]
    for (path, line, name), (_, calls, own, _, _) in rows:
        if any(word in name for word in WAITING) or len(lines) > SHOWN:
            continue
        place = "/".join(Path(path).parts[-2:]) + f":{line} " if line else ""
        lines.append(f"  {own / count * 1e6:8.2f} µs {calls / count:6.2f} calls  {place}{name}")
    return lines
