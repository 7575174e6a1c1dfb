#!/usr/bin/env bash
# Walks from a wheel to a run, on a machine that never saw the project: builds the wheel, installs
# it into a fresh environment per Python, and works in an empty folder without a checkout beside it.
#
#   bash scripts/walk_wheel.sh                                   # every Python below that is found
#   PYTHONS="python3.12 python3.13" bash scripts/walk_wheel.sh
#
# PYTHONS     the interpreters (default: python3.11 python3.12 python3.13, those that there are)
# WALK        short: the demo with fewer people and epochs (default); full: the demo as it is
# WALK_DIR    folder of the wheel, the environments and the runs, which stays; by default a
#             temporary one. An environment that is there is used again.
# WALK_EXTRA  extras of the wheel (default: demo)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
if [ -n "${WALK_DIR:-}" ]; then
  mkdir -p "$WALK_DIR"
  place=$(cd "$WALK_DIR" && pwd)
else
  place=$(mktemp -d)
  trap 'rm -rf "$place"' EXIT
fi
unset PYTHONPATH
export JREID_CACHE="${JREID_CACHE:-$place/cache}"
pythons=()
for name in ${PYTHONS:-python3.11 python3.12 python3.13}; do
  if command -v "$name" > /dev/null && "$name" --version > /dev/null 2>&1; then
    pythons+=("$(command -v "$name")")
  elif [ -n "${PYTHONS:-}" ]; then
    echo "there is no $name"
    exit 1
  fi
done
[ ${#pythons[@]} -gt 0 ] || { echo 'found none of Python 3.11, 3.12 and 3.13'; exit 1; }

source "$root/scripts/fewer_people.sh"
fewer=()
if [ "${WALK:-short}" = short ]; then
  fewer=(
    --config.method.source_epochs=4
    --config.method.adapt_epochs=2
    "${fewer_people[@]}"
  )
fi
step() { printf '\n== %s\n' "$1"; }
# refused STATUS WORDS COMMAND...: the command ends with this status and says these words.
refused() {
  local status=0 output
  output=$("${@:3}" 2>&1) || status=$?
  [ "$status" = "$1" ] && grep -qF -- "$2" <<< "$output" && return 0
  printf '%s: status %s, expected %s and "%s" in\n%s\n' "${*:3}" "$status" "$1" "$2" "$output"
  return 1
}

# The tree is copied first, so that a build leaves nothing in it.
rm -rf "$place/source" "$place/wheels"
mkdir -p "$place/source"
git -C "$root" ls-files -z | tar -C "$root" --null -cf - -T - | tar -C "$place/source" -xf -
"${pythons[0]}" -m venv "$place/build"
"$place/build/bin/pip" wheel -q --no-deps -w "$place/wheels" "$place/source"
wheel=$(ls "$place"/wheels/jreid-*.whl)
rm -rf "$place/source" "$place/build"

for python in "${pythons[@]}"; do
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  environment=$place/python$version
  step "Python $version: $(basename "$wheel") into a fresh environment"
  [ -d "$environment" ] || "$python" -m venv "$environment"
  "$environment/bin/pip" install -q "$wheel[${WALK_EXTRA:-demo}]"
  "$environment/bin/pip" install -q --no-deps --force-reinstall "$wheel"
  jreid=$environment/bin/jreid
  rm -rf "$place/empty$version"
  mkdir "$place/empty$version"
  cd "$place/empty$version"
  "$jreid" --version
  "$jreid" list | grep -q duke2market
  "$jreid" completion bash > completion.bash
  "$jreid" reproduce --list | grep -q 'MTwCNet'

  step 'the demo, by its name'
  "$jreid" train --config=demo --workdir=runs/demo "${fewer[@]}"
  test -s runs/demo/summary.json
  step 'by the path of the README, and a config of the user'"'"'s'
  refused 1 "runs/d2m" "$jreid" train --config=configs/duke2market.py:mtwcnet \
    --workdir=runs/d2m --config.data.root=nowhere/runs/d2m
  test ! -e runs/d2m
  mkdir configs
  cat > configs/mine.py << 'CODE'
from jreid.configs import base, demo


def get_config(variant='dmtnet'):
    assert base.get_config(variant).variant == variant
    config = demo.get_config(variant)
    config.seed = 7
    return config
CODE
  refused 2 'did you mean seed?' "$jreid" train --config=configs/mine.py --config.sed=1
  step 'the report'
  "$jreid" report runs/demo --out=demo.html
  test -s demo.html
  step 'features of camera crops, and who is who'
  "$jreid" synthesize --out=crops --identities=2 --test-identities=6 --cameras=3 \
    --images-per-camera=3 --distractors=0 --junk=0 --size 64 32 --workers=1
  "$jreid" extract runs/demo crops/bounding_box_test --out=crops.npz
  "$jreid" rank crops.npz "$(find crops/query -name '*.jpg' | head -1)" --top=5 --sheet=sheet.png
  "$jreid" label runs/demo crops/bounding_box_test --identities --out=people
  test -s people/identities.csv
  step 'wrong words'
  refused 2 '--config=PAIR is missing' "$jreid" train
  refused 2 "did you mean 'mtwcnet'?" "$jreid" train --config=demo:mtwcne
  refused 1 'nosuch.npz' "$jreid" rank nosuch.npz one.jpg
  refused 1 'holds no' "$jreid" report nowhere
  refused 1 'holds no run' "$jreid" extract nowhere crops --out=nothing.npz
  test ! -e nothing.npz
  printf '\nPython %s: walked\n' "$version"
done
