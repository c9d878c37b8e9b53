#!/bin/sh
# Makes sure that Linux has a Vulkan driver: installs Mesa's software one where there is none at all.
set -eu
[ "$(uname -s)" = Linux ] || exit 0
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
echo "No Vulkan driver was found: installing Mesa's software driver (apt-get install mesa-vulkan-drivers libvulkan1)"
if [ "$(id -u)" -eq 0 ]; then sudo=; else sudo=sudo; fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
$sudo apt-get install -y -qq --no-install-recommends mesa-vulkan-drivers libvulkan1
