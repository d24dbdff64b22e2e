import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { MAX_RANGE_PARTS, parseRange, parseRangeBeforeSize } from '../../src/proxy/range.ts';

const spans = (...pairs: [number, number][]) => ({
  kind: 'spans',
  spans: pairs.map(([start, end]) => ({ start, end })),
});
const none = { kind: 'none' };
const unsatisfiable = { kind: 'unsatisfiable' };
const tooMany = { kind: 'too-many' };

describe('parseRange', () => {
  const cases: [header: string | undefined, size: number, expected: object][] = [
    [undefined, 10, none],
    ['bytes=0-0', 10, spans([0, 1])],
    ['bytes=0-9', 10, spans([0, 10])],
    ['bytes=2-5', 10, spans([2, 6])],
    ['BYTES=2-5', 10, spans([2, 6])],
    [' \tbytes= 2-5\t', 10, spans([2, 6])],
    ['bytes=007-008', 10, spans([7, 9])],
    ['bytes=5-', 10, spans([5, 10])],
    ['bytes=-3', 10, spans([7, 10])],
    ['bytes=-10', 10, spans([0, 10])],
    ['bytes=-11', 10, spans([0, 10])],
    ['bytes=9-10', 10, spans([9, 10])],
    ['bytes=0-18446744073709551616', 10, spans([0, 10])],
    ['bytes=-18446744073709551616', 10, spans([0, 10])],
    ['bytes=10-', 10, unsatisfiable],
    ['bytes=10-20', 10, unsatisfiable],
    ['bytes=18446744073709551616-', 10, unsatisfiable],
    ['bytes=-0', 10, unsatisfiable],
    ['bytes=10-,-0', 10, unsatisfiable],
    ['bytes=0-', 0, unsatisfiable],
    ['bytes=0-0', 0, unsatisfiable],
    ['bytes=-0', 0, unsatisfiable],
    ['bytes=-5', 0, none],
    ['bytes=0-1,4-5', 10, spans([0, 2], [4, 6])],
    ['bytes=4-5, 0-1', 10, spans([4, 6], [0, 2])],
    ['bytes=0-1,2-3', 10, spans([0, 2], [2, 4])],
    ['bytes=0-3,2-5', 10, spans([0, 4], [2, 6])],
    ['bytes=,, 0-1 ,\t,4-5,', 10, spans([0, 2], [4, 6])],
    ['bytes=20-30,1-2,-0', 10, spans([1, 3])],
    ['bytes=1-2,8-', 10, spans([1, 3], [8, 10])],
    ['bytes=0-9,0-0', 10, tooMany],
    ['bytes=-6,-6', 10, tooMany],
    ['bytes=', 10, none],
    ['bytes=,', 10, none],
    ['bytes=-', 10, none],
    ['bytes=5-2', 10, none],
    ['bytes=0-1,5-2', 10, none],
    ['bytes=18446744073709551617-18446744073709551616', 10, none],
    ['bytes=a-b', 10, none],
    ['bytes=0-1 2-3', 10, none],
    ['bytes=0 - 1', 10, none],
    ['bytes=+1-2', 10, none],
    ['bytes=1.5-2', 10, none],
    ['bytes=0x1-2', 10, none],
    ['bytes=--5', 10, none],
    ['bytes=0-1-2', 10, none],
    ['bytes=٣-٤', 10, none],
    ['bytes =0-1', 10, none],
    ['bytes:0-1', 10, none],
    ['byte=0-1', 10, none],
    ['items=0-1', 10, none],
    ['0-1', 10, none],
    ['bytes=\u00a00-1', 10, none],
    ['', 10, none],
  ];
  for (const [header, size, expected] of cases) {
    it(`reads ${JSON.stringify(header)} of ${size} bytes`, () => {
      assert.deepEqual(parseRange(header, size), expected);
    });
  }

  it('takes 64 parts and refuses 65', () => {
    const set = (parts: number) => `bytes=${Array.from({ length: parts }, (_, i) => `${i}-${i}`).join(',')}`;
    assert.equal(parseRange(set(MAX_RANGE_PARTS), 1000).kind, 'spans');
    assert.deepEqual(parseRange(set(MAX_RANGE_PARTS + 1), 1000), tooMany);
  });

  it('counts only parts that will be sent', () => {
    const past = Array.from({ length: 100 }, () => '1000-1001').join(',');
    assert.deepEqual(parseRange(`bytes=${past},3-4`, 1000), spans([3, 5]));
  });

  it('equals a reference that reads character by character and marks bytes', () => {
    const digits = fc.oneof(
      fc.nat(30).map(String),
      fc.constantFrom('007', '9007199254740993', '999999999999999999999'),
    );
    const spec = fc.oneof(
      fc.tuple(digits, digits).map(([a, b]) => `${a}-${b}`),
      digits.map((a) => `${a}-`),
      digits.map((n) => `-${n}`),
      fc.constantFrom('', ' ', '-', 'x', '1 -2', '1-2-3'),
    );
    const list = fc.array(fc.tuple(fc.constantFrom('', ' ', '\t'), spec, fc.constantFrom('', ' ')), {
      minLength: 0,
      maxLength: 70,
    });
    const unit = fc.constantFrom('bytes=', 'Bytes=', 'bytes=', 'bytes=', 'items=', 'bytes');
    const header = fc.oneof(
      { weight: 9, arbitrary: fc.tuple(unit, list).map(([u, l]) => u + l.map((e) => e.join('')).join(',')) },
      { weight: 1, arbitrary: fc.string({ unit: fc.constantFrom(...'bytes=0123-, ') }) },
    );
    fc.assert(
      fc.property(header, fc.nat(25), (text, size) => {
        assert.deepEqual(parseRange(text, size), referenceRange(text, size));
      }),
      { numRuns: 3000 },
    );
  });
});

describe('parseRangeBeforeSize', () => {
  it('keeps the positions as they were asked for', () => {
    assert.deepEqual(parseRangeBeforeSize('bytes=5-9, 7-,-3'), {
      kind: 'specs',
      specs: [
        { kind: 'closed', first: 5, last: 9 },
        { kind: 'open', first: 7 },
        { kind: 'suffix', length: 3 },
      ],
    });
  });
});

/** What RFC 9110 §14 says, written without a grammar: a scanner over characters and one set of bytes per element. */
function referenceRange(header: string, size: number): object {
  if (header.slice(0, 6).toLowerCase() !== 'bytes=') return none;
  const wanted: { start: number; end: number }[] = [];
  let elements = 0;
  let suffixOfNothing = false;
  for (const raw of header.slice(6).split(',')) {
    let text = raw;
    while (text.startsWith(' ') || text.startsWith('\t')) text = text.slice(1);
    while (text.endsWith(' ') || text.endsWith('\t')) text = text.slice(0, -1);
    if (text === '') continue;
    elements += 1;
    const dash = text.indexOf('-');
    const left = text.slice(0, Math.max(0, dash));
    const right = text.slice(dash + 1);
    const isNumber = (part: string) => part !== '' && [...part].every((c) => c >= '0' && c <= '9');
    if (dash < 0 || (left !== '' && !isNumber(left)) || (right !== '' && !isNumber(right))) return none;
    if (left === '' && right === '') return none;
    if (left !== '' && right !== '' && BigInt(right) < BigInt(left)) return none;
    const bytes: number[] = [];
    for (let at = 0; at < size; at += 1) {
      const inside =
        left === ''
          ? BigInt(size - at) <= BigInt(right)
          : BigInt(at) >= BigInt(left) && (right === '' || BigInt(at) <= BigInt(right));
      if (inside) bytes.push(at);
    }
    const first = bytes[0];
    if (first !== undefined) wanted.push({ start: first, end: first + bytes.length });
    else if (left === '' && BigInt(right) > 0n) suffixOfNothing = true;
  }
  if (elements === 0) return none;
  const total = wanted.reduce((sum, { start, end }) => sum + end - start, 0);
  if (wanted.length > 64 || total > size) return tooMany;
  if (wanted.length > 0) return { kind: 'spans', spans: wanted };
  return suffixOfNothing ? none : unsatisfiable;
}
