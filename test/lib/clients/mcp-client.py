# usage: mcp-client.py SERVER ARGS...: starts a tool server, whose standard input and output are pipes here, and makes 4 calls; prints their answers' size.
import json
import subprocess
import sys

server = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
total = 0
for number in range(4):
    call = {'jsonrpc': '2.0', 'id': number, 'method': 'tools/call' if number else 'initialize', 'params': {'pad': 'q' * (20000 * number)}}
    server.stdin.write(json.dumps(call).encode() + b'\n')
    server.stdin.flush()
    line = server.stdout.readline()
    while not line.startswith(b'{'):
        line = server.stdout.readline()
    total += len(line)
server.stdin.close()
server.wait()
print(total)
