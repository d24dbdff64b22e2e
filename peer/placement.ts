import type { Digest } from '../src/blob/digest.ts';
import { digestHex } from '../src/blob/digest.ts';
import type { Member } from './member.ts';

/** Planners of one blob: so a node talks to at most this many about it (design.md, "Placement"). */
export const COMMITTEE_SIZE = 8;

/** Committees remembered per view of the members; the oldest goes first. */
const CACHED_COMMITTEES = 1024;

interface HashedView {
  readonly low: Uint32Array;
  readonly high: Uint32Array;
  readonly committees: Map<Digest, readonly Member[]>;
}

// Keyed by the array of live members, which a MemberView replaces when something changes: an old view is collected with it.
const VIEWS = new WeakMap<readonly Member[], HashedView>();

/**
 * The planners of a blob: the first min(8, live) members by rendezvous hash of the digest, best first. Everybody with
 * the same members names the same ones, and a join or a leave moves only what the joined or left member had.
 * @param members sorted by id, as MemberView.live() gives them; ties go to the earlier one.
 */
export function committee(digest: Digest, members: readonly Member[]): readonly Member[] {
  const view = hashed(members);
  const known = view.committees.get(digest);
  if (known !== undefined) return known;
  const [low, high] = digestLanes(digest);
  const best: { member: Member; score: number }[] = [];
  members.forEach((member, index) => {
    const score = mix((view.low[index] ?? 0) ^ low, (view.high[index] ?? 0) ^ high);
    const least = best[COMMITTEE_SIZE - 1];
    if (least !== undefined && score <= least.score) return;
    const place = best.findIndex((other) => other.score < score);
    best.splice(place < 0 ? best.length : place, 0, { member, score });
    best.length = Math.min(best.length, COMMITTEE_SIZE);
  });
  const planners = best.map(({ member }) => member);
  if (view.committees.size >= CACHED_COMMITTEES) {
    for (const oldest of view.committees.keys()) {
      view.committees.delete(oldest);
      break;
    }
  }
  view.committees.set(digest, planners);
  return planners;
}

/** Who plans a segment, in order: the planner, then its understudies. */
export function ranks(digest: Digest, segment: number, planners: readonly Member[]): readonly Member[] {
  const [low, high] = digestLanes(digest);
  const salt = Math.imul(segment + 1, 0x9e3779b1);
  return planners
    .map((member) => {
      const [memberLow, memberHigh] = textLanes(member.id);
      return { member, score: mix(memberLow ^ low ^ salt, memberHigh ^ high ^ Math.imul(salt, 0x85ebca77)) };
    })
    .sort((a, b) => b.score - a.score)
    .map(({ member }) => member);
}

function hashed(members: readonly Member[]): HashedView {
  const known = VIEWS.get(members);
  if (known !== undefined) return known;
  const low = new Uint32Array(members.length);
  const high = new Uint32Array(members.length);
  members.forEach((member, index) => {
    const lanes = textLanes(member.id);
    low[index] = lanes[0];
    high[index] = lanes[1];
  });
  const view = { low, high, committees: new Map() };
  VIEWS.set(members, view);
  return view;
}

/** A digest is uniform already: its first 64 bits. */
function digestLanes(digest: Digest): [low: number, high: number] {
  const hex = digestHex(digest);
  return [Number.parseInt(hex.slice(0, 8), 16), Number.parseInt(hex.slice(8, 16), 16)];
}

function textLanes(text: string): [low: number, high: number] {
  let low = 0xdeadbeef;
  let high = 0x41c6ce57;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    low = Math.imul(low ^ code, 0x9e3779b1);
    high = Math.imul(high ^ code, 0x5f356495);
  }
  return [low, high];
}

/** Two rounds of a multiply-xor finaliser over two 32-bit lanes; 53 bits of it, so that scores compare as numbers. */
function mix(low: number, high: number): number {
  let a = low;
  let b = high;
  for (let round = 0; round < 2; round += 1) {
    a = Math.imul(a ^ (a >>> 16), 0x85ebca6b) ^ Math.imul(b ^ (b >>> 13), 0xc2b2ae35);
    b = Math.imul(b ^ (b >>> 16), 0x85ebca6b) ^ Math.imul(a ^ (a >>> 13), 0xc2b2ae35);
  }
  return (b & 0x1fffff) * 0x1_0000_0000 + (a >>> 0);
}
