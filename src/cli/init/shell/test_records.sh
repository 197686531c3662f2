#!/bin/sh
# Tries the handler on records, without iterd:
#
#     {{test}}
set -u
here=$(cd "$(dirname "$0")" && pwd)
failed=0

# check WANTED RECORD [NAME=VALUE..]: what the handler prints, or "failed".
check() {
    wanted=$1 record=$2
    shift 2
    got=$(printf '%s\n' "$record" | env -i PATH="$PATH" "$@" sh "$here/plugin/handler.sh" 2>/dev/null) \
        || got=failed
    case $got in
        $wanted) ;;
        *) echo "not $wanted but $got: $record" >&2; failed=1 ;;
    esac
}

# The first record of the source, as iterd hands it over.
first=$(head -n 1 "$here/sample.jsonl")
check '{"filled": *, "empty": *}' "$first" {{assignments}}

check '{"filled": 2, "empty": 1}' '{"id":7,"name":"ada","city":""}' ITEM_ID=7 ITEM_NAME=ada ITEM_CITY=
check '{"filled": 1, "empty": 0}' '17'
check failed '{"name":""}' ITEM_NAME=
check failed 'null'

[ $failed = 0 ] && echo "ok"
exit $failed
