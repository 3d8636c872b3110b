#!/usr/bin/env bash
# cuda-toolkit.sh [ROOT]          (default ROOT: target/cuda in this repository)
#
# What it takes to build with CUDA on an x86-64 Linux machine that has no CUDA toolkit, no GPU and no driver: nvcc
# 13.0 with its headers from PyPI, and link-time shims for the CUDA libraries. Nothing is installed outside ROOT.
# Prints exports on standard output (what it does goes to standard error):
#
#     eval "$(scripts/cuda-toolkit.sh)" && cargo build --release --features cuda
#
# Where a CUDA toolkit is installed, none of this is needed: cargo finds its nvcc on the PATH, or by $NVCC.
#
# The shims (lib/stubs/lib{cuda,cublas,cublasLt,curand,nvrtc,cudnn,nccl}.a) hold one jump per function that cudarc
# declares; the real library is opened with dlopen at its first call. So the program
#   * links although no CUDA library is installed,
#   * names no CUDA library to the loader: it starts on a machine without a GPU too, and opening a device there is an
#     error (CUDA_ERROR_NO_DEVICE) and not a program that does not start,
#   * finds the libraries by itself: CUDA_SHIM_PATH=dir[:dir], then the loader's own search (LD_LIBRARY_PATH,
#     ld.so.cache), then $CUDA_HOME, $VIRTUAL_ENV and the folders in shim_dirs below.
#     CUDA_SHIM_DEBUG=1 says on standard error what was opened; CUDA_SHIM_NONE=1 acts as if there were no CUDA.
#
# Environment: CUDA_COMPUTE_CAP (default 80: Ampere and newer), the oldest GPUs that candle's own kernels are compiled for;
#   CUDA_WITH_NVRTC=1 also installs libnvrtc; CUDA_FAST_QUANT=1 (during cargo build) compiles candle's GGUF and MoE
#   kernels, which are not used here, at -O1: a shorter first build.
# Needs: python3 with pip, gcc, g++, ar, cargo; 300 MB. A finished ROOT is only checked, not made again.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=${1:-$HERE/../target/cuda}
mkdir -p "$ROOT"
ROOT=$(cd "$ROOT" && pwd)
CUDA_WITH_NVRTC=${CUDA_WITH_NVRTC:-0}
say() { echo "cuda-toolkit: $*" >&2; }

# Two builds may ask for it at the same time.
exec 9>"$ROOT/.lock"
flock 9

# The compiler and headers, as NVIDIA's meta-package cuda-toolkit==13.0.2 pins them: a driver takes no PTX of a toolkit
# newer than itself, so a newer one would shut out machines.
cat >"$ROOT/requirements.txt" <<'EOF'
nvidia-cuda-nvcc==13.0.88    --hash=sha256:56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03
nvidia-cuda-crt==13.0.88     --hash=sha256:2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4
nvidia-nvvm==13.0.88         --hash=sha256:c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0
nvidia-cuda-cccl==13.0.85    --hash=sha256:e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649
nvidia-cuda-runtime==13.0.96 --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
EOF
cat >"$ROOT/requirements-nvrtc.txt" <<'EOF'
nvidia-cuda-nvrtc==13.0.88   --hash=sha256:ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575
EOF
CU=$ROOT/pkgs/nvidia/cu13
# One pip call per folder: a second `pip install --target` into a folder would not merge nvidia/cu13.
wheels() { # name of the folder, requirements file
  local key; key=$(sha256sum <"$2")
  [ "$(cat "$ROOT/.$1" 2>/dev/null)" = "$key" ] && return
  say "installing from PyPI into $ROOT/$1"
  rm -rf "${ROOT:?}/$1" "$ROOT/$1.new" "$ROOT/.$1"
  python3 -m pip install -q --no-deps --no-compile --only-binary=:all: --require-hashes \
    --root-user-action=ignore --target "$ROOT/$1.new" -r "$2" >&2
  mv "$ROOT/$1.new" "$ROOT/$1"
  echo "$key" >"$ROOT/.$1"
}
[ -f "$ROOT/.pkgs" ] || rm -f "$ROOT/.shims"
wheels pkgs "$ROOT/requirements.txt"
[ "$CUDA_WITH_NVRTC" != 1 ] || wheels nvrtc "$ROOT/requirements-nvrtc.txt"
ln -sfn lib "$CU/lib64"

# The shims offer what cudarc declares, in the version that Cargo.lock names.
CUDARC=$(cd "$HERE/.." && cargo metadata --locked --format-version 1 --features tallow/cuda \
  --filter-platform x86_64-unknown-linux-gnu | python3 -c '
import json, os, sys
found = [p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"] == "cudarc"]
if len(found) != 1:
    sys.exit(f"cuda-toolkit: one cudarc is expected in Cargo.lock, and there are {len(found)}")
print(os.path.dirname(found[0]))')
skey="$CUDARC $(sha256sum <"$0")"
if [ "$(cat "$ROOT/.shims" 2>/dev/null)" != "$skey" ] || [ ! -s "$CU/lib/stubs/libcuda.a" ]; then
  say "making the link-time shims for $(basename "$CUDARC")"
  rm -rf "$ROOT/shim"
  mkdir -p "$ROOT/shim" "$CU/lib/stubs"
  cat >"$ROOT/shim/gen.py" <<'EOF'
import os, re, subprocess, sys
src, work, out = sys.argv[1:4]
# module of cudarc, library, names to dlopen, value returned when it is missing (a valid value of the enum)
LIBS = [('driver', 'cuda', ['libcuda.so.1'], 100),                                # CUDA_ERROR_NO_DEVICE
        ('cublas', 'cublas', ['libcublas.so.13'], 1),                             # NOT_INITIALIZED
        ('cublaslt', 'cublasLt', ['libcublasLt.so.13'], 1),
        ('curand', 'curand', ['libcurand.so.10'], 203),                           # INITIALIZATION_FAILED
        ('nvrtc', 'nvrtc', ['libnvrtc.so.13'], 11),                               # INTERNAL_ERROR
        ('cudnn', 'cudnn', ['libcudnn.so.9'], 1001),                              # NOT_INITIALIZED
        ('nccl', 'nccl', ['libnccl.so.2'], 3)]                                    # INTERNAL_ERROR
C = r'''
#define _GNU_SOURCE
#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#define LIB "%(lib)s"
#define FAIL %(fail)d
static const char *const sonames[] = {%(sonames)s, 0};
static const char *const names[] = {%(names)s};
extern void *shim_slots_%(lib)s[] __attribute__((visibility("hidden")));
static const char *const shim_dirs[] = {
  "/usr/local/cuda-13.0/lib64", "/usr/local/cuda-13/lib64", "/usr/local/cuda/lib64",
  "/usr/local/cuda/targets/x86_64-linux/lib", "/usr/local/nvidia/lib64", "/usr/local/nvidia/lib",
  "/usr/lib/x86_64-linux-gnu", "/usr/lib/wsl/lib",
  "/opt/*/.venv/lib/python3*/site-packages/nvidia/*/lib", "/opt/*/lib/python3*/site-packages/nvidia/*/lib",
  "/usr/local/lib/python3*/*-packages/nvidia/*/lib", "/usr/lib/python3*/*-packages/nvidia/*/lib", 0};
static void *handle;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int debug;
static void *try_one(const char *p) {
  void *h = dlopen(p, RTLD_NOW | RTLD_GLOBAL);
  if (debug) fprintf(stderr, "cuda-shim: %%s: %%s\n", p, h ? "opened" : dlerror());
  return h;
}
static void *try_dir(const char *d) {
  char pat[4096]; glob_t g; void *h = 0; size_t i;
  for (int k = 0; sonames[k] && !h; k++) {
    snprintf(pat, sizeof pat, "%%s/%%s", d, sonames[k]);
    if (glob(pat, 0, 0, &g) == 0) for (i = 0; i < g.gl_pathc && !h; i++) {
      if (!strcmp(LIB, "nvrtc")) { /* libnvrtc looks for its builtins by name only */
        char b[4096], *s; snprintf(b, sizeof b, "%%s", g.gl_pathv[i]);
        if ((s = strrchr(b, '/'))) { snprintf(s, sizeof b - (s - b), "/libnvrtc-builtins.so.13.0"); dlopen(b, RTLD_NOW | RTLD_GLOBAL); }
      }
      h = try_one(g.gl_pathv[i]);
    }
    globfree(&g); memset(&g, 0, sizeof g);
  }
  return h;
}
static void *try_list(const char *list, const char *sub) {
  char d[4096]; void *h = 0;
  while (list && *list && !h) {
    size_t n = strcspn(list, ":");
    if (n && n < 3000) { snprintf(d, sizeof d, "%%.*s%%s", (int)n, list, sub); h = try_dir(d); }
    list += n; if (*list == ':') list++;
  }
  return h;
}
static void open_lib(void) {
  const char *e = getenv("CUDA_SHIM_DEBUG"); debug = e && *e && *e != '0';
  if (getenv("CUDA_SHIM_NONE")) return;                   /* act as on a machine without CUDA */
  if ((handle = try_list(getenv("CUDA_SHIM_PATH"), ""))) return;
  for (int k = 0; sonames[k]; k++) if ((handle = try_one(sonames[k]))) return; /* LD_LIBRARY_PATH, ld.so.cache */
  if ((handle = try_list(getenv("CUDA_HOME"), "/lib64")) || (handle = try_list(getenv("CUDA_HOME"), "/lib"))) return;
  if ((handle = try_list(getenv("VIRTUAL_ENV"), "/lib/python3*/site-packages/nvidia/*/lib"))) return;
  for (int k = 0; shim_dirs[k]; k++) if ((handle = try_dir(shim_dirs[k]))) return;
  if (strcmp(LIB, "cuda")) fprintf(stderr, "cuda-shim: %%s not found; put its folder in LD_LIBRARY_PATH or CUDA_SHIM_PATH\n", sonames[0]);
}
static long fail(void) { return FAIL; }
static const char *fail_text(void) { return "lib" LIB " is not available"; }
__attribute__((visibility("hidden"))) void *shim_resolve_%(lib)s(unsigned long i) {
  void *f = 0;
  pthread_once(&once, open_lib);
  if (handle && !(f = dlsym(handle, names[i]))) fprintf(stderr, "cuda-shim: %%s has no %%s\n", sonames[0], names[i]);
  if (!f) f = %(is_str)s ? (void *)fail_text : (void *)fail;
  __atomic_store_n(&shim_slots_%(lib)s[i], f, __ATOMIC_RELEASE);
  return f;
}
'''
for mod, lib, sonames, failv in LIBS:
    text = open(f'{src}/{mod}/sys/mod.rs').read()
    found = dict(re.findall(r'extern "C" \{\s*fn (\w+)\([^;]*\)(?: -> ([^;]+))?;', text))
    names = sorted(found)
    strings = [i for i, n in enumerate(names) if found[n].startswith('*const')]   # these return a text
    assert len(names) > 10, (mod, len(names))
    q = lambda l: ', '.join(f'"{x}"' for x in l)
    c, s = f'{work}/{lib}.c', f'{work}/{lib}_jump.s'
    open(c, 'w').write(C % dict(lib=lib, fail=failv, sonames=q(sonames), names=q(names),
                             is_str=' || '.join(f'i == {i}' for i in strings) or '0'))
    with open(s, 'w') as f:
        f.write('.text\n')
        for i, n in enumerate(names):
            f.write(f'.globl {n}\n.hidden {n}\n.type {n},@function\n.p2align 4\n{n}:\n jmp *shim_slots_{lib}+{8*i}(%rip)\n'
                    f'.Lres{i}:\n pushq ${i}\n jmp .Lcommon\n.size {n},.-{n}\n')
        f.write('.p2align 4\n.Lcommon:\n')
        regs = 'rax rdi rsi rdx rcx r8 r9'.split()
        f.write(''.join(f' push %{r}\n' for r in regs) + ' sub $136,%rsp\n')
        f.write(''.join(f' movups %xmm{k},{16*k}(%rsp)\n' for k in range(8)))
        f.write(f' mov 192(%rsp),%rdi\n call shim_resolve_{lib}\n mov %rax,%r11\n')
        f.write(''.join(f' movups {16*k}(%rsp),%xmm{k}\n' for k in range(8)))
        f.write(' add $136,%rsp\n' + ''.join(f' pop %{r}\n' for r in reversed(regs)))
        f.write(' add $8,%rsp\n jmp *%r11\n')
        f.write(f'.section .data.rel,"aw",@progbits\n.hidden shim_slots_{lib}\n.globl shim_slots_{lib}\n.p2align 3\nshim_slots_{lib}:\n')
        f.write(''.join(f' .quad .Lres{i}\n' for i in range(len(names))))
        f.write('.section .note.GNU-stack,"",@progbits\n')
    o = [f'{work}/{lib}.o', f'{work}/{lib}_jump.o']
    subprocess.run(['gcc', '-O2', '-fPIC', '-Wall', '-c', c, '-o', o[0]], check=True)
    subprocess.run(['gcc', '-c', s, '-o', o[1]], check=True)
    a = f'{out}/lib{lib}.a'
    if os.path.exists(a): os.remove(a)
    subprocess.run(['ar', 'rcs', a] + o, check=True)
    print(f'cuda-toolkit: lib{lib}.a: {len(names)} functions', file=sys.stderr)
EOF
  python3 "$ROOT/shim/gen.py" "$CUDARC/src" "$ROOT/shim" "$CU/lib/stubs"
  ln -sf ../libcudart_static.a "$CU/lib/stubs/libcudart.a" # -lcudart becomes a static link
  echo "$skey" >"$ROOT/.shims"
fi

# An nvcc for candle-kernels: smaller binaries, and (CUDA_FAST_QUANT=1) a shorter first build.
cat >"$CU/bin/nvcc-candle.new" <<'EOF'
#!/bin/sh
# nvcc, with the machine code in objects compressed (the driver unpacks it; needs a driver >= 12.4). With
# CUDA_FAST_QUANT=1, candle-kernels' GGUF and MoE kernels (not used in plain training) at -O1: a third of the time.
here=$(dirname "$(readlink -f "$0")")
more=
case " $* " in *" -c "*) more="--compress-mode=size" ;; esac
if [ "${CUDA_FAST_QUANT:-0}" = 1 ]; then
  case "$PWD $*" in */candle-kernels-*" "*mmq_gguf/*|*/candle-kernels-*" "*mmvq_gguf*|*/candle-kernels-*" "*src/moe/*)
    case " $* " in *" -c "*) more="$more -Xcicc -O1 -Xptxas -O1" ;; esac ;; esac
fi
exec "$here/nvcc" "$@" $more
EOF
chmod +x "$CU/bin/nvcc-candle.new"; mv "$CU/bin/nvcc-candle.new" "$CU/bin/nvcc-candle"

"$CU/bin/nvcc" --version | grep -q 'release 13.0' || { say "nvcc does not run"; exit 1; }
for l in cuda cublas cublasLt curand nvrtc cudart; do [ -s "$CU/lib/stubs/lib$l.a" ] || { say "no lib$l.a"; exit 1; }; done
if ls "$CU"/lib/lib*.so >/dev/null 2>&1; then say "unversioned .so in $CU/lib: the link would prefer it to the shims"; exit 1; fi

cat <<EOF
export CUDA_HOME='$CU'
export CUDA_PATH='$CU'
export NVCC='$CU/bin/nvcc-candle'
export CUDARC_CUDA_VERSION=13000
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80}
export CUDAFORGE_THREADS=${CUDAFORGE_THREADS:-$(nproc)}
case ":\$PATH:" in *":$CU/bin:"*) ;; *) export PATH='$CU/bin':"\$PATH" ;; esac
EOF
if [ "$CUDA_WITH_NVRTC" = 1 ]; then
  echo "export CUDA_SHIM_PATH='$ROOT/nvrtc/nvidia/cu13/lib' CUDA_INCLUDE='$CU/include'"
fi
say "ready: nvcc 13.0.88 in $CU"
