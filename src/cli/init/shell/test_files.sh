#!/bin/sh
# Tries the handler on files, without iterd:
#
#     {{test}}
set -u
here=$(cd "$(dirname "$0")" && pwd)
file=$(mktemp)
trap 'rm -f "$file"' EXIT
failed=0

# check WANTED PATH: what the handler prints for a file, or "failed".
check() {
    got=$(env -i PATH="$PATH" ITEM_PATH="$2" sh "$here/plugin/handler.sh" 2>/dev/null </dev/null) || got=failed
    case $got in
        $1) ;;
        *) echo "not $1 but $got: $2" >&2; failed=1 ;;
    esac
}

# The first file of the source.
first={{path}}
if [ -s "$first" ]; then
    check '{"bytes": [1-9]*, "lines": *}' "$first"
else
    check failed "$first"
fi

printf 'one\ntwo\n' >"$file"
check '{"bytes": 8, "lines": 2}' "$file"
: >"$file"
check failed "$file"

[ $failed = 0 ] && echo "ok"
exit $failed
