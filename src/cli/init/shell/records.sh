#!/bin/sh
# What is done with each record: tells how many of its fields are filled. Replace it by what you need.
#
# A record is a line of JSON on standard input, and each of its fields is a variable:
#
#     {{record}}
#     {{variables}}
#
# What is printed is the result, as JSON. An exit code other than 0 is a failure, which is tried again
# later; standard error says why. ITERD_KEY is the same at every attempt at a record: hand it to an API as
# its idempotency key. The variables are data: quote them ("$ITEM_ID"), and never let a shell run them.
set -eu

exec awk '
    { record = record $0 }
    END {
        filled = empty = 0
        for (name in ENVIRON) {
            if (name !~ /^ITEM_/) continue
            if (ENVIRON[name] == "") empty++; else filled++
        }
        # A record without fields is its value alone.
        if (filled + empty == 0 && record !~ /^(null|""|\[\]|\{\})?$/) filled = 1
        if (filled == 0) {
            print "every field is empty" > "/dev/stderr"
            exit 1
        }
        printf "{\"filled\": %d, \"empty\": %d}\n", filled, empty
    }'
