// Tool definitions, the tool choice, and what a tool's name says about it; names are only ever compared, never run.
import { JsonKind, jsonLength, jsonText } from '../../lib/json';
import { isKind, find, keyOfNode } from './nodes';
import { close, item, key, nodeText, openArray, openMap, pairLiteral, pairNode, pairUint } from './out';
import { contains, endsWith, isText, key as keyFor, startsWith } from './text';

const AUTO: u64 = keyFor('auto');
const NONE: u64 = keyFor('none');
const REQUIRED: u64 = keyFor('required');
const ANY: u64 = keyFor('any');
const TYPE: u64 = keyFor('type');
const FUNCTION: u64 = keyFor('function');

let toolCount: u32 = 0;

export function toolsOpen(): void {
  toolCount = 0;
  key('tools');
  openArray();
}

export function toolsDone(): void {
  close();
  pairUint('tools_count', toolCount);
}

/** The schema's type of a definition; a type it lacks is `other`. */
function definitionType(at: usize, length: u32): string {
  if (isText(at, length, 'function') || isText(at, length, 'custom')) return 'function';
  if (startsWith(at, length, 'code_interpreter') || startsWith(at, length, 'code_execution')) return 'code_interpreter';
  if (startsWith(at, length, 'file_search')) return 'file_search';
  if (startsWith(at, length, 'computer')) return 'computer_use';
  return 'other';
}

/** One definition. @param type the type as sent, or 0: a function. */
export function writeTool(name: usize, description: usize, type: usize): void {
  toolCount++;
  if (!item()) return;
  openMap();
  pairNode('name', name);
  if (!isKind(type, JsonKind.STRING) || keyOfNode(type) == FUNCTION) pairLiteral('type', 'function');
  else {
    const known = definitionType(jsonText(type), jsonLength(type));
    pairLiteral('type', known);
    if (!isText(jsonText(type), jsonLength(type), known)) {
      key('raw_type');
      nodeText(type);
    }
  }
  pairNode('description', description);
  close();
}

/** tool_choice as the schema's examples spell it: auto, none, required, specific. */
export function pairToolChoice(node: usize): void {
  if (isKind(node, JsonKind.STRING)) {
    const choice = keyOfNode(node);
    if (choice == ANY) pairLiteral('tool_choice', 'required');
    else pairNode('tool_choice', node);
  } else if (isKind(node, JsonKind.OBJECT)) {
    const type = keyOfNode(find(node, TYPE));
    pairLiteral('tool_choice', type == AUTO ? 'auto' : type == NONE ? 'none' : type == ANY || type == REQUIRED ? 'required' : 'specific');
  }
}

/** The schema's tool type, from the words of the name. The order is from the riskier to the less risky reading. */
export function toolType(at: usize, length: u32): string {
  const n = length;
  if (
    contains(at, n, 'bash') ||
    contains(at, n, 'shell') ||
    isText(at, n, 'exec') ||
    contains(at, n, 'exec_command') ||
    contains(at, n, 'execute_command') ||
    contains(at, n, 'run_command') ||
    isText(at, n, 'cmd') ||
    contains(at, n, 'powershell')
  )
    return 'shell';
  if (contains(at, n, 'terminal')) return 'terminal';
  if (contains(at, n, 'computer')) return 'computer_use';
  if (
    contains(at, n, 'code_execution') ||
    contains(at, n, 'code_interpreter') ||
    contains(at, n, 'execute_code') ||
    contains(at, n, 'run_code') ||
    contains(at, n, 'run_python') ||
    isText(at, n, 'python') ||
    contains(at, n, 'jupyter') ||
    contains(at, n, 'repl')
  )
    return contains(at, n, 'replace') ? 'file_edit' : 'code_execution';
  if (contains(at, n, 'browser') || contains(at, n, 'playwright') || contains(at, n, 'puppeteer')) return 'browser';
  if (contains(at, n, 'sql') || contains(at, n, 'database')) return 'database';
  if (contains(at, n, 'edit') || contains(at, n, 'patch') || contains(at, n, 'str_replace')) return 'file_edit';
  if (contains(at, n, 'web_search') || contains(at, n, 'websearch')) return 'search';
  if (contains(at, n, 'fetch') || contains(at, n, 'http') || contains(at, n, 'curl') || contains(at, n, 'download')) return 'http';
  if (
    isText(at, n, 'write') ||
    contains(at, n, 'write_file') ||
    contains(at, n, 'writefile') ||
    contains(at, n, 'file_write') ||
    contains(at, n, 'create_file') ||
    contains(at, n, 'save_file') ||
    contains(at, n, 'delete_file') ||
    contains(at, n, 'move_file')
  )
    return 'file_write';
  if (
    isText(at, n, 'read') ||
    contains(at, n, 'read_file') ||
    contains(at, n, 'readfile') ||
    contains(at, n, 'file_read') ||
    contains(at, n, 'view_file') ||
    contains(at, n, 'read_many_files') ||
    contains(at, n, 'list_dir') ||
    contains(at, n, 'open_file') ||
    isText(at, n, 'ls') ||
    isText(at, n, 'view')
  )
    return 'file_read';
  if (contains(at, n, 'grep') || contains(at, n, 'glob') || contains(at, n, 'search') || contains(at, n, 'find')) return 'search';
  if (contains(at, n, 'retriev')) return 'retrieval';
  if (endsWith(at, n, '_api') || startsWith(at, n, 'api_')) return 'api_call';
  return 'other';
}
