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
# Workers and the processes that tests start import the same modules, which are compiled once.
unset PYTHONDONTWRITEBYTECODE
made=
[ -x "$VENV/bin/python" ] || { "$PYTHON" -m venv "$VENV"; made=yes; }
"$VENV/bin/python" -m pip install --quiet --upgrade pip
# Python compiles what is imported at its import: a fraction of what TensorFlow and SciPy hold.
"$VENV/bin/python" -m pip install --quiet --no-compile -e '.[demo,test]'
# Here already, or the workers would all compile the same, 13 seconds each.
shared='hypothesis, matplotlib.pyplot, pytest, sklearn.cluster, sklearn.manifold'
[ -z "$made" ] || "$VENV/bin/python" -c "import $shared, jreid.training.loop"
"$VENV/bin/ruff" check .
"$VENV/bin/ruff" format --check .
# mypy takes half a minute of one core, so it runs beside the tests.
types=$(mktemp)
"$VENV/bin/mypy" >"$types" 2>&1 &
checked=$!
trap 'kill "$checked" 2>/dev/null || true; rm -f "$types"' EXIT
status=0
"$VENV/bin/python" -m pytest -n "${WORKERS:-2}" --dist loadfile --no-loadscope-reorder "$@" ||
  status=$?
wait "$checked" || status=$((status > 0 ? status : 1))
cat "$types"
exit "$status"
