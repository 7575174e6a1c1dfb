#!/usr/bin/env bash
# A virtual environment beside the code, the package with its test extras, and the checks: ruff,
# mypy, pytest. Arguments go to pytest: a file, or `-m slow` for the slow tests, which are left out
# by default.
# PYTHON names the interpreter (3.11 or later); VENV the environment's folder (default .venv-test,
# made anew where missing); WORKERS the number of processes.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv-test}
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
"$VENV/bin/python" -m pip install --quiet --upgrade pip
# Python compiles what is imported at its import: a fraction of what TensorFlow and SciPy hold.
"$VENV/bin/python" -m pip install --quiet --no-compile -e '.[demo,test]'
"$VENV/bin/ruff" check .
"$VENV/bin/ruff" format --check .
"$VENV/bin/mypy"
"$VENV/bin/python" -m pytest -n "${WORKERS:-2}" --dist loadfile --no-loadscope-reorder "$@"
