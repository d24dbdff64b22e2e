import { join } from 'node:path';
import { type DiskLayer, errorCode } from './disk-layer.ts';
import { OpenFile } from './open-file.ts';
import type { Segment } from './segment.ts';

/**
 * Segment files kept open, bounded. Files in use may pass the bound for as long as they are in use; idle ones are
 * closed, the least recently used first.
 */
export class OpenFiles {
  readonly #disk: DiskLayer;
  readonly #dir: string;
  readonly #maxOpen: number;
  readonly #born: (segment: Segment) => void;
  /** Idle files in order of last use. */
  readonly #idle = new Map<OpenFile, Segment>();
  readonly #closing = new Set<Promise<void>>();
  #open = 0;
  #closed = false;

  constructor(options: {
    disk: DiskLayer;
    /** Directory of the segment files. */
    dir: string;
    maxOpen: number;
    /** A segment's file has come into being. */
    born: (segment: Segment) => void;
  }) {
    this.#born = options.born;
    this.#disk = options.disk;
    this.#dir = options.dir;
    this.#maxOpen = options.maxOpen;
  }

  /** Files open or being closed. */
  get openCount(): number {
    return this.#open;
  }

  /**
   * The segment's file with a reference taken; the caller releases it. Joins an open that is under way.
   * @throws the errno of open(2); ENOENT for a segment that has left the catalog, ESHUTDOWN when the store is closed.
   */
  async acquire(segment: Segment): Promise<OpenFile> {
    for (;;) {
      if (this.#closed) throw Object.assign(new Error('the store is closed'), { code: 'ESHUTDOWN' });
      if (segment.gone) throw vanished();
      const file = segment.file ?? (await this.#opened(segment));
      // Between an open's end and this turn of the loop it may have been retired again.
      if (file.retired) continue;
      file.retain();
      return file;
    }
  }

  /** Stops handing out the segment's file; its fd is closed once nobody uses it. */
  retire(segment: Segment): void {
    const file = segment.file;
    if (file === null) return;
    segment.file = null;
    this.#retireFile(file);
  }

  /** Closes idle files until `keep` are left: when the process has run out of descriptors. */
  trim(keep: number): void {
    for (const [file, segment] of this.#idle) {
      if (this.#idle.size <= keep) return;
      segment.file = null;
      this.#retireFile(file);
    }
  }

  /** Opens nothing more and closes all that is idle; files in use are closed by their last release. */
  async close(): Promise<void> {
    this.#closed = true;
    this.trim(0);
    await Promise.all(this.#closing);
  }

  pathOf(segment: Segment): string {
    return join(this.#dir, segment.fileName);
  }

  #opened(segment: Segment): Promise<OpenFile> {
    segment.opening ??= this.#openFile(segment).finally(() => {
      segment.opening = null;
    });
    return segment.opening;
  }

  async #openFile(segment: Segment): Promise<OpenFile> {
    const path = this.pathOf(segment);
    const fd = segment.created
      ? await this.#disk.open(path, 'existing')
      : await this.#create(path, segment.lengthBytes, segment.pieceCount > 1);
    if (!segment.created) {
      segment.created = true;
      this.#born(segment);
    }
    this.#open += 1;
    const file = new OpenFile(
      fd,
      (idle) => this.#becomeIdle(idle, segment),
      (busy) => this.#idle.delete(busy),
    );
    if (segment.gone) file.retired = true;
    else segment.file = file;
    // Nobody holds it yet: whoever waited takes a reference in this turn, and if they all gave up it stays as an idle one.
    this.#becomeIdle(file, segment);
    if (segment.gone) throw vanished();
    return file;
  }

  /** The full length at once (sparse): the size never changes again, and XFS speculates no blocks past the end. */
  async #create(path: string, lengthBytes: number, sparse: boolean): Promise<number> {
    let fd: number;
    try {
      fd = await this.#disk.open(path, 'create');
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
      // Somebody removed the directory under us.
      await this.#disk.mkdir(this.#dir);
      fd = await this.#disk.open(path, 'create');
    }
    if (!sparse) return fd;
    try {
      await this.#disk.truncate(fd, lengthBytes);
      return fd;
    } catch (error) {
      await this.#disk.close(fd).catch(() => undefined);
      await this.#disk.unlink(path).catch(() => undefined);
      throw error;
    }
  }

  #becomeIdle(file: OpenFile, segment: Segment): void {
    if (this.#closed && !file.retired) {
      segment.file = null;
      file.retired = true;
    }
    if (file.retired) {
      this.#close(file);
      return;
    }
    this.#idle.set(file, segment);
    if (this.#open <= this.#maxOpen) return;
    for (const [oldest, owner] of this.#idle) {
      if (oldest === file) break;
      owner.file = null;
      this.#retireFile(oldest);
      break;
    }
  }

  #retireFile(file: OpenFile): void {
    file.retired = true;
    this.#idle.delete(file);
    if (file.refs === 0) this.#close(file);
  }

  #close(file: OpenFile): void {
    const closing = this.#disk
      .close(file.fd)
      // The descriptor is gone whatever close(2) says; what it could report concerns writes we verify when read.
      .catch(() => undefined)
      .then(() => {
        this.#open -= 1;
        this.#closing.delete(closing);
      });
    this.#closing.add(closing);
  }
}

function vanished(): Error {
  return Object.assign(new Error('the segment is no longer in the catalog'), { code: 'ENOENT' });
}
