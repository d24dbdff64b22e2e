import { closeSync, openSync, readSync } from 'node:fs';
import { constants, endianness } from 'node:os';

/**
 * Moves up to `count` bytes of `fileFd`, from `offset` on, into a socket, without them passing through JavaScript.
 * Synchronous: the caller has made sure in the same tick that the socket is open and has nothing queued.
 * @returns bytes that the socket took; 0 when the file ends at `offset`; else the negative errno.
 */
export type Sendfile = (socketFd: number, fileFd: number, offset: number, count: number) => number;

const { EAGAIN } = constants.errno;
/** From <sys/socket.h> of Linux, where alone all this is used. */
const AF_UNIX = 1;
const SOCK_STREAM_NONBLOCK = 0o4001;
const MIB = 1 << 20;

/**
 * sendfile(2) through koffi, tried out on this machine before it is trusted.
 * @returns null where it cannot be had: another system, no koffi, or a self-check that fails. Bytes are then copied.
 */
export async function loadSendfile(): Promise<Sendfile | null> {
  if (process.platform !== 'linux' || endianness() !== 'LE') return null;
  try {
    const { default: koffi } = await import('koffi');
    const libc = koffi.load(null);
    const call = libc.func('intptr_t sendfile(int out_fd, int in_fd, void *offset, size_t count)');
    const socketpair = libc.func('int socketpair(int domain, int type, int protocol, int *fds)');
    // Two 32-bit halves of a loff_t: a BigInt per call would cost more than the call.
    const position = new Uint32Array(2);
    const sendfile: Sendfile = (socketFd, fileFd, offset, count) => {
      position[0] = offset >>> 0;
      position[1] = Math.floor(offset / 2 ** 32);
      const sent: number = call(socketFd, fileFd, position, count);
      return sent < 0 ? -koffi.errno() : sent;
    };
    const pair = new Int32Array(2);
    const opened = socketpair(AF_UNIX, SOCK_STREAM_NONBLOCK, 0, pair) === 0;
    const [near = -1, far = -1] = pair;
    if (!opened) return null;
    try {
      return sendsRightly(sendfile, near, far) ? sendfile : null;
    } finally {
      closeSync(near);
      closeSync(far);
    }
  } catch {
    return null;
  }
}

/**
 * The self-check, on a pair of connected sockets and the one file that is sure to be there: the right bytes, the end
 * of the file past 4 GiB (so that offsets are 64 bits wide), and EAGAIN from a full socket (so that errno is read).
 */
function sendsRightly(sendfile: Sendfile, near: number, far: number): boolean {
  const file = openSync(process.execPath, 'r');
  try {
    const expected = Buffer.alloc(64);
    const received = Buffer.alloc(64);
    readSync(file, expected, 0, 64, 4);
    if (sendfile(near, file, 4, 64) !== 64 || readSync(far, received, 0, 64, null) !== 64) return false;
    if (!received.equals(expected) || sendfile(near, file, 2 ** 33, 64) !== 0) return false;
    let sent = sendfile(near, file, 0, MIB);
    for (let turns = 0; sent > 0 && turns < 1024; turns += 1) sent = sendfile(near, file, 0, MIB);
    return sent === -EAGAIN;
  } finally {
    closeSync(file);
  }
}
