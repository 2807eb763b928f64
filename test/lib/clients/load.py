# usage: load.py PORT WRITES SIZE: one POST /sink whose body is WRITES calls of SSL_write_ex with SIZE bytes each, as fast as one process can.
import socket
import ssl
import sys

port, writes, size = (int(argument) for argument in sys.argv[1:4])
context = ssl._create_unverified_context()
with socket.create_connection(('127.0.0.1', port)) as plain, context.wrap_socket(plain, server_hostname='localhost') as tls:
    head = f'POST /sink HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/octet-stream\r\ncontent-length: {writes * size}\r\nconnection: close\r\n\r\n'
    tls.sendall(head.encode())
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    for _ in range(writes):
        if tls.write(payload) != size:
            raise SystemExit('a write was cut short')
    answer = b''
    while True:
        part = tls.recv(65536)
        if not part:
            break
        answer += part
print(len(head), answer.split(b'\r\n\r\n', 1)[1].decode())
