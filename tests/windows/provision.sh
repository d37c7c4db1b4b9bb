#!/usr/bin/env bash
# Makes a Windows with Python 3.11 out of Wine and package registries, for run_under_wine.py.
# Usage: provision.sh [FOLDER]; the folder is hoodcam/wine in the user's cache unless given.
# A folder that is complete and made by this very script is left as it is.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../provisioning.sh"
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/hoodcam/wine}

mingw=x86_64-w64-mingw32
vgamepad=vgamepad-0.2.0
vgamepad_sha256=6ac247e6441e194a0277b46f6f9abc02d7995de5ed8dc495b67eddd214364a88

need_programs dpkg-query python3.11
need_packages wine wine64 gcc-mingw-w64-x86-64 xvfb

version=$(cat "$here/provision.sh" "$here/requirements.txt" | sha256sum | cut -d' ' -f1)-$(wine --version 2>/dev/null)
if [ "$(cat "$folder/version" 2>/dev/null)" = "$version" ]; then
    echo "$folder is complete"
    exit 0
fi

mkdir -p "$(dirname "$folder")"
work=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$work"' EXIT
python=$work/ready/python site=$work/ready/site
mkdir -p "$work/wheels" "$python/Lib" "$site"
pip() {
    python3.11 -m pip --quiet --disable-pip-version-check "$@"
}
from_windows=(--no-deps --only-binary=:all: --python-version 3.11 --implementation cp --platform win_amd64)

# The interpreter: panda3d's Windows wheel carries python311.dll, every standard extension module and the C runtime.
# Wine has the api-ms-win-* libraries of its own. The rest of the standard library is the same on every system.
pip download "${from_windows[@]}" --require-hashes --dest "$work/wheels" \
    --requirement <(grep '^panda3d==' "$here/requirements.txt") || fail "the interpreter's package cannot be downloaded."
python3.11 - "$work"/wheels/panda3d-*.whl "$python" <<'PYTHON'
import pathlib, sys, zipfile

wheel, folder = sys.argv[1], pathlib.Path(sys.argv[2])
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        path = pathlib.PurePosixPath(name)
        if path.parent.name == "deploy_libs" and not path.name.startswith("api-ms-win-"):
            (folder / path.name).write_bytes(archive.read(name))
PYTHON
library=$(python3.11 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
tar --create --directory "$library" --exclude=site-packages --exclude=dist-packages --exclude=test --exclude=lib-dynload \
    --exclude=__pycache__ --exclude='config-*' . | tar --extract --directory "$python/Lib"

cat >"$work/python.c" <<'C'
#include <wchar.h>
int Py_Main(int, wchar_t **);
int wmain(int count, wchar_t **words) { return Py_Main(count, words); }
C
"$mingw-gcc" -municode -o "$python/python.exe" "$work/python.c" "$python/python311.dll"

# python3.dll, the stable interface that many wheels want: it forwards everything to python311.dll.
{
    printf 'LIBRARY python3.dll\nEXPORTS\n'
    "$mingw-objdump" -p "$python/python311.dll" |
        awk '/\[Ordinal\/Name Pointer\] Table/ { on = 1; next } on && /\[ *[0-9]+\]/ { print $NF }' |
        grep -E '^_?Py' | sed 's/.*/&=python311.&/'
} >"$work/python3.def"
echo 'int nothing;' >"$work/nothing.c"
"$mingw-gcc" -shared -nostdlib -Wl,--entry=0 -o "$python/python3.dll" "$work/nothing.c" "$work/python3.def"

# bcryptprimitives.dll, which Wine 8 lacks and Rust's standard library wants.
cat >"$work/random.c" <<'C'
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE to, SIZE_T bytes) { return SystemFunction036(to, (ULONG)bytes); }
C
"$mingw-gcc" -shared -o "$python/bcryptprimitives.dll" "$work/random.c" -ladvapi32

# What driving and its tests import. vgamepad has no wheel, and its setup would install a driver: only its files count.
pip install "${from_windows[@]}" --require-hashes --target "$site" \
    --requirement <(grep -v '^panda3d==' "$here/requirements.txt") || fail "Windows' packages cannot be downloaded."
pip download --no-deps --no-binary=:all: --require-hashes --dest "$work/wheels" \
    --requirement <(echo "${vgamepad/-/==} --hash=sha256:$vgamepad_sha256") || fail "$vgamepad cannot be downloaded."
tar --extract --gzip --directory "$work" --file "$work/wheels/$vgamepad.tar.gz"
cp -r "$work/$vgamepad/vgamepad" "$site/"
mkdir "$site/$vgamepad.dist-info"
cp "$work/$vgamepad/PKG-INFO" "$site/$vgamepad.dist-info/METADATA"

# Compiled once, here: the tests use it read-only.
python3.11 -m compileall -q -j 0 -x '/lib2to3/tests/' "$python/Lib" "$site"
env -u DISPLAY WINEPREFIX="$work/ready/prefix" WINEDEBUG=-all WINEARCH=win64 WINEDLLOVERRIDES='mscoree,mshtml=' \
    wineboot --init >/dev/null 2>&1 || fail "Wine cannot be started."
env WINEPREFIX="$work/ready/prefix" wineserver --wait

echo "$version" >"$work/ready/version"
rm -rf "$folder"
mv "$work/ready" "$folder"
echo "$folder is complete"
