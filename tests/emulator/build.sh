#!/usr/bin/env bash
# build.sh OUT [FILE.cu | FOLDER]...
#
# Compiles the emulator into OUT: fake libcuda.so.1, libcublas.so.13 and libcurand.so.10, and in OUT/kernels what they
# run: candle's kernels, the project's own (crates/ops/src/*/kernel.cu), and those of any further files and folders.
# Only what changed since the last time is compiled. CXX and CXXFLAGS are taken from the environment.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=${1:?usage: build.sh OUT [FILE.cu | FOLDER]...}
shift
mkdir -p "$out/kernels" "$out/made"
out=$(cd "$out" && pwd)
: "${CXX:=g++}" "${CXXFLAGS:=-march=native}"
exec 9>"$out/made/lock"
flock 9

# compile RESULT INPUT FLAGS...: INPUT is preprocessed text; if it and the flags are as last time, nothing is done.
compile() {
  local result=$1 input=$2 key
  shift 2
  key=$(printf '%s\n' "$CXX $*" | cat - "$input" | sha256sum)
  if [ -e "$result" ] && [ "$(cat "$input.key" 2>/dev/null)" = "$key" ]; then return; fi
  echo "compiling $(basename "$result")" >&2
  "$CXX" "$@" "$input" -o "$result"
  echo "$key" >"$input.key"
}

# link RESULT OBJECTS FLAGS...: again if an object is newer; a program that runs keeps the file it has. Apart from
# compiling, since the sanitizer's own library must stay out: see faults.cpp.
link() {
  local result=$1 objects=$2
  shift 2
  # shellcheck disable=SC2086
  if [ ! -e "$result" ] || [ -n "$(find $objects -newer "$result")" ]; then
    "$CXX" -shared -pthread -Wl,-soname,"$(basename "$result")" $objects "$@" -o "$result.new"
    mv "$result.new" "$result"
  fi
}

# library RESULT FLAGS SOURCE...: one of the three libraries.
library() {
  local result=$1 flags=$2 name objects=
  shift 2
  for source in "$@"; do
    name=$out/made/$(basename "$source" .cpp)
    # shellcheck disable=SC2086
    "$CXX" -std=c++17 $CXXFLAGS -I"$here/headers" -I"$here/src" -E "$here/src/$source" -o "$name.ii"
    # shellcheck disable=SC2086
    compile "$name.o" "$name.ii" -std=c++17 $CXXFLAGS $flags -Wall -fPIC -pthread -c
    objects+=" $name.o"
  done
  # shellcheck disable=SC2086
  link "$result" "$objects" ${needs:-} -Wl,-rpath,'$ORIGIN' -ldl
}
library "$out/libcuda.so.1" '-O2 -ftls-model=initial-exec' driver.cpp kernels.cpp ptx.cpp blocks.cpp fibers.cpp \
  memory.cpp faults.cpp settings.cpp
needs="-L$out -l:libcuda.so.1"
library "$out/libcublas.so.13" '-O3 -fno-math-errno' cublas.cpp
library "$out/libcurand.so.10" -O2 curand.cpp

# kernels NAME FILE.cu: one library of kernels. -ffp-contract=fast: nvcc fuses products and sums too. The sanitizer's
# checks of array bounds and alignment report to faults.cpp.
kernels() {
  local name=$out/made/$1
  made+=("$1.so")
  # shellcheck disable=SC2086
  "$CXX" -x c++ -std=c++17 $CXXFLAGS -w -D__CUDA_ARCH__=800 -include "$here/headers/emulator.hpp" -I"$here/headers" \
    -I"$root/crates/ops/src/cuda" -E "$2" -o "$name.raw"
  awk -v file="$2" -f "$here/kernels.awk" "$name.raw" >"$name.ii"
  rm "$name.raw"
  # shellcheck disable=SC2086
  compile "$name.o" "$name.ii" -x c++ -fpreprocessed -std=c++17 $CXXFLAGS -w -O2 -ffp-contract=fast -fno-math-errno \
    -fno-strict-aliasing -fsanitize=bounds,alignment -fno-sanitize-recover=all -fvisibility=hidden -fPIC -c
  # shellcheck disable=SC2086
  link "$out/kernels/$1.so" "$name.o" $needs -Wl,-rpath,'$ORIGIN/..'
}
made=()
# Of the version in Cargo.lock, where cargo keeps the sources of the registry's crates.
version=$(sed -n '/^name = "candle-kernels"$/ { n; s/^version = "\(.*\)"$/\1/p }' "$root/Cargo.lock")
candle=$(ls -d "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/candle-kernels-"$version" | head -1)
[ -n "$candle" ] || { echo "no sources of candle-kernels $version: run cargo fetch" >&2; exit 1; }
for name in affine binary cast fill indexing reduce sort ternary unary; do
  kernels "candle-$name" "$candle/src/$name.cu"
done
for file in "$root"/crates/ops/src/*/kernel.cu; do
  [ ! -e "$file" ] || kernels "ops-$(basename "$(dirname "$file")")" "$file"
done
for extra in "$@"; do
  extra=$(realpath "$extra")
  if [ -d "$extra" ]; then files=("$extra"/*.cu); else files=("$extra"); fi
  for file in "${files[@]}"; do kernels "extra-$(basename "$file" .cu)" "$file"; done
done

# Kernels whose source is gone must not be found any more.
for library in "$out"/kernels/*.so; do
  case " ${made[*]} " in *" $(basename "$library") "*) ;; *) rm "$library" ;; esac
done
