#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
#
# Run a command as a container's seccomp filter would: without one system call.
#
#   refuse.py NUMBER ERROR COMMAND...
#
# Every other call is allowed; that one fails with the error, a name such as EPERM.

import ctypes
import errno
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x00050000, 0x7fff0000


class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def must(ret, what):
    if ret:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")


number, error = int(sys.argv[1]), getattr(errno, sys.argv[2])
code = b"".join(struct.pack("=HBBI", *i) for i in (
    # The number is the first field of struct seccomp_data.
    (LOAD, 0, 0, 0),
    (JUMP_IF_EQUAL, 0, 1, number),
    (RETURN, 0, 0, SECCOMP_RET_ERRNO | error),
    (RETURN, 0, 0, SECCOMP_RET_ALLOW),
))
libc = ctypes.CDLL(None, use_errno=True)
must(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
must(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(Program(len(code) // 8, code)), 0, 0),
     "PR_SET_SECCOMP")
os.execvp(sys.argv[3], sys.argv[3:])
