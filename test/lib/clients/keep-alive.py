# usage: keep-alive.py PORT NAME CONNECTIONS ROUNDS [wait]: asyncio streams (TLS over memory BIOs) that POST /sink?id=NAME-... on every connection at once; with "wait" it pauses for a line after the first; prints how many were answered.
import asyncio
import ssl
import sys

port, name, connections, rounds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
context = ssl._create_unverified_context()
go = asyncio.Event()
waiting = 0


def pause():
    print('waiting', flush=True)
    sys.stdin.readline()


async def after_first_round():
    global waiting
    waiting += 1
    if waiting < connections:
        await go.wait()
        return
    await asyncio.to_thread(pause)
    go.set()


async def exchange(reader, writer, label, size):
    head = f'POST /sink?id={label}. HTTP/1.1\r\nhost: localhost\r\ncontent-length: {size}\r\n\r\n'
    writer.write(head.encode())
    writer.write(b'x' * size)
    await writer.drain()
    answer = (await reader.readuntil(b'\r\n\r\n')).decode().lower()
    length = int(answer.split('content-length:')[1].split('\r\n')[0])
    await reader.readexactly(length)
    return int(' 200 ' in answer.split('\r\n')[0])


async def connection(number):
    reader, writer = await asyncio.open_connection('127.0.0.1', port, ssl=context, server_hostname='localhost')
    answered = 0
    for round_ in range(rounds):
        if round_ == 1 and sys.argv[5:] == ['wait']:
            await after_first_round()
        answered += await exchange(reader, writer, f'{name}-{round_}-{number}', 1 + (number * 977 + round_ * 131) % 40000)
    writer.close()
    return answered


async def main():
    print(sum(await asyncio.gather(*(connection(i) for i in range(connections)))))


asyncio.run(main())
