#!/usr/bin/env bash
# Second command on a machine with a GPU, at most 6 minutes: the tests that failed in the first, then the measurements, a
# process a part, each kept as it ends.
#   OUT=gpu-second FAILED="tests/cuda/test_interop.py::test_pytorch ..." bench/gpu/second.sh
OUT=${OUT:-gpu-second}
mkdir -p "$OUT"
export PYTHONPATH=$PWD PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTHONUNBUFFERED=1 CUDA_HOME=${CUDA_HOME:-/usr/local/cuda}
if [ -n "${FAILED:-}" ]; then
    # shellcheck disable=SC2086 (several names)
    timeout -s INT -k 10 60 python3 -m pytest -p xdist.plugin -p _hypothesis_pytestplugin -m gpu -n 8 -q --tb=short -p no:cacheprovider $FAILED > "$OUT/failed.txt" 2>&1
    tail -5 "$OUT/failed.txt"
fi
part() { # name, seconds, rounds
    timeout -s INT -k 10 "$2" python3 -m bench gpu --only "$1" --rounds "$3" --save "$OUT/$1.json" > "$OUT/$1.txt" 2>&1
    echo "$1: exit $? after $SECONDS s"
    tail -4 "$OUT/$1.txt"
}
part regression 70 7
part training 75 3
part rows 50 7
part losses 60 7
part elementwise 90 5
