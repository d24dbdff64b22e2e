import type { UrgencyLevel } from '../../src/blob/urgency.ts';
import type { PeerId } from '../member.ts';
import type {
  Accusation,
  Ask,
  Assignment,
  FailedHolder,
  Fetch,
  Inquiry,
  Knowledge,
  LeaseReport,
  PieceMark,
  Plan,
  Report,
} from '../messages.ts';
import type { Voucher } from '../voucher.ts';
import {
  readDigest,
  readFlag,
  readList,
  readMask,
  readName,
  readOneOf,
  readPeer,
  readRealm,
  readSha256,
  readSize,
  readSlot,
  readVoucher,
  whole,
  writeList,
  writeName,
  writeOneOf,
  writeSize,
  writeVoucher,
} from './values.ts';
import { type ByteReader, ByteWriter, broken } from './wire.ts';

// The words of messages.ts as bytes, message by message; what they are made of is in values.ts.

/** Enough for a thousand holders, which is more than a planner names. */
export const MAX_HOLDERS = 1024;
/** Of everything that is counted in pieces of one segment. */
export const MAX_LIST = 64;
/** Holders that one assignment names. */
export const MAX_ALTERNATES = 16;

const WHY_FAILED = ['gone', 'silent', 'slow', 'busy', 'wrong'] as const satisfies FailedHolder['why'][];
const LEASE_STATES = ['progress', 'returned'] as const satisfies LeaseReport['state'][];
const WHY_RETURNED = [undefined, 'refused', 'failed', 'busy', 'disk', 'stopping'] as const;
const URGENCIES = ['demand', 'prefetch'] as const satisfies UrgencyLevel[];

/** Pieces that a node says it is to send; more makes no difference. */
const MAX_LOAD = 65_535;

export function encodeAsk(ask: Ask): Buffer {
  const to = new ByteWriter();
  writeName(to, ask);
  writeSize(to, ask.size);
  to.u16(ask.wanted).u16(ask.held).u16(ask.underway).u16(ask.hedge).u8(Math.min(ask.leases, MAX_LIST));
  to.u16(Math.min(ask.load, MAX_LOAD));
  writeOneOf(to, URGENCIES, ask.urgency);
  writeList(to, ask.failed, MAX_LIST, (one) => {
    to.text(one.from).u16(one.pieces);
    writeOneOf(to, WHY_FAILED, one.why);
  });
  return to.finish();
}

export function decodeAsk(body: Buffer): Ask {
  return whole(body, (from) => ({
    ...readName(from),
    size: readSize(from),
    wanted: readMask(from),
    held: readMask(from),
    underway: readMask(from),
    hedge: readMask(from),
    leases: from.u8(),
    load: from.u16(),
    urgency: readOneOf(from, URGENCIES),
    failed: readList(from, MAX_LIST, () => ({
      from: readPeer(from),
      pieces: readMask(from),
      why: readOneOf(from, WHY_FAILED),
    })),
  }));
}

const FETCH_KIND = 0;
const LEASE_KIND = 1;
const HEDGE_KIND = 2;

export function encodePlan(plan: Plan): Buffer {
  const to = new ByteWriter();
  writeName(to, plan);
  writeSize(to, plan.size);
  to.u8((plan.isFinal ? 1 : 0) | (plan.isPending ? 2 : 0));
  writeList(to, plan.assignments, MAX_LIST, (one) => {
    if (one.kind === 'fetch') {
      to.u8(FETCH_KIND).u16(one.pieces);
      writeList(to, one.from, MAX_ALTERNATES, (peer) => to.text(peer));
    } else {
      to.u8(one.isHedge ? HEDGE_KIND : LEASE_KIND)
        .u16(one.pieces)
        .u32(one.leaseMs);
    }
  });
  return to.finish();
}

export function decodePlan(body: Buffer): Plan {
  return whole(body, (from) => {
    const name = readName(from);
    const size = readSize(from);
    const flags = from.u8();
    if (flags > 3) throw broken('a plan has flags that nobody knows');
    const assignments = readList(from, MAX_LIST, () => readAssignment(from));
    return { ...name, size, assignments, isFinal: (flags & 1) !== 0, isPending: (flags & 2) !== 0 };
  });
}

function readAssignment(from: ByteReader): Assignment {
  const kind = from.u8();
  const pieces = readMask(from);
  if (kind === FETCH_KIND)
    return { kind: 'fetch', pieces, from: readList(from, MAX_ALTERNATES, () => readPeer(from)) };
  if (kind !== LEASE_KIND && kind !== HEDGE_KIND) throw broken('an assignment of a kind that nobody knows');
  return { kind: 'lease', pieces, leaseMs: from.u32(), isHedge: kind === HEDGE_KIND };
}

export function encodeReport(report: Report): Buffer {
  const to = new ByteWriter();
  writeName(to, report);
  to.u53(report.size).u16(Math.min(report.load, MAX_LOAD)).u16(report.held).u16(report.lost);
  writeList(to, report.marks, MAX_LIST, (mark) => {
    to.u8(mark.slot).bytes(mark.sha256);
    writeVoucher(to, mark.voucher);
  });
  writeList(to, report.leases, MAX_LIST, (lease) => {
    to.u16(lease.pieces);
    writeOneOf(to, LEASE_STATES, lease.state);
    writeOneOf(to, WHY_RETURNED, lease.why);
  });
  writeList(to, report.accused, MAX_LIST, (one) => to.u8(one.slot).text(one.by));
  return to.finish();
}

function readReport(from: ByteReader): Report {
  return {
    ...readName(from),
    size: from.u53(),
    load: from.u16(),
    held: readMask(from),
    lost: readMask(from),
    marks: readList(
      from,
      MAX_LIST,
      (): PieceMark => ({ slot: readSlot(from), sha256: readSha256(from), voucher: readVoucher(from) }),
    ),
    leases: readList(
      from,
      MAX_LIST,
      (): LeaseReport => ({
        pieces: readMask(from),
        state: readOneOf(from, LEASE_STATES),
        why: readOneOf(from, WHY_RETURNED),
      }),
    ),
    accused: readList(from, MAX_LIST, (): Accusation => ({ slot: readSlot(from), by: readPeer(from) })),
  };
}

/** What one frame of reports holds, in bytes: some dozen with many marks, some hundred without. */
const REPORTS_BYTES = 32 * 1024;

/** Bodies of as many frames as it takes. */
export function encodeReports(reports: readonly Report[]): Buffer[] {
  const bodies: Buffer[] = [];
  let parts: Buffer[] = [];
  let bytes = 0;
  const flush = (): void => {
    if (parts.length === 0) return;
    bodies.push(Buffer.concat([new ByteWriter().u16(parts.length).finish(), ...parts]));
    parts = [];
    bytes = 0;
  };
  for (const report of reports) {
    const part = encodeReport(report);
    if (bytes + part.length > REPORTS_BYTES) flush();
    parts.push(part);
    bytes += part.length;
  }
  flush();
  return bodies;
}

export function decodeReports(body: Buffer): Report[] {
  return whole(body, (from) => {
    // Not a list of its own bound: the frame has one, and a report takes some 100 bytes of it.
    const count = from.u16();
    const reports: Report[] = [];
    for (let i = 0; i < count; i += 1) reports.push(readReport(from));
    return reports;
  });
}

export function encodeInquiry(inquiry: Inquiry): Buffer {
  const to = new ByteWriter();
  writeName(to, inquiry);
  return to.finish();
}

export function decodeInquiry(body: Buffer): Inquiry {
  return whole(body, readName);
}

export function encodeKnowledge(knowledge: Knowledge): Buffer {
  const to = new ByteWriter();
  writeName(to, knowledge);
  writeSize(to, knowledge.size);
  to.u8(knowledge.isFresh ? 1 : 0);
  writeList(to, knowledge.holders, MAX_HOLDERS, ({ peer, held }) => to.text(peer).u16(held));
  writeList(to, knowledge.leases, MAX_LIST, ({ peer, pieces, leaseMs }) =>
    to.text(peer).u16(pieces).u32(leaseMs),
  );
  return to.finish();
}

export function decodeKnowledge(body: Buffer): Knowledge {
  return whole(body, (from) => ({
    ...readName(from),
    size: readSize(from),
    isFresh: readFlag(from),
    holders: readList(from, MAX_HOLDERS, () => ({ peer: readPeer(from), held: readMask(from) })),
    leases: readList(from, MAX_LIST, () => ({
      peer: readPeer(from),
      pieces: readMask(from),
      leaseMs: from.u32(),
    })),
  }));
}

export function encodeFetch(fetch: Fetch): Buffer {
  const to = new ByteWriter();
  to.text(fetch.realm).text(fetch.digest).u53(fetch.size).u32(fetch.piece);
  writeOneOf(to, URGENCIES, fetch.urgency);
  to.u32(Math.max(0, Math.floor(fetch.waitMs)));
  return to.finish();
}

export function decodeFetch(body: Buffer): Fetch {
  return whole(body, (from) => ({
    realm: readRealm(from),
    digest: readDigest(from),
    size: from.u53(),
    piece: from.u32(),
    urgency: readOneOf(from, URGENCIES),
    waitMs: from.u32(),
  }));
}

/** What goes before the bytes of a piece. */
export interface PieceHead {
  /** Bytes of the piece. */
  readonly length: number;
  readonly voucher: Voucher;
}

export function encodePieceHead(head: PieceHead): Buffer {
  const to = new ByteWriter();
  to.u32(head.length);
  writeVoucher(to, head.voucher);
  return to.finish();
}

export function decodePieceHead(body: Buffer): PieceHead {
  return whole(body, (from) => ({ length: from.u32(), voucher: readVoucher(from) }));
}

export function encodePeers(peers: readonly PeerId[]): Buffer {
  const to = new ByteWriter();
  writeList(to, peers, MAX_LIST, (peer) => to.text(peer));
  return to.finish();
}

export function decodePeers(body: Buffer): PeerId[] {
  return whole(body, (from) => readList(from, MAX_LIST, () => readPeer(from)));
}
