#!/bin/sh
# Builds .venv from env/lock.txt and installs the project into it, editable. `make` calls this before anything else:
# it returns at once when .venv is whole, and brings .venv up to date when the lock has changed.
#
#   PYTHON=python3.12   use this interpreter (3.11 or later) rather than the first suitable one
#   TORCH_INDEX=...     take torch and torchvision from this index of CPU-only wheels, without the CUDA packages
set -eu
cd "$(dirname "$0")/.."
venv=.venv
stamp=$venv/whole # written last: a build that was cut short has none, and is made anew
started=$(date +%s)

say() { printf 'environment: %s\n' "$*"; }
fail() { printf 'environment: %s\n' "$@" >&2; exit 1; }

# Prints nothing when the interpreter will do, and otherwise what it lacks.
lacks() {
    "$1" - 2>/dev/null <<'EOF' || echo "does not run, or is far too old"
import importlib.util
import sys

found = lambda name: importlib.util.find_spec(name) is not None
if sys.version_info < (3, 11):
    print("is Python", sys.version.split()[0])
elif missing := [name for name in ("venv", "ssl", "_ctypes", "_sqlite3", "_bz2", "_lzma", "zlib") if not found(name)]:
    print("was built without", ", ".join(missing))
elif not (found("ensurepip") or found("pip")):
    print("has neither ensurepip nor pip: install your system's python3-venv package")
EOF
}

find_python() {
    tried=
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14 python}; do
        command -v "$python" >/dev/null 2>&1 || { [ -z "${PYTHON:-}" ] || tried="$python: not found"; continue; }
        reason=$(lacks "$python")
        [ -n "$reason" ] || return 0
        tried="$tried${tried:+; }$python $reason"
    done
    fail "Python 3.11 or later is needed (${tried:-no python3 on the PATH})." \
        "Install one, or name it: make PYTHON=/path/to/python3.12 ..."
}

# What a whole .venv was built from. The folder is part of it: a virtual environment that has moved does not work.
recipe() {
    "$1" -c 'import platform; print("Python", platform.python_version())'
    pwd
    printf '%s\n' "$TORCH_INDEX"
    cat env/uv.txt env/lock.txt
}

# How the kernels of .venv behave; where it cannot be written, as it was.
settle() {
    config=ipython_kernel_config.py
    mkdir -p $venv/etc/ipython 2>/dev/null || :
    cmp -s env/$config $venv/etc/ipython/$config || cp env/$config $venv/etc/ipython/ 2>/dev/null || :
}

# An environment made of CPU-only wheels stays one: the index is given once.
TORCH_INDEX=${TORCH_INDEX:-$(sed -n 3p $stamp 2>/dev/null || true)}

if [ -f $stamp ] && [ -x $venv/bin/python ] && have=$(recipe $venv/bin/python 2>/dev/null); then
    wanted=$have
    [ -z "${PYTHON:-}" ] || { find_python; wanted=$(recipe "$python"); }
    [ "$wanted" != "$(cat $stamp)" ] || { settle; exit 0; }
    # Another lock in the same place with the same Python: change what differs. Anything else: start from nothing.
    [ "$(printf '%s\n' "$wanted" | head -n 2)" = "$(head -n 2 $stamp)" ] || rm $stamp
else
    rm -f $stamp  # no environment, or one whose Python no longer runs
fi

if [ -f $stamp ]; then
    rm $stamp
    say "the lock has changed, bringing .venv up to date"
else
    find_python
    say "building .venv with $("$python" --version) ($python)"
    rm -rf $venv
    if "$python" -c 'import ensurepip' 2>/dev/null; then
        "$python" -m venv $venv
        pip="$venv/bin/python -m pip"
    else
        "$python" -m venv --without-pip $venv
        pip="$python -m pip --python $venv/bin/python"
    fi
    $pip install -qq --disable-pip-version-check --no-deps --only-binary :all: --requirement env/uv.txt
fi

lock=env/lock.txt
index=
if [ -n "$TORCH_INDEX" ]; then
    lock=$venv/lock-cpu.txt
    grep -Ev '^(nvidia-|cuda-|triton==)' env/lock.txt >$lock
    index="--index $TORCH_INDEX --index-strategy unsafe-best-match"
fi
say "installing the packages of env/lock.txt (6 GB; a first time downloads them and takes minutes)"
quiet=--quiet
[ ! -t 2 ] || quiet=
# Compiled once, here, by all processors: where Python may not write bytecode, as in many containers, each of the hundred
# processes of `make paper` would compile torch and transformers anew, for five seconds and more.
# shellcheck disable=SC2086
$venv/bin/uv pip sync $quiet --compile-bytecode $index --python $venv/bin/python $lock env/uv.txt
# The lock holds the build backend too, so that nothing is fetched beside it.
$venv/bin/uv pip install --quiet --no-deps --no-build-isolation --python $venv/bin/python --editable .

settle
say "checking it"
$venv/bin/python env/check.py
recipe $venv/bin/python >$stamp.part
mv $stamp.part $stamp
say "wrote $(pwd)/$venv in $(($(date +%s) - started)) s"
