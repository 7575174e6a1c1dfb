#!/usr/bin/env bash
# The README as a newcomer walks it: a clean clone, a fresh virtual environment, its commands as they stand there.
#
#   PYTHON=python3.12 bash scripts/walk.sh            # short: fewer epochs and people; what CI can run
#   WALK=full bash scripts/walk.sh                    # every command at its full length
#
# PYTHON      the interpreter (default python3)
# WALK        short or full
# WALK_STEPS  some of: install demo tests real loss data tools docs (default: all)
# WALK_TESTS  what the test command is given when short (default: tests/test_readme.py tests/losses)
# WALK_DIR    folder of the clone and its environment, kept; a temporary one, removed at the end, where none is given
# JREID_SHARED_DATA  folder with ward/ and pku/ (default: ../shared/data beside this repository); the steps that need it are skipped, said so, where it is missing
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
PYTHON=$(command -v "${PYTHON:-python3}")
WALK=${WALK:-short}
steps=" ${WALK_STEPS:-install demo tests real loss data tools docs} "
shared=${JREID_SHARED_DATA:-$root/../shared/data}
if [ -n "${WALK_DIR:-}" ]; then mkdir -p "$WALK_DIR"; place=$(cd "$WALK_DIR" && pwd); else place=$(mktemp -d); trap 'rm -rf "$place"' EXIT; fi
walked=0 skipped=0

step() { [[ "$steps" == *" $1 "* ]] && printf '\n== %s: %s\n' "$1" "$2"; }
done_with() { walked=$((walked + 1)); }
needs_data() {
  [ -d "$shared/ward" ] && [ -d "$shared/pku" ] && return 0
  echo "skipped: $shared/ward and $shared/pku are missing (set JREID_SHARED_DATA)"
  skipped=$((skipped + 1))
  return 1
}
# The n-th code block of a language in the README.
block() { "$PYTHON" -c 'import re, sys; print(re.findall(rf"```{sys.argv[2]}\n(.*?)```", open("README.md").read(), re.S)[int(sys.argv[1])])' "$@"; }

[ -d "$place/jreid/.git" ] || git clone -q "$root" "$place/jreid"
cd "$place/jreid"
# The README says python3; it shall be the chosen one.
mkdir -p "$place/bin"
printf '#!/bin/sh\nexec "%s" "$@"\n' "$PYTHON" > "$place/bin/python3"
chmod +x "$place/bin/python3"
export PATH="$place/bin:$PATH" JREID_CACHE="${JREID_CACHE:-$place/cache}"
echo "walking $(git rev-parse --short HEAD) with $("$PYTHON" --version) in $place"

first=$(block 0 bash)
short_demo=() short_real=() short_data=()
if [ "$WALK" = short ]; then
  short_demo=(--config.method.source_epochs=2 --config.method.adapt_epochs=2 --config.method.relabel_every=1 --config.data.source_options.identities=24
    --config.data.target_options.identities=16 --config.data.target_options.test_identities=8 --config.figures.tsne_images=100)
  short_real=(--config.method.source_epochs=1 --config.method.adapt_epochs=1 --config.method.relabel_every=1 --config.method.niec_coarse=3 --config.method.niec_refine=1
    --config.method.niec_restarts=1 --config.data.height=64 --config.data.width=32)
  short_data=(--config.model.backbone=small_cnn --config.model.weights= --config.figures.tsne_images=100)
fi

if step install 'the first half of the first command'; then
  bash -euc "${first%%&& .venv/bin/python -m jreid.main*}"
  .venv/bin/jreid --version
  done_with
fi
if step demo 'the rest of the first command'; then
  bash -euc ".venv/bin/python -m jreid.main${first#*-m jreid.main} $(printf '%q ' "${short_demo[@]}")"
  test -s runs/demo/summary.json
  done_with
fi
if step tests 'the second command'; then
  given=()
  [ "$WALK" = short ] && read -ra given <<< "${WALK_TESTS:-tests/test_readme.py tests/losses}"
  second=$(block 1 bash)
  PYTHON=$PYTHON bash -euc "$second $(printf '%q ' "${given[@]}")"
  done_with
fi
if step real 'two small real sets' && needs_data; then
  .venv/bin/python -m jreid.main --config=configs/ward2pku.py --workdir=runs/w2p --config.data.root="$shared" "${short_real[@]}"
  test -s runs/w2p/summary.json
  done_with
fi
if step loss 'a loss of your own'; then
  "$PYTHON" -c 'import re; print(next(b for b in re.findall(r"```python\n(.*?)```", open("README.md").read(), re.S) if "def with_extra_term" in b))' > own_loss.py
  if [ "$WALK" = short ]; then
    .venv/bin/python - "${short_demo[@]}" << 'CODE'
import sys

import own_loss
from jreid.configs import demo
from jreid.commands.edits import edited
from jreid.train import train

train(edited(demo.get_config(), sys.argv[1:]), 'runs/extra', edit=own_loss.with_extra_term)
CODE
  else
    .venv/bin/python own_loss.py
  fi
  grep -q extra_term runs/extra/metrics.jsonl
  done_with
fi
if step data 'a data set of your own' && needs_data; then
  .venv/bin/python - "$shared/ward" mine << 'CODE'
import csv
import pathlib
import shutil
import sys

source, target = map(pathlib.Path, sys.argv[1:])
target.mkdir(exist_ok=True)
with open(target / 'index.csv', 'w', newline='') as file:
    table = csv.writer(file)
    table.writerow(['image', 'identity', 'camera', 'split'])
    for path in sorted(source.rglob('*.jpg')):
        person, camera, frame = path.stem[:4], path.stem[4:8], path.stem[8:]
        split = 'train' if int(person) % 2 else 'query' if frame == min(p.stem[8:] for p in source.rglob(f'{person}{camera}*.jpg')) else 'gallery'
        shutil.copyfile(path, target / path.name)
        table.writerow([path.name, '' if split == 'train' else person, camera, split])
CODE
  .venv/bin/python -m jreid.main --config=configs/ward2pku.py --workdir=runs/mine --config.data.root="$shared" --config.data.source=pku \
    --config.data.target=folder --config.data.target_root=mine "${short_real[@]}" "${short_data[@]}"
  test -s runs/mine/summary.json
  done_with
fi
if step tools 'what is done with a run'; then
  .venv/bin/jreid report runs/demo --out=demo.html
  test -s demo.html
  .venv/bin/jreid evaluate runs/demo --json=again.json
  images=$(.venv/bin/python -c 'import numpy; print(numpy.load("runs/demo/ranked.npz")["gallery_path"][0].rsplit("/", 1)[0])')
  .venv/bin/jreid extract runs/demo "$images" --out=gallery.npz
  .venv/bin/jreid rank gallery.npz "$(find "$images" -name '*.jpg' | sort | head -1)" --top=5 --sheet=sheet.png --csv=table.csv
  test -s sheet.png
  .venv/bin/python scripts/reproduce.py --table=dien-1 --pair=demo --dry-run
  .venv/bin/python -c "import jreid; embed, config = jreid.load_run('runs/demo'); print(embed(['$(find "$images" -name '*.jpg' | sort | head -1)']).shape)"
  done_with
fi
if step docs 'the documentation, without a warning'; then
  PYTHON=$PYTHON bash scripts/build_docs.sh
  done_with
fi
[ -z "$(git status --porcelain | grep -v '^??' || true)" ] || { git status --short; echo 'the walk changed files of the repository'; exit 1; }
printf '\nwalked %d steps, %d skipped for want of data\n' "$walked" "$skipped"
