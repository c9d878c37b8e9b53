#!/bin/sh
# Runs the self-test and the tests on two other software drivers than the one that is installed, for those who want to:
# other drivers find other faults. Nothing is installed; what is downloaded goes to FOLDER and is used again.
#
#     tests/drivers.sh [FOLDER [DRIVER...]]      FOLDER: target/drivers; DRIVER: swiftshader, mesa (both)
#
# swiftshader   Google's, as npm's @sparticuz/chromium ships it: four lanes, no f16, no memory that is shared with an image.
#               Needs npm and node, on x86-64.
# mesa          the lavapipe of Debian 12's backports (Mesa 25). Needs Debian 12, whose packages it is made for.
set -eu
cargo=${CARGO:-cargo}
root=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$root/target/drivers}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- swiftshader mesa
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

# A driver's manifest, for the Vulkan loader: its library by its full path.
manifest() {
    printf '{"file_format_version":"1.0.0","ICD":{"library_path":"%s","api_version":"%s"}}\n' "$1" "$2"
}

bring_swiftshader() {
    if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
        echo "swiftshader needs npm and node" >&2
        return 1
    fi
    (cd "$1" && npm pack --silent @sparticuz/chromium@153.0.0 >/dev/null)
    tar -xzf "$1"/sparticuz-chromium-*.tgz -C "$1" package/bin/swiftshader.tar.br
    node -e 'const fs = require("fs"); process.stdout.write(require("zlib").brotliDecompressSync(fs.readFileSync(process.argv[1])))' \
        "$1/package/bin/swiftshader.tar.br" >"$1/swiftshader.tar"
    tar -xf "$1/swiftshader.tar" -C "$1"
    rm -r "$1/package" "$1/swiftshader.tar" "$1"/sparticuz-chromium-*.tgz
    manifest "$(find "$1" -name libvk_swiftshader.so)" 1.3.0 >"$1/driver.json"
}

bring_mesa() {
    grep -qs 'VERSION_CODENAME=bookworm' /etc/os-release || { echo "mesa needs Debian 12 (bookworm)" >&2; return 1; }
    mkdir -p "$1/state/lists/partial" "$1/cache/archives/partial"
    for suite in bookworm bookworm-backports; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite main"
    done >"$1/sources.list"
    # What apt knows and fetches stays in this folder; what is installed it only reads.
    apt() {
        apt-get -qq -o Dir::State="$there/state" -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache="$there/cache" \
            -o Dir::Etc::SourceList="$there/sources.list" -o Dir::Etc::SourceParts=- -o Debug::NoLocking=1 \
            -o APT::Sandbox::User="$(id -un)" -o APT::Get::List-Cleanup=0 "$@"
    }
    apt update
    apt install --download-only --yes --no-install-recommends --reinstall -t bookworm-backports mesa-vulkan-drivers
    for package in "$1"/cache/archives/*.deb; do
        dpkg -x "$package" "$1/files"
    done
    rm -r "$1/state" "$1/cache" "$1/sources.list"
    manifest "$(find "$1" -name libvulkan_lvp.so)" 1.4.0 >"$1/driver.json"
}

cd "$root"
failed=
for driver; do
    there=$folder/$driver
    if [ ! -e "$there/driver.json" ]; then
        echo "== $driver: downloading to $there"
        rm -rf "$there"
        mkdir "$there"
        "bring_$driver" "$there"
    fi
    libraries=$(dirname "$(sed 's/.*"library_path":"\([^"]*\)".*/\1/' "$there/driver.json")")
    run() {
        VK_DRIVER_FILES="$there/driver.json" LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$@"
    }
    echo "== $driver"
    run "$cargo" run --release -- devices
    # One driver's faults are no reason to leave the next out, nor the self-test's to leave out the tests.
    run "$cargo" run --release -- selftest || failed="$failed $driver (selftest)"
    run "$cargo" test --release --no-fail-fast || failed="$failed $driver (tests)"
done
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
echo "selftest and tests passed on: $*"
