#!/bin/sh
# quietly.sh COMMAND...: runs a command without the lines of its log, and ends as it does.
status=$(mktemp)
trap 'rm -f "$status"' EXIT
{ "$@"; echo $? > "$status"; } 2>&1 | grep --line-buffered -v level=
exit "$(cat "$status")"
