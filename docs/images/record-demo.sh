#!/usr/bin/env bash
# Records `aignostics demo` as docs/images/demo.svg.
# Needs asciinema, the npm package svg-term-cli, and `aignostics` on PATH.
set -euo pipefail
image=$(cd "$(dirname "$0")" && pwd)/demo.svg
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
asciinema rec --quiet --cols 100 --rows 22 --command 'printf "$ aignostics demo\n"; aignostics demo; sleep 4' demo.cast
svg-term --in demo.cast --out "$image" --window --no-cursor --width 100 --height 22
