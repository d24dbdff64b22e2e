import ipaddr from 'ipaddr.js';

/** `forbidden` is refused always; `loopback` unless that target is listed; private ranges are `ordinary`. */
export type AddressClass = 'ordinary' | 'loopback' | 'forbidden';

/**
 * Metadata services that stand outside the link-local range (those inside, such as 169.254.169.254 and .170.2, fall with
 * it): AWS's IPv6 one, Oracle's 192.0.0.192, Alibaba's 100.100.100.200, Azure's wire server.
 */
const METADATA: ReadonlySet<string> = new Set([
  'fd00:ec2::254',
  'fd00:ec2::23',
  '192.0.0.192',
  '100.100.100.200',
  '168.63.129.16',
]);

/** Well-known NAT64 prefixes: 64:ff9b::/96 (RFC 6052 §2.1) and 64:ff9b:1::/48 for local use (RFC 8215). */
const NAT64_WELL_KNOWN = ipaddr.IPv6.parseCIDR('64:ff9b::/96');
const NAT64_LOCAL = ipaddr.IPv6.parseCIDR('64:ff9b:1::/48');
/** 2002::/16, the IPv4 address in bits 16 to 48 (RFC 3056 §2). */
const SIX_TO_FOUR = ipaddr.IPv6.parseCIDR('2002::/16');
/** Teredo, the client's IPv4 address inverted in the last 32 bits (RFC 4380 §4). */
const TEREDO = ipaddr.IPv6.parseCIDR('2001::/32');
/** Deprecated IPv4-compatible ::a.b.c.d (RFC 4291 §2.5.5.1); it includes :: and ::1, which are looked at before. */
const IPV4_COMPATIBLE = ipaddr.IPv6.parseCIDR('::/96');
/** Site-local fec0::/10 is deprecated, some stacks still treat it as a scoped address like link-local. */
const SITE_LOCAL = ipaddr.IPv6.parseCIDR('fec0::/10');
/** Stateless translation, ::ffff:0:a.b.c.d (RFC 2765 §2.1). */
const IPV4_TRANSLATED = ipaddr.IPv6.parseCIDR('::ffff:0:0:0/96');

/**
 * What the SSRF rule says of an address: the worst of the address itself and of every IPv4 address that is embedded in
 * it, since a translator in the way would take the packet there.
 * @param address as the resolver or a URL spells it, without brackets; a zone (`%eth0`) is cut off.
 */
export function classifyAddress(address: string): AddressClass {
  const bare = address.split('%', 1)[0] ?? '';
  if (!ipaddr.isValid(bare)) return 'forbidden';
  const parsed = ipaddr.parse(bare);
  return parsed.kind() === 'ipv4' ? classifyIPv4(parsed as ipaddr.IPv4) : classifyIPv6(parsed as ipaddr.IPv6);
}

function classifyIPv4(address: ipaddr.IPv4): AddressClass {
  if (METADATA.has(address.toString())) return 'forbidden';
  switch (address.range()) {
    case 'loopback':
      return 'loopback';
    // 0.0.0.0/8 is "this network" (RFC 1122 §3.2.1.3): Linux takes 0.0.0.0 for loopback.
    case 'unspecified':
    case 'linkLocal':
    case 'multicast':
    case 'broadcast':
      return 'forbidden';
    default:
      // 240.0.0.0/4 is reserved, and broadcast is its last address; nothing can be an origin there.
      return (address.octets[0] ?? 255) >= 224 ? 'forbidden' : 'ordinary';
  }
}

function classifyIPv6(address: ipaddr.IPv6): AddressClass {
  if (METADATA.has(address.toString())) return 'forbidden';
  switch (address.range()) {
    case 'loopback':
      return 'loopback';
    case 'unspecified':
    case 'linkLocal':
    case 'multicast':
      return 'forbidden';
    default:
      break;
  }
  if (address.match(SITE_LOCAL)) return 'forbidden';
  const embedded = embeddedIPv4(address);
  return embedded === undefined ? 'ordinary' : classifyIPv4(embedded);
}

function embeddedIPv4(address: ipaddr.IPv6): ipaddr.IPv4 | undefined {
  const bytes = address.toByteArray();
  if (address.isIPv4MappedAddress()) return address.toIPv4Address();
  if (address.match(SIX_TO_FOUR)) return new ipaddr.IPv4(bytes.slice(2, 6));
  if (address.match(TEREDO)) return new ipaddr.IPv4(bytes.slice(12, 16).map((byte) => byte ^ 0xff));
  if (
    address.match(NAT64_WELL_KNOWN) ||
    address.match(NAT64_LOCAL) ||
    address.match(IPV4_COMPATIBLE) ||
    address.match(IPV4_TRANSLATED)
  ) {
    return new ipaddr.IPv4(bytes.slice(12, 16));
  }
  return undefined;
}

/** Hosts that every system reads as its own loopback interface (RFC 6761 §6.3 for localhost). */
export function isLoopbackHost(host: string): boolean {
  const name = host.toLowerCase();
  if (name === 'localhost' || name.endsWith('.localhost')) return true;
  return ipaddr.isValid(name) && classifyAddress(name) === 'loopback';
}

/**
 * The SSRF rule of the outside contract for one target: which of the addresses that its name has may be connected to.
 * @param listed whether this host and port are an origin that the operator named (never by a wildcard).
 */
export function permittedAddresses(addresses: readonly string[], listed: boolean): string[] {
  return addresses.filter((address) => {
    const kind = classifyAddress(address);
    return kind === 'ordinary' || (kind === 'loopback' && listed);
  });
}
