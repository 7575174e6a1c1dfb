#!/bin/sh
# The tables of docs/performance.md on CPUs, beside their peers, in one run on two quiet cores:
#
#     sh scripts/benchmark_peers.sh [FOLDER]
#
# FOLDER holds torchreid's compiled rank_cy (see scripts/benchmark_evaluate.py) and, for the
# training step of OSNet, its osnet.py; without it these are left out. scikit-learn is needed,
# faiss-cpu is used where it is installed, and so are PyTorch and timm, for training steps. About 35
# minutes; CORES=2,3 chooses the cores.
set -eu
cd "$(dirname "$0")/.."
cores=${CORES:-0,1}
export OMP_NUM_THREADS=2 JAX_PLATFORMS=cpu
run() {
    echo
    echo "== $*"
    taskset -c "$cores" python "$@"
}
uptime
run scripts/benchmark_evaluate.py
if ls "${1:-}"/rank_cy.*.so > /dev/null 2>&1; then
    run scripts/benchmark_evaluate.py --torchreid "$1" --width 64
fi
run scripts/benchmark_rerank.py
faiss=$(python -c 'import faiss' 2> /dev/null && echo --faiss || true)
run scripts/benchmark_kmeans.py --n-init 1 --repeats 5 $faiss
if python -c 'import timm, torch' 2> /dev/null; then
    networks='resnet50 efficientnet_lite0 mobilenet_v1'
    if [ -f "${1:-}/osnet.py" ]; then
        networks="$networks osnet_x1_0 --osnet $1/osnet.py"
    fi
    run scripts/benchmark_training.py --tables step --batch 16 --networks $networks
fi
run scripts/benchmark_large.py evaluate
run scripts/benchmark_large.py rerank
run scripts/benchmark_large.py million
uptime
