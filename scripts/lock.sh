#!/bin/sh
# Resolve pyproject.toml's dependency groups into requirements/, for Python 3.11 and later and with
# hashes. No index is named: the machine that installs decides where packages come from.
set -e
compile() {
    out=requirements/$1.txt
    shift
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
        "$@" --output-file "$out"
}
compile uv --group uv
compile run pyproject.toml --group web
compile build --group build --constraint requirements/run.txt
compile dev pyproject.toml --group web --group dev --constraint requirements/run.txt \
    --constraint requirements/build.txt
compile bench --group bench --constraint requirements/dev.txt
