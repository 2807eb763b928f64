// usage: tool-loop.mjs URL openai|anthropic: asks with a tool, gives back what the tool did, and asks once more with the whole history; prints the id of the call.
const [url, format] = process.argv.slice(2);
const openai = format === 'openai';

async function ask(messages, wish) {
  const body = openai
    ? { model: 'gpt-4o', messages, tools: [{ type: 'function', function: { name: 'run_command', parameters: { type: 'object' } } }] }
    : { model: 'claude-sonnet-4-5', max_tokens: 64, messages, tools: [{ name: 'run_command', input_schema: { type: 'object' } }] };
  const headers = { 'content-type': 'application/json', 'x-mock': wish, ...(openai ? {} : { 'anthropic-version': '2023-06-01' }) };
  const response = await fetch(`${url}${openai ? '/v1/chat/completions' : '/v1/messages'}`, { method: 'POST', headers, body: JSON.stringify(body) });
  return response.json();
}

const messages = [{ role: 'user', content: 'What time is it?' }];
const first = await ask(messages, 'tool');
const asked = openai ? first.choices[0].message : { role: 'assistant', content: first.content };
const id = openai ? asked.tool_calls[0].id : asked.content.find((block) => block.type === 'tool_use').id;
messages.push(
  asked,
  openai ? { role: 'tool', tool_call_id: id, content: 'noon' } : { role: 'user', content: [{ type: 'tool_result', tool_use_id: id, content: 'noon' }] },
);
const second = await ask(messages, 'no-tool');
messages.push(openai ? second.choices[0].message : { role: 'assistant', content: second.content }, { role: 'user', content: 'Thank you.' });
await ask(messages, 'no-tool');
process.stdout.write(`${id}\n`);
