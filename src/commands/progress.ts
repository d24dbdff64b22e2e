import cliProgress from 'cli-progress';
import { formatBytes, formatRate, formatSeconds, formatShare } from './quantity.ts';
import { RateMeter } from './rate-meter.ts';

/** How far one long piece of work is. `begin` and `end` come once, `update` as often as there is news. */
export interface Progress {
  /** @param total bytes; undefined while it is not known. @param done bytes that were there before. */
  begin(label: string, total: number | undefined, done: number): void;
  update(done: number, total?: number): void;
  /** Takes a bar off the screen, so that what is printed next stands alone. */
  end(): void;
}

export type ProgressMode = 'bar' | 'lines' | 'none';

/** A bar on a terminal, else lines, so that a log of a build is readable. */
export function progressMode(options: { progress: boolean; json?: boolean | undefined }): ProgressMode {
  if (!options.progress || options.json === true) return 'none';
  return process.stderr.isTTY ? 'bar' : 'lines';
}

export interface ProgressOptions {
  readonly out?: NodeJS.WritableStream;
  readonly nowMs?: () => number;
  /** Between two lines. */
  readonly lineEveryMs?: number;
}

export function createProgress(mode: ProgressMode, options: ProgressOptions = {}): Progress {
  const { out = process.stderr, nowMs = () => performance.now(), lineEveryMs = 3000 } = options;
  if (mode === 'none') return { begin: () => undefined, update: () => undefined, end: () => undefined };
  return mode === 'bar' ? new ProgressBar(out, nowMs) : new ProgressLines(out, nowMs, lineEveryMs);
}

/** `12.0 MiB of 96.0 MiB (12 %), 4.1 MiB/s, 21 s left` */
function describe(done: number, total: number | undefined, meter: RateMeter): string {
  const rate = meter.bytesPerSecond;
  const parts = [
    total === undefined
      ? formatBytes(done)
      : `${formatBytes(done)} of ${formatBytes(total)} (${formatShare(done, total)})`,
    formatRate(rate),
  ];
  if (total !== undefined && rate > 0) parts.push(`${formatSeconds((total - done) / rate)} left`);
  return parts.join(', ');
}

/** What stands beside the bar: a digest's beginning, and the longest usual text. */
const TEXT_COLUMNS = 75;

function columnsOf(out: NodeJS.WritableStream): number {
  return 'columns' in out && typeof out.columns === 'number' ? out.columns : 80;
}

class ProgressBar implements Progress {
  readonly #bar: cliProgress.SingleBar;
  readonly #nowMs: () => number;
  #meter: RateMeter | undefined;
  #total: number | undefined;
  #active = false;

  constructor(out: NodeJS.WritableStream, nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#bar = new cliProgress.SingleBar(
      {
        format: '{label} [{bar}] {text}',
        stream: out,
        barsize: Math.min(24, Math.max(6, columnsOf(out) - TEXT_COLUMNS)),
        clearOnComplete: true,
        hideCursor: true,
        // The command ends on a signal by itself and calls end().
        gracefulExit: false,
        emptyOnZero: true,
        forceRedraw: true,
      },
      cliProgress.Presets.legacy,
    );
  }

  begin(label: string, total: number | undefined, done: number): void {
    this.#meter = new RateMeter(done, this.#nowMs);
    this.#total = total;
    this.#active = true;
    this.#bar.start(total ?? 0, done, { label, text: formatBytes(done) });
  }

  update(done: number, total = this.#total): void {
    if (!this.#active || this.#meter === undefined) return;
    if (total !== undefined && total !== this.#total) this.#bar.setTotal(total);
    this.#total = total;
    this.#meter.update(done);
    this.#bar.update(total === undefined ? 0 : done, { text: describe(done, total, this.#meter) });
  }

  end(): void {
    if (this.#active) this.#bar.stop();
    this.#active = false;
  }
}

class ProgressLines implements Progress {
  readonly #out: NodeJS.WritableStream;
  readonly #nowMs: () => number;
  readonly #everyMs: number;
  #label = '';
  #meter: RateMeter | undefined;
  #done = 0;
  #total: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(out: NodeJS.WritableStream, nowMs: () => number, everyMs: number) {
    this.#out = out;
    this.#nowMs = nowMs;
    this.#everyMs = everyMs;
  }

  begin(label: string, total: number | undefined, done: number): void {
    this.#label = label;
    this.#meter = new RateMeter(done, this.#nowMs);
    this.#total = total;
    this.#done = done;
    const size = total === undefined ? '' : ` (${formatBytes(total)})`;
    this.#print(`begins${size}${done > 0 ? `, ${formatBytes(done)} are here already` : ''}`);
    // A timer and not the updates, so that a stall is seen as well.
    this.#timer = setInterval(() => this.#tell(), this.#everyMs);
  }

  update(done: number, total = this.#total): void {
    this.#done = done;
    this.#total = total;
    this.#meter?.update(done);
  }

  end(): void {
    clearInterval(this.#timer);
  }

  #tell(): void {
    if (this.#meter === undefined) return;
    this.#meter.update(this.#done);
    this.#print(describe(this.#done, this.#total, this.#meter));
  }

  #print(text: string): void {
    this.#out.write(`${this.#label}: ${text}\n`);
  }
}
