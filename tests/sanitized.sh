#!/bin/sh
# Build the native modules with sanitizers, beside a copy of the package, and run a Python program
# there: sh tests/sanitized.sh PYTHON SANITIZERS ARGUMENTS..., such as
#   sh tests/sanitized.sh python3 address,undefined tests/fuzz.py
# For Linux and GCC. The first thing that a sanitizer finds ends the process with status 66.
set -eu
python=$(command -v "$1")
sanitizers=$2
shift 2
root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build/sanitized-$(echo "$sanitizers" | tr , -)
cxx=${CXX:-c++}

cmake -S "$root/kernels" -B "$build/modules" -DPython_EXECUTABLE="$python" \
  -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_COMPILER="$cxx" \
  -DCMAKE_CXX_FLAGS="-O1 -g1 -fsanitize=$sanitizers -fno-sanitize-recover=all" \
  -DCMAKE_MODULE_LINKER_FLAGS="-fsanitize=$sanitizers"
cmake --build "$build/modules" --parallel "$(nproc)"

rm -rf "$build/package"
mkdir -p "$build/package"
cp -R "$root/sadcodec" "$root/tests" "$root/data" "$build/package"
rm -f "$build/package"/sadcodec/*.so
cp "$build/modules"/_core*.so "$build/modules"/_coder*.so "$build/package/sadcodec"

# The interpreter is not instrumented, so the libraries must be loaded before it; threads see the
# locks of uninstrumented code all the same. NumPy's own threads are none of ours, and Python does
# not free everything at its end. Too large an allocation is an error.
case $sanitizers in
  *thread*) libraries=$("$cxx" -print-file-name=libtsan.so) ;;
  *) libraries="$("$cxx" -print-file-name=libasan.so) $("$cxx" -print-file-name=libubsan.so)" ;;
esac
echo "called_from_lib:libscipy_openblas" > "$build/suppressions"
cd "$build/package"
LD_PRELOAD="$libraries" OPENBLAS_NUM_THREADS=1 PYTHONPATH=. PYTHONDONTWRITEBYTECODE=1 \
  TSAN_OPTIONS="halt_on_error=1 exitcode=66 suppressions=$build/suppressions" \
  ASAN_OPTIONS="exitcode=66 detect_leaks=0 quarantine_size_mb=16 max_allocation_size_mb=1024" \
  UBSAN_OPTIONS="exitcode=66 print_stacktrace=1" \
  "$python" "$@"
