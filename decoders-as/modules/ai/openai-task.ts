// What is asked of models besides conversation, in OpenAI's manner: legacy completions, embeddings, images, speech, moderation. One input, few numbers back.
import { jsonFirst, JsonKind, jsonNext, jsonSource, jsonSourceLength } from '../../lib/json';
import { Choice, choiceOf, setText } from './answer';
import { Exchange } from './exchange';
import { pathEnds } from './format';
import { addPart, beginMessages, closeContent, closeImages, closeMessage, endMessages, openContent, openMessage } from './messages';
import { find, findKind, given, indexOfNode, isKind } from './nodes';
import { OpenAiChat, readFailure, readError } from './openai-chat';
import { hashNumber, hashText, key as keyFor } from './text';

const INPUT: u64 = keyFor('input');
const PROMPT: u64 = keyFor('prompt');
const TEXTS: u64 = keyFor('texts');
const TEXT: u64 = keyFor('text');
const CHOICES: u64 = keyFor('choices');
const INDEX: u64 = keyFor('index');
const FINISH_REASON: u64 = keyFor('finish_reason');

/** Is it the path of such a task? */
export function isTaskPath(x: Exchange): bool {
  return taskOf(x) != 'other';
}

function taskOf(x: Exchange): string {
  if (pathEnds(x, '/embeddings') || pathEnds(x, '/embed')) return 'embedding';
  if (pathEnds(x, '/chat/completions')) return 'other';
  if (pathEnds(x, '/completions')) return 'completion';
  if (pathEnds(x, '/moderations')) return 'moderation';
  if (pathEnds(x, '/images/generations')) return 'image';
  return pathEnds(x, '/audio/speech') ? 'audio' : 'other';
}

/** What the model is given: a string, or an array of them; 0: nothing of the kind. */
export function taskInput(root: usize): usize {
  let input = find(root, INPUT);
  if (!given(input)) input = find(root, PROMPT);
  if (!given(input)) input = find(root, TEXTS);
  return isKind(input, JsonKind.STRING) || isKind(input, JsonKind.ARRAY) ? input : 0;
}

export class OpenAiTask extends OpenAiChat {
  name(): string {
    return 'openai_task';
  }

  requestType(x: Exchange): string {
    return taskOf(x);
  }

  hashConversation(root: usize): void {
    hashNumber(2);
    const input = taskInput(root);
    if (isKind(input, JsonKind.STRING)) hashText(jsonSource(input), jsonSourceLength(input));
  }

  writeRequest(root: usize): void {
    beginMessages();
    const input = taskInput(root);
    if (isKind(input, JsonKind.STRING)) this.writeInput(input);
    else if (input) for (let at = jsonFirst(input), end = jsonNext(input); at < end; at = jsonNext(at)) this.writeInput(at);
    endMessages();
    this.writeParameters(root);
    closeImages();
  }

  /** One text; numbers are tokens, which say nothing here. */
  private writeInput(node: usize): void {
    const text = isKind(node, JsonKind.OBJECT) ? find(node, TEXT) : node;
    if (!isKind(text, JsonKind.STRING) || !openMessage(0, 'user')) return;
    openContent();
    addPart(text);
    closeContent();
    closeMessage();
  }

  seekResult(_root: usize, _index: u32): bool {
    return false;
  }

  readJson(x: Exchange, root: usize): void {
    readFailure(x, root);
    this.readCommon(x, root);
    this.readTexts(x, root);
    x.answer.done = true;
  }

  readEvent(x: Exchange, root: usize): usize {
    readError(x.answer, root);
    this.readCommon(x, root);
    this.readTexts(x, root);
    return 0;
  }

  private readTexts(x: Exchange, root: usize): void {
    const choices = findKind(root, CHOICES, JsonKind.ARRAY);
    if (!choices) return;
    let position: u32 = 0;
    for (let c = jsonFirst(choices), end = jsonNext(choices); c < end; c = jsonNext(c)) {
      const choice = choiceOf(x.answer, indexOfNode(find(c, INDEX), position++));
      if (!choice) return;
      this.append(x, changetype<usize>(choice) + offsetof<Choice>('text'), find(c, TEXT));
      const finish = find(c, FINISH_REASON);
      if (given(finish)) choice.finish = setText(choice.finish, finish);
    }
  }

  /** Speech and images are no JSON, or none that ends: the answer is over with its message. */
  isDone(_x: Exchange): bool {
    return true;
  }
}
