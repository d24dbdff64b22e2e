import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import type { PeerId } from '../../../peer/member.ts';
import { eventually } from '../../support/eventually.ts';
import { GroupProcess } from '../../support/group-process.ts';

const SCRIPT = new URL('member-process.ts', import.meta.url).pathname;

interface Report {
  readonly id: PeerId;
  readonly control: readonly string[];
  readonly knows: readonly PeerId[];
}

export interface ProcessOptions {
  readonly listen: string;
  readonly static?: readonly string[];
  readonly mdns?: boolean;
  /** In front of its command line. */
  readonly enter?: readonly string[];
}

/** A member in a process of its own, and what it said last. */
export class MemberProcess {
  readonly process: GroupProcess;
  #last: Report | undefined;

  constructor(options: ProcessOptions) {
    const { enter = [], ...rest } = options;
    this.process = new GroupProcess([...enter, process.execPath, SCRIPT, JSON.stringify(rest)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const { stdout } = this.process.child;
    if (stdout === null) throw new Error('its output is not piped');
    createInterface(stdout).on('line', (line) => {
      this.#last = JSON.parse(line);
    });
  }

  static async start(t: Pick<TestContext, 'after'>, options: ProcessOptions): Promise<MemberProcess> {
    const member = new MemberProcess(options);
    t.after(() => member.process.kill());
    await eventually(() => member.#last !== undefined, { timeoutMs: 30_000, what: 'a member process is up' });
    return member;
  }

  get report(): Report {
    if (this.#last === undefined) throw new Error('it has not said anything yet');
    return this.#last;
  }
}

/** Whether each knows exactly these. */
export function processesAgree(members: readonly MemberProcess[]): boolean {
  const expected = members
    .map(({ report }) => report.id)
    .sort()
    .join();
  return members.every(({ report }) => report.knows.join() === expected);
}
