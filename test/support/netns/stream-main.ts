import { connect, createServer } from 'node:net';

// What a link carries, measured from inside two hosts of a lab:
//   node stream-main.ts serve ADDRESS BYTES           prints its port, and sends so much to whoever connects
//   node stream-main.ts get ADDRESS PORT STREAMS      prints {bytes, seconds} of all streams together
const [what, address = '', ...rest] = process.argv.slice(2);
const CHUNK = Buffer.alloc(64 * 1024);

if (what === 'serve') serve(Number(rest[0]));
else console.log(JSON.stringify(await get(Number(rest[0]), Number(rest[1]))));

function serve(bytes: number): void {
  const server = createServer((socket) => {
    let left = bytes;
    const send = (): void => {
      while (left > 0) {
        const chunk = CHUNK.subarray(0, Math.min(left, CHUNK.length));
        left -= chunk.length;
        if (!socket.write(chunk)) {
          socket.once('drain', send);
          return;
        }
      }
      socket.end();
    };
    socket.on('error', () => undefined);
    send();
  });
  server.listen(0, address, () => {
    const bound = server.address();
    console.log(typeof bound === 'object' ? bound?.port : '');
  });
}

async function get(port: number, streams: number): Promise<{ bytes: number; seconds: number }> {
  const begunMs = performance.now();
  const counts = await Promise.all(Array.from({ length: streams }, () => drain(port)));
  return {
    bytes: counts.reduce((sum, count) => sum + count, 0),
    seconds: (performance.now() - begunMs) / 1000,
  };
}

function drain(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let bytes = 0;
    const socket = connect(port, address);
    socket.on('data', (chunk) => {
      bytes += chunk.length;
    });
    socket.once('end', () => resolve(bytes));
    socket.once('error', reject);
  });
}
