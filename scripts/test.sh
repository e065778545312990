#!/bin/sh
# Runs all tests, a few side by side; arguments go to pytest. Works from a fresh clone: `sh scripts/test.sh`, `sh scripts/test.sh -k store`.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh
# Hundreds of processes are started: what is compiled once is enough.
unset PYTHONDONTWRITEBYTECODE
exec .venv/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal "$@"
