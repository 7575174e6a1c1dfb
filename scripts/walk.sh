#!/usr/bin/env bash
# Walks through the README as a newcomer does: a clean clone, a fresh virtual environment, and the
# commands as the README has them.
#
#   PYTHON=python3.12 bash scripts/walk.sh            # short: fewer epochs and people, for CI
#   WALK=full bash scripts/walk.sh                    # every command at its full length
#
# PYTHON      the interpreter (default python3)
# WALK        short or full
# WALK_STEPS  some of: install demo tests real loss data tools docs (default: all); all but docs
#             need install, and tools the run of demo, from this walk or an earlier one in WALK_DIR
# WALK_TESTS  arguments of the test command when short
#             (default: tests/docs/test_readme.py tests/losses)
# WALK_DIR    folder of the clone and its environment, which stays; by default a temporary one
# JREID_SHARED_DATA  folder with ward/ and pku/ (default: ../shared/data beside this repository);
#                    where it is missing, the steps that need it are skipped with a message
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
PYTHON=$(command -v "${PYTHON:-python3}")
"$PYTHON" --version > /dev/null  # a shim of pyenv may be of no version
WALK=${WALK:-short}
steps=" ${WALK_STEPS:-install demo tests real loss data tools docs} "
shared=${JREID_SHARED_DATA:-$root/../shared/data}
if [ -n "${WALK_DIR:-}" ]; then
  mkdir -p "$WALK_DIR"
  place=$(cd "$WALK_DIR" && pwd)
else
  place=$(mktemp -d)
  trap 'rm -rf "$place"' EXIT
fi
walked=0 skipped=0

step() { [[ "$steps" == *" $1 "* ]] && printf '\n== %s: %s\n' "$1" "$2"; }
done_with() { walked=$((walked + 1)); }
needs_data() {
  [ -d "$shared/ward" ] && [ -d "$shared/pku" ] && return 0
  echo "skipped: $shared/ward and $shared/pku are missing (set JREID_SHARED_DATA)"
  skipped=$((skipped + 1))
  return 1
}
# block LANGUAGE WORDS: the README's first code block of a language that holds these words.
block() {
  "$PYTHON" - "$@" << 'CODE'
import re
import sys

blocks = re.findall(rf'```{sys.argv[1]}\n(.*?)```', open('README.md').read(), re.S)
print(next(block for block in blocks if sys.argv[2] in block))
CODE
}

[ -d "$place/jreid/.git" ] || git clone -q "$root" "$place/jreid"
cd "$place/jreid"
# The README says python3, which is the chosen interpreter here.
mkdir -p "$place/bin"
printf '#!/bin/sh\nexec "%s" "$@"\n' "$PYTHON" > "$place/bin/python3"
chmod +x "$place/bin/python3"
export PATH="$place/bin:$PATH" JREID_CACHE="${JREID_CACHE:-$place/cache}"
echo "walking $(git rev-parse --short HEAD) with $("$PYTHON" --version) in $place"

source scripts/fewer_people.sh
short_demo=() short_real=() short_data=()
if [ "$WALK" = short ]; then
  short_demo=(
    --config.method.source_epochs=2
    --config.method.adapt_epochs=2
    "${fewer_people[@]}"
  )
  short_real=(
    --config.method.source_epochs=1
    --config.method.adapt_epochs=1
    --config.method.relabel_every=1
    --config.method.niec_coarse=3
    --config.method.niec_refine=1
    --config.method.niec_restarts=1
    --config.data.height=64
    --config.data.width=32
  )
  short_data=(
    --config.model.backbone=small_cnn
    --config.model.weights=
    --config.figures.tsne_images=100
  )
fi

# The first command installs, then trains the demo: "INSTALL && .venv/bin/TRAIN".
first=$(block bash 'pip install')
install=${first%&& .venv/bin/*}
demo=.venv/bin/${first##*&& .venv/bin/}
if step install 'the first half of the first command'; then
  bash -euc "$install"
  .venv/bin/jreid --version
  done_with
fi
if step demo 'the rest of the first command'; then
  bash -euc "${demo%$'\n'} $(printf '%q ' "${short_demo[@]}")"
  test -s runs/demo/summary.json
  done_with
fi
if step tests 'the second command'; then
  words=()
  [ "$WALK" = short ] && read -ra words <<< "${WALK_TESTS:-tests/docs/test_readme.py tests/losses}"
  second=$(block bash run_tests.sh)
  PYTHON=$PYTHON bash -euc "$second $(printf '%q ' "${words[@]}")"
  done_with
fi
if step real 'two small real sets' && needs_data; then
  .venv/bin/jreid train --config=configs/ward2pku.py --workdir=runs/w2p \
    --config.data.root="$shared" "${short_real[@]}"
  test -s runs/w2p/summary.json
  done_with
fi
if step loss 'a loss of your own'; then
  block python 'edit=' > own_loss.py
  if [ "$WALK" = short ]; then
    .venv/bin/python - "${short_demo[@]}" << 'CODE'
import pathlib
import re
import sys

import own_loss
from jreid.commands.fields import set_fields
from jreid.configs import demo
from jreid.train import train

edit = re.search(r'edit=(\w+)', pathlib.Path('own_loss.py').read_text())[1]
train(set_fields(demo.get_config(), sys.argv[1:]), 'runs/own', edit=getattr(own_loss, edit))
CODE
  else
    .venv/bin/python own_loss.py
  fi
  term=$(grep -oP "\*\*phase\.terms, '\K\w+" own_loss.py)
  grep -q "\"$term\"" runs/own/metrics.jsonl
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
paths = sorted(source.rglob('*.jpg'))
first_frames = {}
for path in paths:
    first_frames.setdefault((path.stem[:4], path.stem[4:8]), path.stem)
with open(target / 'index.csv', 'w', newline='') as file:
    table = csv.writer(file)
    table.writerow(['image', 'identity', 'camera', 'split'])
    for path in paths:
        person, camera = path.stem[:4], path.stem[4:8]
        test = 'query' if path.stem == first_frames[person, camera] else 'gallery'
        split = 'train' if int(person) % 2 else test
        shutil.copyfile(path, target / path.name)
        table.writerow([path.name, '' if split == 'train' else person, camera, split])
CODE
  .venv/bin/jreid train --config=configs/ward2pku.py --workdir=runs/mine \
    --config.data.root="$shared" --config.data.source=pku --config.data.target=folder \
    --config.data.target_root=mine "${short_real[@]}" "${short_data[@]}"
  test -s runs/mine/summary.json
  done_with
fi
if step tools 'the commands on a finished run'; then
  .venv/bin/jreid report runs/demo --out=demo.html
  test -s demo.html
  .venv/bin/jreid evaluate runs/demo --json=again.json
  .venv/bin/jreid collect runs/demo --json=collected.json
  image=$(.venv/bin/python -c '
from jreid.run.rankings import Ranking

print(Ranking.load("runs/demo").gallery_path[0])')
  .venv/bin/jreid extract runs/demo "$(dirname "$image")" --out=gallery.npz
  .venv/bin/jreid rank gallery.npz "$image" --top=5 --sheet=sheet.png --csv=table.csv
  test -s sheet.png
  .venv/bin/jreid visualize runs/demo --images "$image" --out=maps
  test -s maps/grad_cam_000.png
  .venv/bin/jreid reproduce --table=dien-1 --pair=demo --dry-run
  .venv/bin/python - "$image" << 'CODE'
import sys

import jreid

embed, config = jreid.load_run('runs/demo')
print(embed([sys.argv[1]]).shape)
CODE
  done_with
fi
if step docs 'the documentation, without a warning'; then
  PYTHON=$PYTHON bash scripts/build_docs.sh
  done_with
fi
if git status --porcelain | grep -qv '^??'; then
  git status --short
  echo 'the walk changed files of the repository'
  exit 1
fi
printf '\nwalked %d steps, %d skipped for want of data\n' "$walked" "$skipped"
