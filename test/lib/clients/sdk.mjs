// usage: sdk.mjs NAME URL plain|stream 1|2: a round trip of a tool with the provider's own SDK, over HTTP of that version; prints what the SDK gave the program, one JSON
// line per turn: {model, text, calls: [{name, arguments}], finish, usage: {input, output}}.
import { setTimeout as sleep } from 'node:timers/promises';

const [name, url, mode, version] = process.argv.slice(2);
const streamed = mode === 'stream';
const KEY = 'not-a-real-key-0123456789';
const QUESTION = 'What is the weather in Zürich? 世界';
const TOOL = {
  name: 'get_weather',
  description: 'Tells the weather.',
  schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
};
const RESULT = 'sunny, 24 °C';

if (version === '2') {
  const { Agent, setGlobalDispatcher } = await import('undici');
  setGlobalDispatcher(new Agent({ allowH2: true, connect: { rejectUnauthorized: false } }));
}

const say = (turn) => process.stdout.write(`${JSON.stringify(turn)}\n`);
const parsed = (text) => JSON.parse(text);

async function openai() {
  const { default: OpenAI } = await import('openai');
  const client = new OpenAI({ apiKey: KEY, baseURL: `${url}/v1`, maxRetries: 0 });
  const tools = [{ type: 'function', function: { name: TOOL.name, description: TOOL.description, parameters: TOOL.schema } }];
  const messages = [
    { role: 'system', content: 'Be short.' },
    { role: 'user', content: QUESTION },
  ];
  const ask = async () => {
    const request = { model: 'gpt-4o', messages, tools };
    const answer = streamed
      ? await client.chat.completions.stream({ ...request, stream_options: { include_usage: true } }).finalChatCompletion()
      : await client.chat.completions.create(request);
    const [{ message, finish_reason }] = answer.choices;
    const calls = (message.tool_calls ?? []).map((call) => ({ name: call.function.name, arguments: parsed(call.function.arguments) }));
    say({
      model: answer.model,
      text: message.content ?? '',
      calls,
      finish: finish_reason,
      usage: { input: answer.usage.prompt_tokens, output: answer.usage.completion_tokens },
    });
    return message;
  };
  const asked = await ask();
  messages.push(
    { role: 'assistant', content: asked.content, tool_calls: asked.tool_calls },
    { role: 'tool', tool_call_id: asked.tool_calls[0].id, content: RESULT },
  );
  await ask();
}

async function openaiResponses() {
  const { default: OpenAI } = await import('openai');
  const client = new OpenAI({ apiKey: KEY, baseURL: `${url}/v1`, maxRetries: 0 });
  const tools = [{ type: 'function', name: TOOL.name, description: TOOL.description, parameters: TOOL.schema, strict: false }];
  const input = [{ role: 'user', content: QUESTION }];
  const ask = async () => {
    const request = { model: 'gpt-5', instructions: 'Be short.', input, tools };
    const answer = streamed ? await client.responses.stream(request).finalResponse() : await client.responses.create(request);
    const calls = answer.output.filter((item) => item.type === 'function_call');
    say({
      model: answer.model,
      text: answer.output_text,
      calls: calls.map((call) => ({ name: call.name, arguments: parsed(call.arguments) })),
      finish: calls.length ? 'tool_calls' : 'stop',
      usage: { input: answer.usage.input_tokens, output: answer.usage.output_tokens },
    });
    return calls[0];
  };
  const call = await ask();
  input.push(
    { type: 'function_call', call_id: call.call_id, name: call.name, arguments: call.arguments },
    { type: 'function_call_output', call_id: call.call_id, output: RESULT },
  );
  await ask();
}

async function anthropic() {
  const { default: Anthropic } = await import('@anthropic-ai/sdk');
  const client = new Anthropic({ apiKey: KEY, baseURL: url, maxRetries: 0 });
  const tools = [{ name: TOOL.name, description: TOOL.description, input_schema: TOOL.schema }];
  const messages = [{ role: 'user', content: QUESTION }];
  const ask = async () => {
    const request = { model: 'claude-sonnet-4-5', max_tokens: 256, system: 'Be short.', messages, tools };
    const answer = streamed ? await client.messages.stream(request).finalMessage() : await client.messages.create(request);
    const calls = answer.content.filter((block) => block.type === 'tool_use');
    say({
      model: answer.model,
      text: answer.content
        .filter((block) => block.type === 'text')
        .map((block) => block.text)
        .join('\n'),
      calls: calls.map((call) => ({ name: call.name, arguments: call.input })),
      finish: answer.stop_reason === 'tool_use' ? 'tool_calls' : 'stop',
      usage: { input: answer.usage.input_tokens, output: answer.usage.output_tokens },
    });
    return answer;
  };
  const asked = await ask();
  const id = asked.content.find((block) => block.type === 'tool_use').id;
  messages.push({ role: 'assistant', content: asked.content }, { role: 'user', content: [{ type: 'tool_result', tool_use_id: id, content: RESULT }] });
  await ask();
}

async function google() {
  const { GoogleGenAI } = await import('@google/genai');
  const client = new GoogleGenAI({ apiKey: KEY, httpOptions: { baseUrl: url } });
  const config = {
    systemInstruction: 'Be short.',
    tools: [{ functionDeclarations: [{ name: TOOL.name, description: TOOL.description, parametersJsonSchema: TOOL.schema }] }],
  };
  const contents = [{ role: 'user', parts: [{ text: QUESTION }] }];
  const ask = async () => {
    const request = { model: 'gemini-2.5-flash', contents, config };
    const parts = [];
    let last;
    if (streamed) {
      for await (const chunk of await client.models.generateContentStream(request)) {
        parts.push(...(chunk.candidates?.[0]?.content?.parts ?? []));
        last = chunk;
      }
    } else {
      last = await client.models.generateContent(request);
      parts.push(...last.candidates[0].content.parts);
    }
    const calls = parts.filter((part) => part.functionCall).map((part) => part.functionCall);
    say({
      model: last.modelVersion,
      text: parts.map((part) => part.text ?? '').join(''),
      calls: calls.map((call) => ({ name: call.name, arguments: call.args })),
      finish: calls.length ? 'tool_calls' : 'stop',
      usage: { input: last.usageMetadata.promptTokenCount, output: last.usageMetadata.candidatesTokenCount },
    });
    return parts;
  };
  const parts = await ask();
  const call = parts.find((part) => part.functionCall).functionCall;
  contents.push({ role: 'model', parts }, { role: 'user', parts: [{ functionResponse: { id: call.id, name: call.name, response: { output: RESULT } } }] });
  await ask();
}

async function bedrockClient() {
  const bedrock = await import('@aws-sdk/client-bedrock-runtime');
  const handlers = await import('@smithy/node-http-handler');
  const requestHandler = version === '2' ? new handlers.NodeHttp2Handler() : new handlers.NodeHttpHandler();
  const client = new bedrock.BedrockRuntimeClient({
    region: 'eu-central-1',
    endpoint: url,
    credentials: { accessKeyId: 'AKIDNOTREAL', secretAccessKey: KEY },
    maxAttempts: 1,
    requestHandler,
  });
  return { bedrock, client };
}

async function bedrockConverse() {
  const { bedrock, client } = await bedrockClient();
  const messages = [{ role: 'user', content: [{ text: QUESTION }] }];
  const ask = async () => {
    const request = {
      modelId: 'eu.amazon.nova-lite-v1:0',
      system: [{ text: 'Be short.' }],
      messages,
      inferenceConfig: { maxTokens: 256 },
      toolConfig: { tools: [{ toolSpec: { name: TOOL.name, description: TOOL.description, inputSchema: { json: TOOL.schema } } }] },
    };
    const content = [];
    let stopReason;
    let usage;
    if (streamed) {
      const { stream } = await client.send(new bedrock.ConverseStreamCommand(request));
      for await (const event of stream) {
        const at = event.contentBlockDelta?.contentBlockIndex ?? event.contentBlockStart?.contentBlockIndex;
        if (event.contentBlockStart?.start.toolUse) content[at] = { toolUse: { ...event.contentBlockStart.start.toolUse, input: '' } };
        const delta = event.contentBlockDelta?.delta;
        if (delta?.text !== undefined) content[at] = { text: (content[at]?.text ?? '') + delta.text };
        if (delta?.toolUse) content[at].toolUse.input += delta.toolUse.input;
        if (event.messageStop) stopReason = event.messageStop.stopReason;
        if (event.metadata) usage = event.metadata.usage;
      }
      for (const block of content) if (block.toolUse) block.toolUse.input = parsed(block.toolUse.input);
    } else {
      const answer = await client.send(new bedrock.ConverseCommand(request));
      content.push(...answer.output.message.content);
      ({ stopReason, usage } = answer);
    }
    const calls = content.filter((block) => block.toolUse).map((block) => block.toolUse);
    say({
      model: request.modelId,
      text: content.map((block) => block.text ?? '').join(''),
      calls: calls.map((call) => ({ name: call.name, arguments: call.input })),
      finish: stopReason === 'tool_use' ? 'tool_calls' : 'stop',
      usage: { input: usage.inputTokens, output: usage.outputTokens },
    });
    return content;
  };
  const content = await ask();
  const { toolUseId } = content.find((block) => block.toolUse).toolUse;
  messages.push({ role: 'assistant', content }, { role: 'user', content: [{ toolResult: { toolUseId, content: [{ text: RESULT }], status: 'success' } }] });
  await ask();
}

/** Anthropic's format through invoke: the SDK gives bytes, which the program reads itself. */
async function bedrockInvoke() {
  const { bedrock, client } = await bedrockClient();
  const tools = [{ name: TOOL.name, description: TOOL.description, input_schema: TOOL.schema }];
  const messages = [{ role: 'user', content: QUESTION }];
  const modelId = 'anthropic.claude-3-5-sonnet-20241022-v2:0';
  const ask = async () => {
    const body = JSON.stringify({ anthropic_version: 'bedrock-2023-05-31', max_tokens: 256, system: 'Be short.', messages, tools });
    const request = { modelId, contentType: 'application/json', accept: 'application/json', body };
    let content = [];
    let stop;
    let usage;
    if (streamed) {
      const answer = await client.send(new bedrock.InvokeModelWithResponseStreamCommand(request));
      for await (const { chunk } of answer.body) {
        const event = parsed(new TextDecoder().decode(chunk.bytes));
        if (event.type === 'message_start') usage = event.message.usage;
        if (event.type === 'content_block_start') content[event.index] = { ...event.content_block, json: '' };
        if (event.delta?.text !== undefined) content[event.index].text += event.delta.text;
        if (event.delta?.partial_json !== undefined) content[event.index].json += event.delta.partial_json;
        if (event.type === 'message_delta') {
          stop = event.delta.stop_reason;
          usage = { ...usage, ...event.usage };
        }
      }
      content = content.map(({ json, ...block }) => (block.type === 'tool_use' ? { ...block, input: parsed(json) } : block));
    } else {
      const answer = parsed(new TextDecoder().decode((await client.send(new bedrock.InvokeModelCommand(request))).body));
      ({ content, stop_reason: stop, usage } = answer);
    }
    const calls = content.filter((block) => block.type === 'tool_use');
    say({
      model: modelId,
      text: content
        .filter((block) => block.type === 'text')
        .map((block) => block.text)
        .join('\n'),
      calls: calls.map((call) => ({ name: call.name, arguments: call.input })),
      finish: stop === 'tool_use' ? 'tool_calls' : 'stop',
      usage: { input: usage.input_tokens, output: usage.output_tokens },
    });
    return content;
  };
  const content = await ask();
  const { id } = content.find((block) => block.type === 'tool_use');
  messages.push({ role: 'assistant', content }, { role: 'user', content: [{ type: 'tool_result', tool_use_id: id, content: RESULT }] });
  await ask();
}

async function ollama() {
  const { Ollama } = await import('ollama');
  const client = new Ollama({ host: url });
  const tools = [{ type: 'function', function: { name: TOOL.name, description: TOOL.description, parameters: TOOL.schema } }];
  const messages = [
    { role: 'system', content: 'Be short.' },
    { role: 'user', content: QUESTION },
  ];
  const ask = async () => {
    const request = { model: 'llama3.2', messages, tools };
    let text = '';
    const calls = [];
    let last;
    if (streamed) {
      for await (const part of await client.chat({ ...request, stream: true })) {
        text += part.message.content;
        calls.push(...(part.message.tool_calls ?? []));
        last = part;
      }
    } else {
      last = await client.chat(request);
      text = last.message.content;
      calls.push(...(last.message.tool_calls ?? []));
    }
    say({
      model: last.model,
      text,
      calls: calls.map((call) => ({ name: call.function.name, arguments: call.function.arguments })),
      finish: calls.length ? 'tool_calls' : 'stop',
      usage: { input: last.prompt_eval_count, output: last.eval_count },
    });
    return { role: 'assistant', content: text, tool_calls: calls };
  };
  messages.push(await ask(), { role: 'tool', tool_name: TOOL.name, content: RESULT });
  await ask();
}

async function cohere() {
  const { CohereClientV2 } = await import('cohere-ai');
  const client = new CohereClientV2({ token: KEY, environment: url });
  const tools = [{ type: 'function', function: { name: TOOL.name, description: TOOL.description, parameters: TOOL.schema } }];
  const messages = [
    { role: 'system', content: 'Be short.' },
    { role: 'user', content: QUESTION },
  ];
  const ask = async () => {
    const request = { model: 'command-a-03-2025', messages, tools };
    let text = '';
    let plan = '';
    let calls = [];
    let end;
    if (streamed) {
      for await (const event of await client.chatStream(request)) {
        const message = event.delta?.message;
        if (event.type === 'content-delta') text += message.content.text;
        if (event.type === 'tool-plan-delta') plan += message.toolPlan;
        if (event.type === 'tool-call-start') calls[event.index] = structuredClone(message.toolCalls);
        if (event.type === 'tool-call-delta') calls[event.index].function.arguments += message.toolCalls.function.arguments;
        if (event.type === 'message-end') end = event.delta;
      }
    } else {
      const answer = await client.chat(request);
      text = answer.message.content?.[0]?.text ?? '';
      plan = answer.message.toolPlan;
      calls = answer.message.toolCalls ?? [];
      end = answer;
    }
    say({
      model: request.model,
      text,
      calls: calls.map((call) => ({ name: call.function.name, arguments: parsed(call.function.arguments) })),
      finish: end.finishReason === 'TOOL_CALL' ? 'tool_calls' : 'stop',
      usage: { input: end.usage.tokens.inputTokens, output: end.usage.tokens.outputTokens },
    });
    return { role: 'assistant', toolPlan: plan, toolCalls: calls };
  };
  const asked = await ask();
  messages.push(asked, { role: 'tool', toolCallId: asked.toolCalls[0].id, content: RESULT });
  await ask();
}

async function mistral() {
  const { Mistral } = await import('@mistralai/mistralai');
  const client = new Mistral({ apiKey: KEY, serverURL: url });
  const tools = [{ type: 'function', function: { name: TOOL.name, description: TOOL.description, parameters: TOOL.schema } }];
  const messages = [
    { role: 'system', content: 'Be short.' },
    { role: 'user', content: QUESTION },
  ];
  const ask = async () => {
    const request = { model: 'mistral-small-latest', messages, tools };
    let text = '';
    const calls = [];
    let finish;
    let last;
    if (streamed) {
      for await (const { data } of await client.chat.stream(request)) {
        const [choice] = data.choices;
        if (choice) {
          text += choice.delta.content ?? '';
          for (const call of choice.delta.toolCalls ?? []) {
            const known = calls[call.index ?? 0];
            if (known) known.function.arguments += call.function.arguments;
            else calls[call.index ?? 0] = structuredClone(call);
          }
          finish = choice.finishReason ?? finish;
        }
        last = data;
      }
    } else {
      last = await client.chat.complete(request);
      const [choice] = last.choices;
      text = choice.message.content ?? '';
      calls.push(...(choice.message.toolCalls ?? []));
      finish = choice.finishReason;
    }
    say({
      model: last.model,
      text,
      calls: calls.map((call) => ({ name: call.function.name, arguments: parsed(call.function.arguments) })),
      finish,
      usage: { input: last.usage?.promptTokens, output: last.usage?.completionTokens },
    });
    return { role: 'assistant', content: text, toolCalls: calls };
  };
  const asked = await ask();
  messages.push(asked, { role: 'tool', toolCallId: asked.toolCalls[0].id, name: TOOL.name, content: RESULT });
  await ask();
}

const SDKS = {
  openai,
  'openai-responses': openaiResponses,
  anthropic,
  google,
  'bedrock-converse': bedrockConverse,
  'bedrock-invoke': bedrockInvoke,
  ollama,
  cohere,
  mistral,
};
await SDKS[name]();
// A connection that is kept alive would keep the program alive.
await sleep(10);
process.exit(0);
