# usage: mcp-server.py [greeting]: a tool server on standard input and output, one JSON-RPC message a line; with "greeting" it says a line of its own first.
import json
import sys

if len(sys.argv) > 1:
    print('tool server ready', flush=True)
for line in sys.stdin:
    message = json.loads(line)
    if 'id' in message:
        print(json.dumps({'jsonrpc': '2.0', 'id': message['id'], 'result': {'echo': message['method'], 'pad': 'r' * 300}}), flush=True)
