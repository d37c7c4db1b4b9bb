#!/usr/bin/env bash
# Fetches what run_in_vm.py boots: Debian's kernel and a few of its modules. Nothing is installed.
# Usage: provision.sh [FOLDER]; the folder is .cache/uinput-vm below the repository unless given.
# A folder that is complete is left as it is: delete it to fetch a newer kernel.
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
. "$repository/tests/provisioning.sh"
folder=${1:-$repository/.cache/uinput-vm}

# The ordinary kernel: the -cloud- one has no uinput.
newest=linux-image-amd64
# What a virtual gamepad and this machine's files need, with what that needs. Kernels differ in what is built in.
modules=(virtio virtio_ring virtio_pci virtio_pci_legacy_dev virtio_pci_modern_dev 9p 9pnet 9pnet_virtio netfs fscache
    overlay evdev joydev uinput)

need_programs apt-get apt-cache dpkg-deb dpkg-query
need_packages qemu-system-x86 busybox-static libevdev2

if [ -e "$folder/vmlinuz" ]; then
    echo "$folder is complete: $(cat "$folder/version")"
    exit 0
fi

kernel=$(apt-cache depends --important "$newest" 2>/dev/null | awk '/Depends: linux-image-/ { print $2 }') || true
[ -n "$kernel" ] || fail "apt knows no $newest, expected it in its lists: run \`apt-get update\`, then start again."

mkdir -p "$(dirname "$folder")"
work=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/download" "$work/unpacked" "$work/ready" "$work/ready/modules"
(cd "$work/download" && apt-get -o APT::Sandbox::User= download --quiet "$kernel") ||
    fail "$kernel could not be downloaded: run \`apt-get update\`, then start again."
dpkg-deb --extract "$work"/download/*.deb "$work/unpacked"
find "$work/unpacked" -name '*.ko.xz' -exec xz --decompress {} +
for module in "${modules[@]}"; do
    find "$work/unpacked" -name "$module.ko" -exec cp {} "$work/ready/modules" \;
done
[ -e "$work/ready/modules/uinput.ko" ] || fail "$kernel has no module uinput, expected the ordinary kernel's package."
echo "$kernel" >"$work/ready/version"
cp "$work"/unpacked/boot/vmlinuz-* "$work/ready/vmlinuz"
rm -rf "$folder"
mv "$work/ready" "$folder"
echo "$folder holds $kernel"
