# Makes one connection of each kind and prints, as one line of JSON, what came of each: the ports, the errors and the bytes that the events must show.
import json
import os
import socket
import ssl
import sys
import time

folder = sys.argv[1]
facts = {'pid': os.getpid()}


def ports(sock):
    return [sock.getsockname()[1], sock.getpeername()[1]]


def received(sock, count):
    got = b''
    while len(got) < count:
        part = sock.recv(count - len(got))
        if not part:
            raise EOFError
        got += part
    return got


def tcp():
    server = socket.create_server(('127.0.0.1', 0))
    client = socket.create_connection(server.getsockname())
    accepted, _ = server.accept()
    facts['tcp'] = ports(client)
    for size in (1, 20_000, 79_999):
        client.sendall(b'q' * size)
        received(accepted, size)
    accepted.sendall(b'a' * 333)
    received(client, 333)
    client.close()
    accepted.recv(1)
    accepted.close()
    server.close()


def tcp_ipv6_without_waiting():
    server = socket.create_server(('::1', 0), family=socket.AF_INET6)
    client = socket.socket(socket.AF_INET6)
    client.setblocking(False)
    facts['tcp6_result'] = client.connect_ex(server.getsockname()[:2])
    accepted, _ = server.accept()
    facts['tcp6'] = ports(client)
    accepted.sendall(b'hello')
    accepted.close()
    time.sleep(0.05)
    client.recv(10)
    client.close()
    server.close()


def refused():
    server = socket.create_server(('127.0.0.1', 0))
    port = server.getsockname()[1]
    server.close()
    blocking = socket.socket()
    facts['refused'] = [port, blocking.connect_ex(('127.0.0.1', port))]
    blocking.close()
    patient = socket.socket()
    patient.setblocking(False)
    patient.connect_ex(('127.0.0.1', port))
    # Asks again, as programs do that poll: the same failure is no second attempt.
    facts['refused_again'] = patient.connect_ex(('127.0.0.1', port))
    patient.close()


def never_begun():
    sock = socket.socket(socket.AF_INET6)
    facts['invalid'] = sock.connect_ex(('fe80::1', 9))
    sock.close()


def abandoned():
    """The backlog is full, so the connection is never made; the program gives up."""
    server = socket.socket()
    server.bind(('127.0.0.1', 0))
    server.listen(0)
    waiting = []
    for _ in range(2):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(server.getsockname())
        waiting.append(sock)
    time.sleep(0.1)
    facts['abandoned'] = waiting[1].getsockname()[1]
    waiting[1].close()
    waiting[0].close()
    server.close()


def udp(family, address):
    server = socket.socket(family, socket.SOCK_DGRAM)
    server.bind((address, 0))
    client = socket.socket(family, socket.SOCK_DGRAM)
    client.connect(server.getsockname())
    for _ in range(3):
        client.send(b'q' * 100)
        _, peer = server.recvfrom(1000)
        server.sendto(b'a' * 40, peer)
        client.recv(1000, socket.MSG_PEEK)
        client.recv(1000)
    told = ports(client)
    client.close()
    server.close()
    return told


def udp_without_connect():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(('127.0.0.1', 0))
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.sendto(b'12345', server.getsockname())
    # The way addresses are sorted: it sends nothing, and is told by nothing.
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    probe.connect(server.getsockname())
    facts['udp_probe'] = probe.getsockname()[1]
    probe.close()
    facts['udp_open'] = [sock.getsockname()[1], server.getsockname()[1]]
    # Stays open: the end of the process is the end of the flow.
    return [sock, server]


def unix():
    for name in (folder + '/named.sock', '\0oisp-abstract'):
        server = socket.socket(socket.AF_UNIX)
        server.bind(name)
        server.listen()
        client = socket.socket(socket.AF_UNIX)
        client.connect(name)
        accepted, _ = server.accept()
        for sock in (accepted, client, server):
            sock.close()
    client = socket.socket(socket.AF_UNIX)
    facts['unix_missing'] = client.connect_ex(folder + '/missing.sock')
    client.close()


def hello():
    """Sends a ClientHello to a server that says nothing."""
    server = socket.create_server(('127.0.0.1', 0))
    client = socket.create_connection(server.getsockname())
    facts['hello'] = ports(client)
    accepted, _ = server.accept()
    context = ssl.create_default_context()
    context.set_alpn_protocols(['h2', 'http/1.1'])
    client.setblocking(False)
    tls = context.wrap_socket(client, server_hostname='api.hello.test', do_handshake_on_connect=False)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    facts['hello_bytes'] = len(accepted.recv(65536))
    tls.close()
    accepted.close()
    server.close()


tcp()
tcp_ipv6_without_waiting()
refused()
never_begun()
abandoned()
facts['udp'] = udp(socket.AF_INET, '127.0.0.1')
facts['udp6'] = udp(socket.AF_INET6, '::1')
kept = udp_without_connect()
unix()
hello()
print(json.dumps(facts), flush=True)
