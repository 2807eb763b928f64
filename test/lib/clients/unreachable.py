# Connects to where nothing answers, inside a network namespace whose routes say how: prints the errors as one line of JSON.
import json
import os
import socket

# Until a SYN without an answer is given up: sent twice.
SYNS = 1


def failure(address):
    sock = socket.socket()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, SYNS)
    result = sock.connect_ex((address, 9))
    sock.close()
    return result


names = {'silent': '198.51.100.7', 'unreachable': '203.0.113.7', 'prohibited': '192.0.2.7', 'no_route': '192.168.77.7'}
print(json.dumps({'pid': os.getpid(), 'failures': {name: [address, failure(address)] for name, address in names.items()}}), flush=True)
