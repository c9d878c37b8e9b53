#!/bin/sh
# Makes sure that Linux has a Vulkan driver: installs Mesa's software one where there is none at all. `sh setup.sh mpi` makes sure
# of an MPI to build with, and of libclang, by which the crate mpi reads its headers: Open MPI's where there is none.
set -eu
[ "$(uname -s)" = Linux ] || exit 0

# install WHY PACKAGE...
install() {
    echo "$1 (apt-get install $2)"
    if [ "$(id -u)" -eq 0 ]; then sudo=; else sudo=sudo; fi
    export DEBIAN_FRONTEND=noninteractive
    $sudo apt-get update -qq
    # shellcheck disable=SC2086 # several packages
    $sudo apt-get install -y -qq --no-install-recommends $2
}

if [ "${1:-}" = mpi ]; then
    clang=$(find /usr/lib /usr/local/lib "${LIBCLANG_PATH:-/nonexistent}" -name 'libclang*.so*' 2>/dev/null | head -n 1)
    command -v mpicc >/dev/null && command -v mpirun >/dev/null && [ -n "$clang" ] && exit 0
    if ! command -v apt-get >/dev/null; then
        echo "No MPI, or no libclang, was found. Install your distribution's Open MPI or MPICH with its headers, and libclang." >&2
        exit 1
    fi
    install "No MPI to build with was found: installing Open MPI and libclang" "libopenmpi-dev openmpi-bin libclang-dev"
    exit 0
fi

for folder in /usr/share/vulkan/icd.d /etc/vulkan/icd.d /usr/local/share/vulkan/icd.d /usr/local/etc/vulkan/icd.d; do
    for driver in "$folder"/*.json; do
        [ -e "$driver" ] && found=1
    done
done
[ -n "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] && found=1
loader=$(ldconfig -p 2>/dev/null | grep -c 'libvulkan\.so\.1' || true)
[ -n "${found:-}" ] && [ "$loader" -gt 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
    echo "No Vulkan driver was found. Install your distribution's vulkan-loader and Mesa (lavapipe) packages." >&2
    exit 1
fi
install "No Vulkan driver was found: installing Mesa's software driver" "mesa-vulkan-drivers libvulkan1"
