"""Runs a server and records how many bytes of each file it writes have reached the disk.

    python watched_fsync.py RECORD PROGRAM ARGUMENT…

Every fsync and fdatasync of the server waits in the kernel (seccomp, user notification) for a watching process. The
watcher reads the file's size, syncs the file and appends "device inode size" to RECORD; then the server goes on. So
every recorded byte is durable, and every byte that the server acknowledged after a sync is recorded. It needs Linux 5.5
and no privileges. This file runs as a script: the program replaces the process and keeps its id.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import select
import socket
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NoReturn

# Each machine has its number in the kernel's audit list, and the numbers of fsync and fdatasync.
MACHINES = {"x86_64": (0xC000003E, (74, 75)), "aarch64": (0xC00000B7, (82, 83))}
SECCOMP = {"x86_64": 317, "aarch64": 277}
NO_NEW_PRIVILEGES = 38
MODE_FILTER, NEW_LISTENER = 1, 8
ALLOW, USER_NOTIFICATION = 0x7FFF0000, 0x7FC00000
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
RECEIVE, SEND = 0xC0502100, 0xC0182101
NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # id, pid, flags, number, machine, instruction, arguments
ANSWER = struct.Struct("=QqiI")  # id, value, error, flags


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def main(record: str, *command: str) -> NoReturn:
    """Start a watcher and become the program."""
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        sys.exit(f"syncs can be watched on Linux ({', '.join(MACHINES)}), not on {sys.platform} {platform.machine()}")
    here, there = socket.socketpair()
    _detach(there, record, os.getpid())
    there.close()  # so that a watcher that dies is noticed
    listener = _listen_to_own_syncs()
    with here:
        socket.send_fds(here, [b"L"], [listener])
        if here.recv(1) != b"R":
            sys.exit("the process that watches fsync could not start")
    os.execv(command[0], command)  # the descriptor that listens closes itself here


def _detach(channel: socket.socket, record: str, server: int) -> None:
    """Start the watcher as no child of ours: the server must not find a child that it does not know."""
    if child := os.fork():
        os.waitpid(child, 0)
        return
    if os.fork() == 0:
        with contextlib.suppress(KeyboardInterrupt):
            _watch(channel, record, server)
    os._exit(0)


def _listen_to_own_syncs() -> int:
    """Make every fsync of this process wait for the reader of the returned descriptor."""
    kernel = ctypes.CDLL(None, use_errno=True)
    machine, (fsync, fdatasync) = MACHINES[platform.machine()]
    steps = (
        (LOAD_WORD, 0, 0, 4),  # the machine of this call
        (JUMP_IF_EQUAL, 0, 4, machine),
        (LOAD_WORD, 0, 0, 0),  # its number
        (JUMP_IF_EQUAL, 1, 0, fsync),
        (JUMP_IF_EQUAL, 0, 1, fdatasync),
        (RETURN, 0, 0, USER_NOTIFICATION),
        (RETURN, 0, 0, ALLOW),
    )
    program = _Program(len(steps), b"".join(struct.pack("=HBBI", *step) for step in steps))
    kernel.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    listener = int(kernel.syscall(SECCOMP[platform.machine()], MODE_FILTER, NEW_LISTENER, ctypes.byref(program)))
    if listener < 0:
        problem = os.strerror(ctypes.get_errno())
        sys.exit(f"the kernel does not let us watch fsync ({problem}): allow seccomp with user notifications")
    return listener


def _watch(channel: socket.socket, record: str, server: int) -> None:
    _, descriptors, *_ = socket.recv_fds(channel, 1, 1)
    if not descriptors:  # the kernel refused, and the server has said so
        return
    [listener] = descriptors
    died = os.pidfd_open(server)
    notes = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    channel.send(b"R")
    channel.close()
    waiting = select.poll()
    for descriptor in (listener, died):
        waiting.register(descriptor, select.POLLIN)
    while dict(waiting.poll()).keys() == {listener}:
        with contextlib.suppress(OSError):  # the server was killed in the middle
            _let_one_through(listener, notes)


def _let_one_through(listener: int, notes: int) -> None:
    request = bytearray(NOTIFICATION.size)
    fcntl.ioctl(listener, RECEIVE, request)
    identity, thread, *_, descriptor = NOTIFICATION.unpack(request)[:7]
    error = _sync(f"/proc/{thread}/fd/{descriptor}", notes)
    fcntl.ioctl(listener, SEND, ANSWER.pack(identity, 0, -error, 0))


def _sync(path: str, notes: int) -> int:
    """Sync the file and record its size; return the error number, 0 for success."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as refused:
        return refused.errno or errno.EIO
    try:
        before = os.fstat(file)
        os.fdatasync(file)
        os.write(notes, f"{before.st_dev} {before.st_ino} {before.st_size}\n".encode())
    except OSError as failed:
        return failed.errno or errno.EIO
    finally:
        os.close(file)
    return 0


if __name__ == "__main__":
    main(*sys.argv[1:])
