#!/usr/bin/env bash
# Installs Debian's Chromium for the browser tests where that is possible, and otherwise says what to
# do. Never fails: without Chromium the browser tests are skipped, and say so.
set -u

say() { echo "install_chromium: $*" >&2; }

if command -v chromium >/dev/null || command -v chromium-browser >/dev/null; then
    exit 0
fi
remedy="the browser tests are skipped; to run them: apt-get install chromium"
if ! command -v apt-get >/dev/null; then
    say "no chromium, and no apt-get to install it with: the browser tests are skipped"
    exit 0
fi
if [ "$(id -u)" -eq 0 ]; then
    root=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    root=(sudo -n)
else
    say "no chromium, and no right to install it: $remedy"
    exit 0
fi
say "installing chromium"
install=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install
    --yes --quiet --no-install-recommends chromium)
if "${install[@]}" >/dev/null 2>&1; then
    exit 0
fi
# The lists of packages may be old or missing.
if "${root[@]}" apt-get update --quiet >/dev/null 2>&1 && "${install[@]}" >/dev/null; then
    exit 0
fi
say "chromium could not be installed: $remedy"
exit 0
