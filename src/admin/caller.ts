import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import ipaddr from 'ipaddr.js';
import { DamselflyError } from '../errors.ts';

/**
 * Who may have the node do something on the admin port: whoever shows the token of `admin.tokenFile`; without one,
 * callers on this host. Never a page of another site in somebody's browser, which reaches loopback ports as well.
 * @throws DamselflyError admin-forbidden, token-required.
 */
export function checkCaller(request: FastifyRequest, token: string | undefined): void {
  refuseOtherSites(request);
  if (token !== undefined) {
    if (!showsToken(request.headers.authorization, token)) {
      throw new DamselflyError(
        'token-required',
        'This needs "Authorization: Bearer" with the token of admin.tokenFile',
      );
    }
  } else if (!isLoopback(request.ip)) {
    throw new DamselflyError(
      'admin-forbidden',
      'Without admin.tokenFile only callers on this host may do this: set it, and send its token',
    );
  }
}

/** RFC 6750 §3: what a 401 asks for. */
export function challengeFor(request: FastifyRequest): string {
  const given = request.headers.authorization !== undefined;
  return given ? 'Bearer realm="damselfly", error="invalid_token"' : 'Bearer realm="damselfly"';
}

/** Hashes are of one length whatever was sent, so that the comparison tells nothing by its time. */
function showsToken(authorization: string | undefined, token: string): boolean {
  const given = /^Bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
  return given !== undefined && timingSafeEqual(sha256(given), sha256(token));
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/**
 * Browsers send Origin with every POST, and Sec-Fetch-Site unless they are old; nothing else does. A page of another
 * name that resolves to this host (DNS rebinding) is of the "same" origin, so a browser must have named an address.
 */
function refuseOtherSites({ headers }: FastifyRequest): void {
  const site = headers['sec-fetch-site'];
  const { origin, host = '' } = headers;
  if (site === undefined && origin === undefined) return;
  const sameSite = site === undefined || site === 'same-origin' || site === 'none';
  const sameOrigin = origin === undefined || origin.replace(/^https?:\/\//i, '') === host;
  if (sameSite && sameOrigin && namesAddress(host)) return;
  throw new DamselflyError('admin-forbidden', 'Pages of other sites may not do this');
}

function namesAddress(host: string): boolean {
  const name = host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
  return name === 'localhost' || ipaddr.isValid(name);
}

function isLoopback(address: string): boolean {
  return ipaddr.isValid(address) && ipaddr.process(address).range() === 'loopback';
}
