#!/bin/sh
# Installs the command `aignostics` of version @VERSION@.
#
#   AIGNOSTICS_INSTALL_FROM  URL of the folder with the archives and SHA256SUMS of the release (required)
#   AIGNOSTICS_INSTALL_TO    folder for the program (default: ~/.local/bin)
#
# Nothing is installed unless the SHA-256 of the archive is the one in SHA256SUMS.
set -eu

version=@VERSION@
from=${AIGNOSTICS_INSTALL_FROM:?set it to the URL of the folder with the archives of the release}
to=${AIGNOSTICS_INSTALL_TO:-$HOME/.local/bin}

fail() {
    echo "error: $1" >&2
    exit 1
}

[ "$(uname -s)" = Linux ] || fail "there are binaries for Linux only; build the command with cargo on $(uname -s)"
case $(uname -m) in
    x86_64 | amd64) target=x86_64-unknown-linux-musl ;;
    aarch64 | arm64) target=aarch64-unknown-linux-musl ;;
    *) fail "there is no binary for $(uname -m)" ;;
esac
for program in tar xz sha256sum; do
    command -v "$program" >/dev/null || fail "$program is not installed"
done

if command -v curl >/dev/null; then
    download() { curl --fail --silent --show-error --location --retry 3 --output "$2" "$1"; }
elif command -v wget >/dev/null; then
    download() { wget --quiet --output-document "$2" "$1"; }
else
    fail "neither curl nor wget is installed"
fi

name=aignostics-$version-$target
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
download "$from/SHA256SUMS" "$folder/SHA256SUMS" || fail "$from/SHA256SUMS cannot be downloaded"
download "$from/$name.tar.xz" "$folder/$name.tar.xz" || fail "$from/$name.tar.xz cannot be downloaded"
(
    cd "$folder"
    grep -F "  $name.tar.xz" SHA256SUMS >expected || fail "SHA256SUMS does not name $name.tar.xz"
    sha256sum --check --status expected || fail "the SHA-256 of $name.tar.xz is wrong: download it again"
    tar -xJf "$name.tar.xz"
)
mkdir -p "$to"
# A rename replaces a running program, too.
cp "$folder/$name/aignostics" "$to/.aignostics.$$"
mv "$to/.aignostics.$$" "$to/aignostics"
echo "installed $("$to/aignostics" --version) as $to/aignostics"
case ":$PATH:" in
    *":$to:"*) ;;
    *) echo "add $to to PATH to use it" ;;
esac
