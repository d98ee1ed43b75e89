#!/usr/bin/env bash
# Create or refresh .venv: check the compilers, install the pinned wheels, install this package in place.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

fail() {
    echo "setup: $1" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "$python is missing: install Python 3.11 or newer."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python 3.11 or newer is needed, $python is $("$python" -V); set PYTHON=/path/to/python3."
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$python cannot create virtual environments: install its venv module (Debian: python3-venv)."
for tool in "${CXX:-g++}" make perl; do
    command -v "$tool" >/dev/null ||
        fail "$tool is missing: Verilator needs g++, make and perl to compile the tile."
done

echo "setup: installing pinned packages into .venv (once; about a minute)" >&2
"$python" -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check --no-deps -r scripts/requirements.txt ||
    fail "pip could not install scripts/requirements.txt; its message is above."
.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . ||
    fail "pip could not install this package in place; its message is above."
touch .venv/.ready
