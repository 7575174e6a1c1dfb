#!/usr/bin/env bash
# Builds the documentation as HTML in site/; a warning is an error. PYTHON names the interpreter,
# VENV the environment's folder (default .venv-docs).
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=${VENV:-.venv-docs}
if [ ! -x "$VENV/bin/mkdocs" ]; then
  "${PYTHON:-python3}" -m venv "$VENV"
  # Only the tools: the pages are made from the source text, which is not imported. The list is the
  # extra's.
  "$VENV/bin/python" - > "$VENV/docs.txt" <<'PY'
import tomllib

with open('pyproject.toml', 'rb') as file:
    print('\n'.join(tomllib.load(file)['project']['optional-dependencies']['docs']))
PY
  "$VENV/bin/python" -m pip install --quiet -r "$VENV/docs.txt"
fi
# mkdocs-material prints an advertisement of its successor unless told not to.
NO_MKDOCS_2_WARNING=1 exec "$VENV/bin/mkdocs" build --quiet --strict
