# Goes past every bound of the network programs, one after another; prints what it did as one line of JSON. usage: bounds.py RESOLVER
import ctypes
import fcntl
import json
import os
import resource
import socket
import struct
import sys

resolver = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)
facts = {'pid': os.getpid()}
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def question(number):
    name = b''.join(bytes([len(part)]) + part for part in (b'n%d' % number, b'bounds', b'test'))
    return struct.pack('>HHHHHH', number, 0x100, 1, 0, 0, 0) + name + b'\0\0\1\0\1'


class Iovec(ctypes.Structure):
    _fields_ = [('base', ctypes.c_char_p), ('len', ctypes.c_size_t)]


class Mmsghdr(ctypes.Structure):
    _fields_ = [
        ('name', ctypes.c_void_p), ('name_len', ctypes.c_uint32), ('iov', ctypes.POINTER(Iovec)), ('iov_len', ctypes.c_size_t),
        ('control', ctypes.c_void_p), ('control_len', ctypes.c_size_t), ('flags', ctypes.c_int), ('pad', ctypes.c_int), ('len', ctypes.c_uint32),
    ]


def many_messages(count):
    """More messages in one sendmmsg than are copied."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((resolver, 53))
    texts = [question(i) for i in range(count)]
    iovs = [Iovec(text, len(text)) for text in texts]
    messages = (Mmsghdr * count)(*[Mmsghdr(None, 0, ctypes.pointer(iov), 1, None, 0, 0, 0, 0) for iov in iovs])
    facts['messages'] = libc.sendmmsg(sock.fileno(), messages, count, 0)
    facts['message_bytes'] = sum(map(len, texts))
    sock.close()


def many_pieces():
    """More buffers in one writev than are looked at; the last two have 5 bytes each."""
    sock = socket.create_connection((resolver, 53))
    message = question(7)
    pieces = [struct.pack('>H', len(message)), message] + [b''] * 5 + [b'\0'] + [b'12345'] * 2
    facts['pieces'] = os.writev(sock.fileno(), pieces)
    sock.close()


def long_hello(size):
    """A ClientHello, by its first bytes, longer than is kept."""
    server = socket.create_server(('127.0.0.1', 0))
    client = socket.create_connection(server.getsockname())
    client.sendall(b'\x16\x03\x01' + struct.pack('>H', size - 5) + b'\x01' + b'\0' * (size - 6))
    client.sendall(b'\x16\x03\x01\0\x05\x01')
    facts['hello'] = size
    client.close()
    server.close()


def high_descriptors():
    """Datagram sockets past the descriptors that the end of a process finds."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(('127.0.0.1', 0))
    told = []
    for fd in (1023, 1500, 1600):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect(server.getsockname())
        high = fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD, fd)
        os.write(high, b'x')
        told.append(sock.getsockname()[1])
        if fd == 1500:
            os.close(high)
    facts['high'] = told


def many_sockets(pairs):
    """More connections at once than are remembered: two sockets each, for both ends are this process's."""
    server = socket.create_server(('127.0.0.1', 0), backlog=64)
    open_ = []
    for _ in range(pairs):
        client = socket.create_connection(server.getsockname())
        open_.append((client, server.accept()[0]))
    for pair in open_:
        for sock in pair:
            # Ends with a reset: no socket waits for the other's.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            sock.close()
    after = socket.create_connection(server.getsockname())
    facts['pairs'] = pairs
    facts['after'] = after.getsockname()[1]
    after.close()


many_messages(40)
many_pieces()
long_hello(5000)
high_descriptors()
many_sockets(8200)
print(json.dumps(facts), flush=True)
os._exit(0)
