#!/usr/bin/env bash
# First command on a machine with a GPU, at most 6 minutes: what machine it is, one kernel, then all gpu tests side by
# side. What it finds goes to the folder $OUT.
#   OUT=gpu-first LIMIT=250 bench/gpu/first.sh      # seconds for the tests
OUT=${OUT:-gpu-first}
mkdir -p "$OUT"
# Whatever plug-ins of pytest's there are may warn, and warnings are errors: those that the tests need, alone.
export PYTHONPATH=$PWD PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTHONUNBUFFERED=1
export CUDA_HOME=${CUDA_HOME:-/usr/local/cuda} OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=2
{
    nvidia-smi
    python3 -V
    python3 -m pip list 2>/dev/null | grep -iE '^(numba|cupy|cuda|nvidia-(nvvm|nvjit|cuda)|numpy|torch|pytest|matplotlib|pooch|mpmath|hypothesis)'
    find -L "$CUDA_HOME" -maxdepth 4 -name 'libnvvm*'
} > "$OUT/machine.txt" 2>&1
if ! timeout 90 python3 bench/gpu/smoke.py > "$OUT/smoke.txt" 2>&1; then
    tail -15 "$OUT/smoke.txt"
    cat "$OUT/machine.txt"
    exit 1
fi
cat "$OUT/smoke.txt"
workers=$(($(nproc) > 3 ? $(nproc) - 2 : 1))
timeout -s INT -k 15 "${LIMIT:-250}" python3 -m pytest -p xdist.plugin -p _hypothesis_pytestplugin -m gpu tests \
    -n "$workers" --dist worksteal --maxfail=1000 -q --tb=short -p no:cacheprovider --durations=40 --junitxml="$OUT/gpu.xml" > "$OUT/pytest.txt" 2>&1
grep -aE '^(FAILED|ERROR)|passed|failed|INTERNAL' "$OUT/pytest.txt" | cut -c1-200 | tail -70
