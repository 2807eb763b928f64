// usage: mixed.mjs URL COUNT: posts COUNT chat requests one after the other, every third one too large for a small ring, and prints how many were answered.
const [url, count] = process.argv.slice(2);
let answered = 0;
for (let i = 0; i < Number(count); i++) {
  const content = (i % 3 === 2 ? 'L' : 's').repeat(i % 3 === 2 ? 400_000 : 500);
  const body = JSON.stringify({ model: `gpt-mixed-${i}`, messages: [{ role: 'user', content }] });
  const response = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  await response.arrayBuffer();
  if (response.status === 200) answered++;
}
process.stdout.write(`${answered}\n`);
