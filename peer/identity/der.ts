// As much of DER (X.690) as a certificate needs, strict: short and definite lengths of at most two bytes.

export const BOOLEAN = 0x01;
export const OCTET_STRING = 0x04;
export const OBJECT_IDENTIFIER = 0x06;
export const SEQUENCE = 0x30;

/** One element, its content not looked into. */
export interface DerElement {
  readonly tag: number;
  readonly content: Buffer;
  /** Tag, length and content. */
  readonly whole: Buffer;
}

/** The elements that lie in `bytes` one after the other. @throws RangeError when they do not fill it exactly. */
export function derElements(bytes: Buffer): DerElement[] {
  const found: DerElement[] = [];
  let at = 0;
  while (at < bytes.length) {
    const tag = bytes.readUInt8(at);
    const { length, start } = lengthAt(bytes, at + 1);
    if (start + length > bytes.length) throw new RangeError('a DER element ends past its container');
    found.push({
      tag,
      content: bytes.subarray(start, start + length),
      whole: bytes.subarray(at, start + length),
    });
    at = start + length;
  }
  return found;
}

/** The elements of the one SEQUENCE that `bytes` is. */
export function derSequence(bytes: Buffer): DerElement[] {
  const [only, ...more] = derElements(bytes);
  if (only?.tag !== SEQUENCE || more.length > 0) throw new RangeError('not one DER sequence');
  return derElements(only.content);
}

export function derOf(tag: number, content: Uint8Array): Buffer {
  const { length } = content;
  if (length > 0xffff) throw new RangeError('too long for a DER element of ours');
  const head =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), content]);
}

function lengthAt(bytes: Buffer, at: number): { length: number; start: number } {
  const first = bytes.readUInt8(at);
  if (first < 0x80) return { length: first, start: at + 1 };
  if (first === 0x81) return { length: bytes.readUInt8(at + 1), start: at + 2 };
  if (first === 0x82) return { length: bytes.readUInt16BE(at + 1), start: at + 3 };
  throw new RangeError('a DER length that no certificate of ours has');
}
