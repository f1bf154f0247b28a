#!/bin/sh
# step.sh TITLE NAME COMMAND...: run one build step quietly. Its output goes to
# build/log/NAME.log and is shown when the step fails.
title=$1
log=build/log/$2.log
shift 2
mkdir -p build/log
echo "$title ..."
start=$(date +%s)
if "$@" >"$log" 2>&1; then
    echo "$title: $(($(date +%s) - start)) s"
else
    status=$?
    tail -n 40 "$log" >&2
    if grep -q "No space left on device" "$log"; then
        echo "$title failed: the disk is full. Free some space and run the command again." >&2
    else
        echo "$title failed (exit status $status). The whole output is in $log" >&2
    fi
    exit 1
fi
