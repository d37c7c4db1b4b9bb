"""Runs a command on a Linux kernel of its own, for what needs devices that this one lacks, such as /dev/uinput.

QEMU boots the kernel that provision.sh fetched, without KVM. The command finds this machine's files at their places,
read-only underneath: what it writes goes into the virtual machine's memory and is gone with it. It runs as root, has
no network, and can plug in input devices. ::

    python tests/pad_vm/run_in_vm.py [--timeout SECONDS] COMMAND...

Output and exit code are the command's, except 124: it took too long, and 125: the virtual machine failed. With
``--check`` nothing is booted; the exit code is 1 and a line says so if something is missing.
"""

import argparse
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

PROVISION = Path(__file__).with_name("provision.sh")
CACHE = Path(__file__).parents[2] / ".cache" / "uinput-vm"
QEMU = "qemu-system-x86_64"
MEMORY_MB = 1024
TIMED_OUT, FAILED = 124, 125  # as timeout(1) has them

# The first process: it finds the modules, the command and busybox in the initial file system.
INIT = """#!/bin/sh
export PATH=/bin
fail() {
    echo "$1" >/dev/ttyS1
    reboot -f
}
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /lib/modules
cp -r /modules "/lib/modules/$(uname -r)"
depmod
for module in /modules/*.ko; do
    module=$(basename "$module" .ko)
    modprobe "$module" || fail "the kernel module $module cannot be loaded"
done

mkdir /host /memory /merged
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /host || fail "no access to the files"
mount -t tmpfs memory /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work overlay /merged || fail "no overlay"
for folder in dev proc sys; do
    mkdir -p /merged/$folder
    mount --move /$folder /merged/$folder
done
mkdir -p /merged/run /merged/tmp /merged/dev/shm
mount -t tmpfs run /merged/run
mount -t tmpfs shm /merged/dev/shm

cp /command /merged/run/command
chroot /merged /bin/sh /run/command </merged/dev/null >/merged/dev/ttyS1 2>&1
echo "@TOKEN@ $?" >/merged/dev/ttyS1
reboot -f
"""
BUSYBOX_PROGRAMS = ("basename", "chroot", "cp", "depmod", "mkdir", "modprobe", "mount", "reboot", "sh", "uname")

FOLDER, FILE, LINK, DEVICE = 0o040755, 0o100755, 0o120777, 0o020600  # type and mode


def cpio(entries: list[tuple[str, int, bytes]]) -> bytes:
    """Return an archive in the kernel's format, "newc", of (name, type and mode, content) each."""
    archive = bytearray()
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        major, minor = (5, 1) if mode == DEVICE else (0, 0)  # the console is the only one
        path = name.encode() + b"\0"
        header = (number, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(path), 0)
        archive += b"070701" + b"".join(b"%08X" % value for value in header) + path
        archive += b"\0" * (-len(archive) % 4) + content
        archive += b"\0" * (-len(archive) % 4)
    return bytes(archive)


def initial_files(cache: Path, busybox: Path, command: str, token: str) -> bytes:
    """Return the archive of what the kernel starts with."""
    return cpio(
        [
            *((name, FOLDER, b"") for name in ("bin", "dev", "proc", "sys", "modules")),
            ("dev/console", DEVICE, b""),
            ("bin/busybox", FILE, busybox.read_bytes()),
            *((f"bin/{name}", LINK, b"busybox") for name in BUSYBOX_PROGRAMS),
            *((f"modules/{path.name}", FILE, path.read_bytes()) for path in (cache / "modules").iterdir()),
            ("command", FILE, command.encode()),
            ("init", FILE, INIT.replace("@TOKEN@", token).encode()),
        ]
    )


def missing(cache: Path) -> str:
    """Say what is missing and how to get it; empty if nothing is."""
    lacks = [program for program in (QEMU, "busybox") if shutil.which(program) is None]
    if not (cache / "vmlinuz").exists():
        lacks.append(f"kernel in {cache}")
    return f"no {' and no '.join(lacks)}, expected what `{PROVISION}` provides: run it." if lacks else ""


def run(command: list[str], cache: Path, timeout_s: float) -> int:
    """Run a command in the current folder of a virtual machine, pass its output on, and return its exit code."""
    token = secrets.token_hex(16)  # marks the line with the exit code: nothing that the command prints can
    script = (
        f"cd {shlex.quote(os.getcwd())}\n"
        f"export PATH={shlex.quote(os.environ['PATH'])} HOME=/run LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1\n"
        f"exec {shlex.join(command)}\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        initial, console = Path(folder, "initial"), Path(folder, "console")
        initial.write_bytes(initial_files(cache, Path(shutil.which("busybox") or ""), script, token))
        machine = [
            *(QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-accel", "tcg", "-machine", "pc", "-cpu", "max", "-m", str(MEMORY_MB)),
            *("-kernel", str(cache / "vmlinuz"), "-initrd", str(initial)),
            *("-append", "console=ttyS0 panic=-1 mitigations=off nokaslr tsc=reliable"),
            *("-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"),
            *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
            *("-serial", f"file:{console}", "-serial", "stdio"),  # what the kernel says, what the command says
        ]
        late = threading.Event()
        with subprocess.Popen(
            machine,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:

            def stop() -> None:
                late.set()
                process.kill()

            timer = threading.Timer(timeout_s, stop)
            timer.start()
            try:
                code = pass_on(process, token)
            finally:
                timer.cancel()
                process.kill()
        if code is not None:
            return code
        if late.is_set():
            sys.stderr.write(f"run_in_vm.py: stopped after {timeout_s:g} s; give a longer --timeout.\n")
            return TIMED_OUT
        last = console.read_text(errors="replace").splitlines()[-30:] if console.exists() else []
        sys.stderr.write(
            "\n".join(["run_in_vm.py: the virtual machine ended before the command. Its kernel said last:", *last, ""])
        )
        return FAILED


def pass_on(process: subprocess.Popen[str], token: str) -> int | None:
    """Write the command's output as it comes and return its exit code; None if there was none."""
    assert process.stdout is not None
    for line in process.stdout:
        text, found, code = line.partition(token)
        sys.stdout.write(text)
        sys.stdout.flush()
        if found:
            return int(code)
    return None


def main() -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(description="Runs a command on a Linux kernel of its own.")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder that provision.sh filled (%(default)s)")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds, boot included (%(default)g)")
    parser.add_argument("--check", action="store_true", help="only say what is missing, if anything")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="what to run, with its arguments")
    arguments = parser.parse_args()
    lack = missing(arguments.cache)
    if lack:
        sys.stderr.write(f"run_in_vm.py: {lack}\n")
        return 1 if arguments.check else FAILED
    if arguments.check:
        return 0
    if not arguments.command:
        parser.error("no command")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # not without ending the machine
    return run(arguments.command, arguments.cache, arguments.timeout)


if __name__ == "__main__":
    sys.exit(main())
