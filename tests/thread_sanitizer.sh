#!/bin/sh
# Build the native modules with ThreadSanitizer, beside a copy of the package, and run the stress
# tests with them: sh tests/thread_sanitizer.sh [PYTHON]. For Linux; a race is an error.
set -eu
python=${1:-python3}
root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build/tsan
cxx=${CXX:-c++}

cmake -S "$root/kernels" -B "$build/modules" -DPython_EXECUTABLE="$(command -v "$python")" \
  -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_COMPILER="$cxx" \
  -DCMAKE_CXX_FLAGS=-fsanitize=thread -DCMAKE_MODULE_LINKER_FLAGS=-fsanitize=thread
cmake --build "$build/modules"

rm -rf "$build/package"
mkdir -p "$build/package"
cp -R "$root/sadcodec" "$root/tests" "$root/data" "$build/package"
rm -f "$build/package"/sadcodec/*.so
cp "$build/modules"/_core*.so "$build/modules"/_coder*.so "$build/package/sadcodec"

# The interpreter is not instrumented, so the sanitizer's library must be loaded before it; the locks
# of uninstrumented code are seen all the same. NumPy's own threads are none of ours.
echo "called_from_lib:libscipy_openblas" > "$build/suppressions"
cd "$build/package"
LD_PRELOAD=$("$cxx" -print-file-name=libtsan.so) OPENBLAS_NUM_THREADS=1 PYTHONPATH=. \
  TSAN_OPTIONS="halt_on_error=1 exitcode=66 suppressions=$build/suppressions" \
  "$python" -m pytest -q -p no:cacheprovider tests/test_concurrency.py
