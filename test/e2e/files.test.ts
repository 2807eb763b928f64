// Every way to move bytes of a file, from real programs: sums are exact, paths absolute, each thing told once; descriptors that are shared, copied or used again
// stay apart.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type Ended, eventsOf, jsonLine, mustProbe, oispHost, ROOT, type SeenEvent, scratch } from '../lib/run.js';

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
exec 7>&1 > whole.log
echo begun
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
: > empty
echo once > twice
: > twice
sh -c 'echo "from a child" > child.txt'
dd if=source of=block bs=10 count=3 seek=2 conv=notrunc 2>/dev/null
cat <<END > here.txt
$UNIQUE
END
(mv source moved/../sub/source; mv sub/source moved)
mv moved/source /dev/shm/$UNIQUE
printf '\\101' | dd of=/dev/shm/$UNIQUE bs=1 seek=3 conv=notrunc 2>/dev/null
rm -r moved
echo ended
exec >&7
(exec 7>&- > background.log 2>&1; echo waits; exec sleep 60) &
echo $! > pid
until [ -s background.log ]; do sleep 0.1; done
`;

describe('files', () => {
  const unique = `oisp-files-${process.pid}`;
  let work: string;
  let ended: Ended;
  let events: SeenEvent[];
  let all: string;

  before(async () => {
    mustProbe();
    const folder = realpathSync(scratch('files'));
    work = join(folder, 'work');
    for (const name of ['sub', 'moved']) mkdirSync(join(work, name), { recursive: true });
    writeFileSync(join(work, 'source'), 's'.repeat(1000));
    writeFileSync(join(work, 'ops.py'), PYTHON);
    const output = join(folder, 'out.jsonl');
    ended = await oispHost(['run', '--json', '--format', 'jsonl', '--output', output, '--', 'sh', '-c', SCRIPT], { cwd: work, env: { UNIQUE: unique } });
    all = output;
    process.kill(Number(readFileSync(join(work, 'pid'), 'utf8')));
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
    assert.deepEqual(folder?.data['file'], { path: join(work, 'gone'), name: 'gone', is_directory: true });
  });

  it('another mount has its own paths', () => {
    const path = join('/dev/shm', unique);
    assert.deepEqual(sums(of('file.write', path))[0], [1000, 0]);
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

  const pids = (found: SeenEvent[]) => new Set(found.map(({ process: { pid } = { pid: 0 } }) => pid));
  const how = (found: SeenEvent[]) => found.map(({ data }) => [data['bytes_written'], data['created'], data['truncated']]);

  it("a shell's own output, set aside and back by every other redirection, is one write", () => {
    assert.deepEqual(sums(own('file.write', 'whole.log')), [['begun\nended\n'.length, 0]]);
  });

  it('files that are made, or cut, without a byte are told', () => {
    assert.deepEqual(how(own('file.write', 'empty')), [[0, true, false]]);
    assert.deepEqual(how(own('file.write', 'twice')), [
      [5, true, false],
      [0, false, true],
    ]);
    assert.deepEqual(
      own('file.open', 'twice').map(({ data }) => data['flags']),
      [
        ['write', 'create', 'truncate'],
        ['write', 'create', 'truncate'],
      ],
    );
  });

  it('a child writes under its own name', () => {
    const child = own('file.write', 'child.txt');
    assert.deepEqual(how(child), [[13, true, false]]);
    assert.notDeepEqual(pids(child), pids(own('file.write', 'empty')));
  });

  it('what a command was given as its standard input or output is its own', () => {
    const here = own('file.write', 'here.txt');
    assert.deepEqual(how(here), [[unique.length + 1, true, false]]);
    assert.equal(here[0]?.process?.name, 'cat');
    assert.deepEqual(sums(own('file.write', 'block')), [[10, 20]], 'all that is left of its source');
  });

  it('a move to another mount is a copy and a removal; to a folder a rename', () => {
    assert.deepEqual(
      own('file.rename', 'source').map(({ data }) => data['new_path']),
      [join(work, 'sub/source')],
    );
    assert.deepEqual(
      own('file.rename', 'sub/source').map(({ data }) => data['new_path']),
      [join(work, 'moved/source')],
    );
    assert.equal(own('file.delete', 'moved/source').length, 1);
    assert.deepEqual(
      of('file.write', join('/dev/shm', unique)).map(({ data }) => [data['bytes_written'], data['offset'], data['created']]),
      [
        [1000, 0, true],
        [10, 0, true],
        [1, 3, false],
      ],
    );
    assert.deepEqual(own('file.delete', 'moved')[0]?.data['file'], { path: join(work, 'moved'), name: 'moved', is_directory: true });
  });

  it('what is still open when the capture ends is told', () => {
    const [log, ...rest] = own('file.write', 'background.log');
    assert.deepEqual([rest.length, log?.data['bytes_written'], log?.data['created']], [0, 6, true]);
  });

  it('moved bytes are told, skipped or counted as lost', () => {
    const { source } = jsonLine<{ source: { kernel: Record<string, { bytes: number }> } }>(ended.stderr, 'ledger');
    const [moved, ...parts] = ['file_moved', 'file_told', 'file_skipped', 'file_full', 'file_ring_full'].map((bucket) => source.kernel[bucket]?.bytes ?? -1);
    assert.ok(Number(moved) > 1000);
    assert.equal(
      parts.reduce((sum, part) => sum + part, 0),
      moved,
    );
    assert.deepEqual(parts.slice(2), [0, 0]);
  });

  it('every event is valid', () => {
    const validator = join(ROOT, '..', 'shared', 'tools', 'check-events.mjs');
    if (!existsSync(validator)) return;
    const { status, stdout, stderr } = spawnSync(process.execPath, [validator, all], { encoding: 'utf8', cwd: ROOT });
    assert.equal(status, 0, `${stdout}${stderr}`);
  });

  it('nothing is told twice', () => {
    assert.equal(new Set(events.map(({ event_id }) => event_id)).size, events.length);
  });
});
