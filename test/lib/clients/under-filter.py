# usage: under-filter.py NAME,NAME,... PROGRAM [ARG...]: runs a program that gets EPERM for every system call but those, as systemd's SystemCallFilter= does.
import ctypes
import os
import platform
import re
import struct
import subprocess
import sys

names, program = sys.argv[1].split(','), sys.argv[2:]
macros = subprocess.run(['cc', '-E', '-dM', '-xc', '-'], input='#include <asm/unistd.h>\n', capture_output=True, text=True, check=True).stdout
known = {name: int(number) for name, number in re.findall(r'^#define __NR_(\w+) (\d+)$', macros, re.M)}
# Names of other architectures and of newer kernels have no number here.
numbers = sorted({known[name] for name in names if name in known})
ARCH = {'x86_64': 0xC000003E, 'aarch64': 0xC00000B7}[platform.machine()]
ALLOW, EPERM = 0x7FFF0000, 0x00050001
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
code = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, ARCH), (RETURN, 0, 0, EPERM), (LOAD, 0, 0, 0)]
for number in numbers:
    code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]
code.append((RETURN, 0, 0, EPERM))
filters = ctypes.create_string_buffer(b''.join(struct.pack('=HBBI', *instruction) for instruction in code))


class Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('filters', ctypes.c_void_p)]


libc = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
argument = Program(len(code), ctypes.cast(filters, ctypes.c_void_p))
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(argument), 0, 0):
    raise SystemExit(f'the filter was refused: {os.strerror(ctypes.get_errno())}')
os.execvp(program[0], program)
