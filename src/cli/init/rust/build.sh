#!/bin/sh
# Builds the handler and puts it into the plugin's folder, which makes it the plugin's next version. The
# first time, cargo fetches serde_json from crates.io.
#
#     {{build}}
set -eu
cd "$(dirname "$0")/handler"
cargo build --release "$@"
# As a new file: a running one cannot be written to.
install -m 755 "${CARGO_TARGET_DIR:-target}/release/handler" ../plugin/handler
