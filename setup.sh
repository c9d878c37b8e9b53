#!/bin/sh
# Makes sure that Linux has a Vulkan driver: installs Mesa's software one where there is none at all. `sh setup.sh mpi` makes sure
# of an MPI to build with, and of libclang, by which the crate mpi reads its headers: Open MPI's where there is none.
set -eu
if [ "$(uname -s)" != Linux ]; then
    if [ "${1:-}" = mpi ] && ! command -v mpirun >/dev/null; then
        echo "No MPI was found. Install Open MPI or MPICH with its headers, and libclang (Homebrew: open-mpi, llvm)." >&2
        exit 1
    fi
    exit 0
fi

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
    lacking=
    command -v mpicc >/dev/null && command -v mpirun >/dev/null || lacking="libopenmpi-dev openmpi-bin"
    clang=$(find /usr/lib /usr/local/lib "${LIBCLANG_PATH:-/nonexistent}" \
        \( -name 'libclang.so*' -o -name 'libclang-[0-9]*.so*' \) 2>/dev/null | head -n 1)
    [ -n "$clang" ] || lacking="$lacking libclang-dev"
    # The tests of several ranks end some of them.
    command -v pkill >/dev/null || lacking="$lacking procps"
    [ -n "$lacking" ] || exit 0
    if ! command -v apt-get >/dev/null; then
        echo "No MPI, or no libclang, was found. Install your distribution's Open MPI or MPICH with its headers, and libclang." >&2
        exit 1
    fi
    install "Something that MPI is built or tested with was not found" "$lacking"
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
