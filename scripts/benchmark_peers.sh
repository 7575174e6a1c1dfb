#!/bin/sh
# The tables of docs/performance.md on CPUs, beside their peers, in one run on two quiet cores:
#
#     sh scripts/benchmark_peers.sh [FOLDER]
#
# FOLDER holds torchreid's compiled rank_cy (see scripts/benchmark_evaluate.py); without it that
# comparison is left out. scikit-learn is needed, faiss-cpu is used where it is installed. About 25
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
if [ $# -gt 0 ]; then
    run scripts/benchmark_evaluate.py --torchreid "$1" --width 64
fi
run scripts/benchmark_rerank.py
faiss=$(python -c 'import faiss' 2> /dev/null && echo --faiss || true)
run scripts/benchmark_kmeans.py --n-init 1 --repeats 5 $faiss
run scripts/benchmark_large.py evaluate
run scripts/benchmark_large.py rerank
run scripts/benchmark_large.py million
uptime
