#!/bin/sh
# What is done with each file: tells how much is in it. Replace it by what you need.
#
# A record is a line of JSON on standard input, and each of its fields is a variable:
#
#     {{record}}
#     {{variables}}
#
# What is printed is the result, as JSON. An exit code other than 0 is a failure, which is tried again
# later; standard error says why. ITERD_KEY is the same at every attempt at a file: hand it to an API as its
# idempotency key. The variables are data: quote them ("$ITEM_PATH"), and never let a shell run them.
set -eu

bytes=$(wc -c <"$ITEM_PATH")
lines=$(wc -l <"$ITEM_PATH")
if [ "$bytes" -eq 0 ]; then
    echo "the file is empty" >&2
    exit 1
fi
printf '{"bytes": %d, "lines": %d}\n' "$bytes" "$lines"
