// Every way to move bytes of a file, from real programs: sums are exact, paths absolute, each thing told once; descriptors that are shared, copied or used again
// stay apart.
import assert from 'node:assert/strict';
import { mkdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type Ended, eventsOf, mustProbe, oispHost, type SeenEvent, scratch } from '../lib/run.js';

const PYTHON = `
import os, sys
# pwrite, writev, pwritev and pread at positions of their own
fd = os.open('positions', os.O_RDWR | os.O_CREAT, 0o600)
os.pwrite(fd, b'x' * 100, 1000)
os.writev(fd, [b'ab', b'cde'])
os.pwritev(fd, [b'1', b'22'], 50)
os.pread(fd, 7, 1001)
os.close(fd)
# relative to an open folder
folder = os.open('sub', os.O_RDONLY | os.O_DIRECTORY)
fd = os.open('inner', os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=folder)
os.write(fd, b'inner')
os.close(fd)
os.rename('inner', 'renamed', src_dir_fd=folder, dst_dir_fd=folder)
os.unlink('renamed', dir_fd=folder)
os.mkdir('gone')
os.rmdir('../work/gone')
# from file to file inside the kernel
source = os.open('source', os.O_RDONLY)
to = os.open('copied', os.O_WRONLY | os.O_CREAT, 0o600)
os.copy_file_range(source, to, 300)
os.close(to)
to = os.open('sent', os.O_WRONLY | os.O_CREAT, 0o600)
os.sendfile(to, source, 200, 50)
os.close(to)
os.close(source)
# one descriptor number, two files, no close in between
a = os.open('first', os.O_WRONLY | os.O_CREAT, 0o600)
b = os.open('second', os.O_WRONLY | os.O_CREAT, 0o600)
os.write(a, b'11')
os.dup2(b, a)
os.write(a, b'2222')
os.closerange(a, b + 1)
# cut, by descriptor and by name
fd = os.open('source', os.O_RDWR)
os.ftruncate(fd, 10)
os.close(fd)
os.truncate('copied', 1)
# shared with a child, which writes; never closed by anybody
fd = os.open('shared', os.O_WRONLY | os.O_CREAT, 0o600)
os.write(fd, b'parent')
if os.fork() == 0:
    os.write(fd, b'the child')
    os._exit(0)
os.wait()
os._exit(0)
`;

const SCRIPT = `set -eu
echo one > plain.txt
echo three >> plain.txt
cat plain.txt > /dev/null
mv plain.txt sub/moved.txt
cd sub
rm ../sub/./moved.txt
cd ..
cp source /dev/shm/$UNIQUE
rm /dev/shm/$UNIQUE
python3 ops.py
`;

describe('files', () => {
  const unique = `oisp-files-${process.pid}`;
  let work: string;
  let ended: Ended;
  let events: SeenEvent[];

  before(async () => {
    mustProbe();
    const folder = realpathSync(scratch('files'));
    work = join(folder, 'work');
    mkdirSync(join(work, 'sub'), { recursive: true });
    writeFileSync(join(work, 'source'), 's'.repeat(1000));
    writeFileSync(join(work, 'ops.py'), PYTHON);
    const output = join(folder, 'out.jsonl');
    ended = await oispHost(['run', '--json', '--format', 'jsonl', '--output', output, '--', 'sh', '-c', SCRIPT], { cwd: work, env: { UNIQUE: unique } });
    events = eventsOf(output).filter(({ event_type }) => event_type.startsWith('file.'));
  });
  after(() => rmSync(join('/dev/shm', unique), { force: true }));

  const of = (type: string, path: string) => events.filter((event) => event.event_type === type && (event.data['path'] ?? event.data['old_path']) === path);
  const own = (type: string, name: string) => of(type, join(work, name));
  const sums = (found: SeenEvent[]) => found.map(({ data }) => [data['bytes_written'] ?? data['bytes_read'], data['offset']]);

  it('the script ran', () => assert.equal(ended.code, 0, ended.stderr));

  it('a redirection is one write: the descriptor that was opened and the one that was written are one file', () => {
    assert.deepEqual(
      own('file.write', 'plain.txt').map(({ data }) => [data['bytes_written'], data['offset'], data['created']]),
      [
        [4, 0, true],
        [6, 4, false],
      ],
    );
    assert.deepEqual(sums(own('file.read', 'plain.txt')), [[10, 0]]);
    assert.equal(own('file.open', 'plain.txt').length, 2);
  });

  it('positions are those of the calls', () => {
    assert.deepEqual(sums(own('file.write', 'positions')), [[108, 0]]);
    assert.deepEqual(sums(own('file.read', 'positions')), [[7, 1001]]);
  });

  it('names relative to a folder, an open folder or with dots are absolute', () => {
    assert.deepEqual(sums(own('file.write', 'sub/inner')), [[5, 0]]);
    assert.deepEqual(
      own('file.rename', 'sub/inner').map(({ data }) => data['new_path']),
      [join(work, 'sub/renamed')],
    );
    assert.equal(own('file.delete', 'sub/renamed').length, 1);
    assert.equal(own('file.delete', 'sub/moved.txt').length, 1);
    assert.deepEqual(
      own('file.rename', 'plain.txt').map(({ data }) => data['new_path']),
      [join(work, 'sub/moved.txt')],
    );
    const [folder] = own('file.delete', 'gone');
    assert.deepEqual(folder?.data['file'], { name: 'gone', is_directory: true });
  });

  it('another mount has its own paths', () => {
    const path = join('/dev/shm', unique);
    assert.deepEqual(sums(of('file.write', path)), [[1000, 0]]);
    assert.equal(of('file.delete', path).length, 1);
  });

  it('bytes that the kernel copies count on both sides', () => {
    assert.deepEqual(sums(own('file.write', 'copied')).at(0), [300, 0]);
    assert.deepEqual(sums(own('file.write', 'sent')), [[50, 0]]);
    const python = own('file.write', 'sent')[0]?.process?.pid;
    assert.deepEqual(sums(own('file.read', 'source').filter(({ process }) => process?.pid === python)), [[350, 0]]);
  });

  it('a descriptor that leads to another file ends the one before', () => {
    assert.deepEqual(sums(own('file.write', 'first')), [[2, 0]]);
    assert.deepEqual(
      own('file.write', 'second').map(({ data }) => [data['bytes_written'], data['created']]),
      [[4, true]],
    );
  });

  it('a cut file says so', () => {
    assert.deepEqual(
      own('file.write', 'source').map(({ data }) => [data['bytes_written'], data['truncated']]),
      [[0, true]],
    );
    assert.equal(own('file.write', 'copied').at(-1)?.data['truncated'], true);
  });

  it('each process tells of its own part of a shared file, also when nobody closes it', () => {
    const shared = own('file.write', 'shared').toSorted((a, b) => Number(a.data['offset']) - Number(b.data['offset']));
    assert.deepEqual(sums(shared), [
      [6, 0],
      [9, 6],
    ]);
    assert.notEqual(shared[0]?.process?.pid, shared[1]?.process?.pid);
  });

  it('nothing is told twice', () => {
    assert.equal(new Set(events.map(({ event_id }) => event_id)).size, events.length);
  });
});
