/** An open segment file. Whoever hands its fd out holds a reference, so that the number is never another file's. */
export class OpenFile {
  readonly fd: number;
  refs = 0;
  /** No longer handed out; closed when the last reference goes. */
  retired = false;
  readonly #idle: (file: OpenFile) => void;
  readonly #busy: (file: OpenFile) => void;

  constructor(fd: number, idle: (file: OpenFile) => void, busy: (file: OpenFile) => void) {
    this.fd = fd;
    this.#idle = idle;
    this.#busy = busy;
  }

  retain(): void {
    if (this.refs++ === 0) this.#busy(this);
  }

  release(): void {
    if (--this.refs === 0) this.#idle(this);
  }
}
