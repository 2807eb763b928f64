# usage: chat.py URL FOLDER [wait]: posts plain.json, stream.json and tool.json with urllib (libssl's *_ex functions); with "wait" only after a line came in.
import os
import ssl
import sys
import urllib.request

url, folder = sys.argv[1], sys.argv[2]
context = ssl._create_unverified_context()
if len(sys.argv) > 3 and sys.argv[3] == 'wait':
    print('waiting', flush=True)
    sys.stdin.readline()

headers = {'content-type': 'application/json', 'authorization': 'Bearer ' + os.environ.get('OISP_TEST_KEY', 'test-key')}
for name, path in (('plain', '/v1/chat/completions'), ('stream', '/v1/chat/completions'), ('tool', '/v1/messages'), ('large', '/v1/chat/completions')):
    file = os.path.join(folder, name + '.json')
    if not os.path.exists(file):
        continue
    with open(file, 'rb') as source:
        body = source.read()
    request = urllib.request.Request(url + path, data=body, headers=headers, method='POST')
    with urllib.request.urlopen(request, context=context) as response:
        print(name, response.status, len(response.read()), flush=True)
