#!/usr/bin/env bash
# Second command on a machine with a GPU, at most 6 minutes: the tests that failed in the first, CUDA's own search for
# races and for memory that is nobody's, then the measurements, each kept as it ends.
#   OUT=gpu-second FAILED="tests/cuda/test_interop.py::test_pytorch ..." LIMIT=250 bench/gpu/second.sh
OUT=${OUT:-gpu-second}
mkdir -p "$OUT"
export PYTHONPATH=$PWD PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTHONUNBUFFERED=1 CUDA_HOME=${CUDA_HOME:-/usr/local/cuda}
if [ -n "${FAILED:-}" ]; then
    # shellcheck disable=SC2086 (several names)
    timeout -s INT -k 10 60 python3 -m pytest -p xdist.plugin -p _hypothesis_pytestplugin -m gpu -n 8 -q --tb=short \
        -p no:cacheprovider $FAILED > "$OUT/failed.txt" 2>&1
    tail -5 "$OUT/failed.txt"
fi
for tool in racecheck memcheck; do
    timeout -s INT -k 5 90 compute-sanitizer --tool "$tool" python3 bench/gpu/races.py > "$OUT/$tool.txt" 2>&1 &
done
wait
tail -n 3 "$OUT/racecheck.txt" "$OUT/memcheck.txt"
timeout -s INT -k 10 $((${LIMIT:-250} - SECONDS)) python3 -m bench gpu --rounds 5 \
    --only rows losses formulas regression training elementwise --save "$OUT/gpu.json" > "$OUT/gpu.txt" 2>&1
echo "measured: exit $? after $SECONDS s"
tail -n 4 "$OUT/gpu.txt"
