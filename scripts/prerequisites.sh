#!/bin/sh
# prerequisites.sh PYTHON: check what a build needs before it starts. The first thing that is
# missing ends it with one line that says what to do.
python=$1

stop() {
    echo "SEP: $1" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 ||
    stop "$python is not installed: apt install python3 python3-dev python3-venv, or name one with PYTHON=/path/to/python3.11"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    stop "$python is $("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') and SEP needs Python 3.11 or later: name one with PYTHON=/path/to/python3.11"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    stop "$python cannot make virtual environments: apt install python3-venv"

headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
[ -f "$headers/Python.h" ] ||
    stop "$python lacks the headers that the engine is built with: apt install python3-dev"

compiler=${CXX:-c++}
command -v "$compiler" >/dev/null 2>&1 ||
    stop "no C++ compiler ($compiler) was found: apt install g++, or name one with CXX=/path/to/compiler"
echo '#include <concepts>
#include <span>
int main() { return std::span<int>{}.empty() ? 0 : 1; }' |
    "$compiler" -std=c++20 -x c++ -fsyntax-only - 2>/dev/null ||
    stop "$compiler does not compile C++20: apt install g++ (12 or later), or name another with CXX=/path/to/compiler"

free_kib=$(df -Pk . | awk 'NR == 2 { print $4 }')
[ "$free_kib" -ge 3145728 ] ||
    stop "$((free_kib / 1024)) MiB are free here and a build needs 3 GiB: free some space on $(df -Pk . | awk 'NR == 2 { print $6 }')"
