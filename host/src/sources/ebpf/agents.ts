// Recognises AI agents by the executable and the arguments of a process, as /proc tells them; it looks at no bytes that a process sends.
import { basename } from 'node:path';
import { type AgentRow, agents } from '../../gen/agents.js';

/** Programs that run scripts: for these the arguments say which. */
const INTERPRETER = /^(?:node|nodejs|bun|deno|python[0-9.]*|pypy[0-9.]*|ruby|uv|pipx)$/;
/** Options whose value is an argument of its own. */
const TAKES_VALUE = new Set(['-r', '--require', '--import', '--loader', '--experimental-loader', '-C', '--conditions', '--env-file', '--title', '-W', '-X']);
/** What follows is the program itself. */
const INLINE = new Set(['-c', '-e', '--eval', '-p', '--print', '-pe', '-']);
const SUFFIX = /\.(?:[cm]?[jt]s|pyw?|rb|sh|exe)$/;

/** Whether only the arguments tell what a process runs. */
export function isInterpreter(exe: string): boolean {
  return INTERPRETER.test(basename(exe));
}

export class AgentRegistry {
  readonly #programs = new Map<string, string>();
  readonly #modules = new Map<string, string>();
  /** Part of a path, id. */
  readonly #folders: (readonly [string, string])[] = [];

  /** @param extra further names of executables or scripts. */
  constructor(extra: readonly string[] = [], rows: readonly AgentRow[] = agents) {
    for (const { id, programs, packages, modules, folders } of rows) {
      for (const program of programs) this.#programs.set(program, id);
      for (const name of packages) this.#folders.push([`/node_modules/${name}/`, id]);
      for (const folder of folders) this.#folders.push([folder, id]);
      for (const module of modules) {
        this.#modules.set(module, id);
        this.#folders.push([`/site-packages/${module}/`, id]);
      }
    }
    for (const name of extra) this.#programs.set(name, name);
  }

  /** Names of executables and scripts. */
  get programs(): string[] {
    return [...this.#programs.keys()];
  }

  /**
   * @param exe path of the executable.
   * @param argv of an interpreter: the script is looked for in it.
   * @returns the id of the agent, or undefined.
   */
  match(exe: string, argv: readonly string[] = []): string | undefined {
    return this.#matchPath(exe) ?? (isInterpreter(exe) ? this.#matchScript(argv) : undefined);
  }

  #matchPath(path: string): string | undefined {
    const named = this.#programs.get(basename(path).replace(SUFFIX, '')) ?? this.#programs.get(basename(path));
    return named ?? this.#folders.find(([folder]) => path.includes(folder))?.[1];
  }

  /** The script is the first argument that is no option. */
  #matchScript(argv: readonly string[]): string | undefined {
    for (let at = 1; at < argv.length; at += 1) {
      const argument = argv[at] as string;
      if (INLINE.has(argument)) return undefined;
      if (argument === '-m') return this.#modules.get((argv[at + 1] ?? '').split('.')[0] as string);
      if (TAKES_VALUE.has(argument)) at += 1;
      else if (!argument.startsWith('-') && argument !== 'run' && argument !== 'tool') return this.#matchPath(argument);
    }
    return undefined;
  }
}
