// Reads the configuration: a TOML file and the command line over the defaults. An unknown key, a wrong type or an impossible value stops the start.
import { readFileSync } from 'node:fs';
import { parse, TomlError } from 'smol-toml';
import { HostError, reasonOf } from '../errors.js';
import { type Setting, type SettingName, settings } from './settings.js';

type ValueOf<T extends Setting['type']> = T extends 'integer'
  ? number
  : T extends 'boolean'
    ? boolean
    : T extends 'string'
      ? string
      : T extends 'integers'
        ? readonly number[]
        : readonly string[];

/** Every setting with its value; checked, so trusted from here on. */
export type Config = { readonly [Name in SettingName]: ValueOf<(typeof settings)[Name]['type']> };

/**
 * @param file path of a TOML file, if one was named
 * @param overrides values from the command line, which win
 * @throws HostError CONFIG with file, line and what to write instead
 */
export function loadConfig(file: string | undefined, overrides: Partial<Config> = {}): Config {
  const values: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries(settings)) values[name] = setting.fallback;
  if (file !== undefined) for (const [name, value] of Object.entries(readConfigFile(file))) values[name] = checked(name, value, file);
  for (const [name, value] of Object.entries(overrides)) if (value !== undefined) values[name] = checked(name, value, 'the command line');
  return values as unknown as Config;
}

function readConfigFile(file: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new HostError('CONFIG', `cannot read the configuration ${file}: ${reasonOf(error)}`, undefined, { cause: error });
  }
  try {
    return flatten(parse(text));
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    throw new HostError('CONFIG', `${file}:${error.line}:${error.column}: ${error.message.split('\n')[0]}`, undefined, { cause: error });
  }
}

function flatten(table: Record<string, unknown>, prefix = ''): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(table)) {
    if (typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date))
      Object.assign(out, flatten(value as Record<string, unknown>, `${prefix}${key}.`));
    else out[`${prefix}${key}`] = value;
  }
  return out;
}

function checked(name: string, value: unknown, where: string): unknown {
  const setting = (settings as Record<string, Setting>)[name];
  if (!setting) {
    const near = nearest(name, Object.keys(settings));
    throw new HostError('CONFIG', `${where}: there is no setting ${name}`, near === undefined ? undefined : `Did you mean ${near}?`);
  }
  const wanted = problem(setting, value);
  if (wanted !== undefined) throw new HostError('CONFIG', `${where}: ${name} must be ${wanted}, not ${JSON.stringify(value)}`, setting.doc);
  return value;
}

/** @returns what the value must be, or undefined when it is that. */
function problem(setting: Setting, value: unknown): string | undefined {
  const { type, min = 0, max = Number.MAX_SAFE_INTEGER, rule, oneOf } = setting;
  const inRange = (item: unknown) => Number.isSafeInteger(item) && (item as number) >= min && (item as number) <= max;
  switch (type) {
    case 'integer':
      if (!inRange(value)) return `an integer from ${min} to ${max}`;
      return rule && !rule.test(value as never) ? rule.text : undefined;
    case 'boolean':
      return typeof value === 'boolean' ? undefined : 'true or false';
    case 'string':
      if (typeof value !== 'string') return 'a string';
      if (rule && !rule.test(value as never)) return rule.text;
      return oneOf && !oneOf.includes(value) ? `one of ${oneOf.join(', ')}` : undefined;
    case 'integers':
      return Array.isArray(value) && value.every(inRange) ? undefined : `a list of integers from ${min} to ${max}`;
    case 'strings':
      return Array.isArray(value) && value.every((item) => typeof item === 'string' && item !== '') ? undefined : 'a list of strings';
  }
}

/** @returns the closest name within a third of its length in edits, or undefined. */
export function nearest(word: string, names: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const name of names) {
    const distance = editDistance(word, name);
    if (distance < bestDistance && distance <= Math.max(2, Math.ceil(name.length / 3))) {
      best = name;
      bestDistance = distance;
    }
  }
  return best;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = a[i - 1] === b[j - 1] ? 0 : 1;
      next.push(Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, (row[j - 1] as number) + change));
    }
    row = next;
  }
  return row[b.length] as number;
}
