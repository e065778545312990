"""The command: `scripts/clients [--install] [--only WORD,…] [--home DIR] [--dir DIR] [--json FILE] [--list]`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from clientslib.clients import Clients
from clientslib.sample import make_sample
from clientslib.trial import Case, Outcome, try_case

HOME = Path(__file__).resolve().parents[2] / "build/clients"


def main() -> int:
    """Run the cases; 1 if one failed."""
    wanted = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    only = [word for word in wanted.only.split(",") if word]

    def is_wanted(text: str) -> bool:
        return not only or any(word in text for word in only)

    with tempfile.TemporaryDirectory(prefix="arrayfs-clients-", dir=wanted.dir) as scratch:
        os.environ["XDG_RUNTIME_DIR"] = scratch
        sample = Path(scratch, "sample")
        make_sample(sample)
        clients = Clients(Path(wanted.home), sample, Path(scratch))
        if wanted.install:
            clients.install(is_wanted)
        if not only:
            print("\n".join(clients.versions()), flush=True)
        outcomes = []
        for case in clients.cases():
            if isinstance(case, str):
                print(f"-       {case}")
            elif is_wanted(f"{case.client} {case.name}"):
                outcomes.append(_row(case, Outcome() if wanted.list else _try(case, Path(scratch))))
    failed = sum(bool(row["failed"]) for row in outcomes)
    print(f"{len(outcomes)} cases, {failed} failed")
    if wanted.json:
        Path(wanted.json).write_text(json.dumps(outcomes, indent=1) + "\n")
    return 1 if failed else 0


def _try(case: Case, scratch: Path) -> Outcome:
    start = time.monotonic()
    outcome = try_case(case, scratch)
    print(
        f"{'FAILED' if outcome.failed else 'ok':8}{case.client:32}{case.name:52}{time.monotonic() - start:5.0f} s",
        flush=True,
    )
    for line in (*outcome.failed.splitlines(), *outcome.departs):
        print(f"            {line}", flush=True)
    return outcome


def _row(case: Case, outcome: Outcome) -> dict[str, object]:
    return {"client": case.client, "case": case.name, "failed": outcome.failed, "departs": list(outcome.departs)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/clients", description="See docs/CLIENTS.md.")
    parser.add_argument("--install", action="store_true", help="first install the libraries and programs")
    parser.add_argument("--only", default="", help="cases whose client or name contains one of these, comma between")
    parser.add_argument("--home", default=str(HOME), help="where libraries are installed (build/clients)")
    parser.add_argument("--dir", default="/var/tmp", help="where containers and mounts are, for the time (/var/tmp)")
    parser.add_argument("--json", default="", help="write the outcomes here")
    parser.add_argument("--list", action="store_true", help="only list the cases")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
