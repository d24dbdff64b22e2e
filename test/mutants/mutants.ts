import type { Mutant } from './mutation.ts';

const POINTS = 'test/integration/points';
const CLIENTS = 'test/integration/clients';
const RANGES = `${POINTS}/ranges.test.ts`;
const ORIGINS = `${POINTS}/origins.test.ts`;
const UPSTREAM = `${POINTS}/upstream.test.ts`;
const SHARING = `${POINTS}/sharing.test.ts`;
const CONNECTIONS = `${POINTS}/connections.test.ts`;

/** In the order of the points of the clients' list, which the titles name. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: 'url-normalised',
    effect: 'parses URLs and writes them anew',
    replaces: 'src/proxy/ingress.ts',
    tests: [[ORIGINS, '8.1 ']],
  },
  {
    name: 'default-origin-first',
    effect: 'goes to the default origin, whatever the request names',
    replaces: 'src/proxy/origin-choice.ts',
    tests: [[ORIGINS, '8.2 the origin is']],
  },
  {
    name: 'http-stays-http',
    effect: 'sends what is written http:// in the clear',
    replaces: 'src/origin/origin-directory.ts',
    tests: [[ORIGINS, '8.3 ']],
  },
  {
    name: 'tunnels-refused',
    effect: 'answers CONNECT with 405',
    replaces: 'src/proxy/connect-route.ts',
    tests: [['test/integration/connect.test.ts', '8.4 a blind']],
  },
  {
    name: 'pings-touch-the-origin',
    effect: 'passes health checks on',
    replaces: 'src/proxy/pings.ts',
    tests: [[CONNECTIONS, '8.5 ']],
  },
  {
    name: 'base-is-200',
    effect: 'answers GET /v2/ with a 200 of its own',
    replaces: 'src/proxy/base-route.ts',
    tests: [
      [CONNECTIONS, '8.5 '],
      [`${CLIENTS}/podman.test.ts`, 'token: '],
    ],
  },
  {
    name: 'range-is-200',
    effect: 'answers a range with 200 and the whole blob',
    replaces: 'src/proxy/range.ts',
    tests: [[RANGES, '8.6 ']],
  },
  {
    name: 'end-not-clipped',
    effect: 'refuses a range that ends past the blob',
    replaces: 'src/proxy/range.ts',
    tests: [[RANGES, '8.7 ']],
  },
  {
    name: 'open-range-reads-all',
    effect: 'reads an open range to its end in one request',
    replaces: 'src/content/run-plan.ts',
    tests: [['test/integration/fetch-economy.test.ts', '8.8 ']],
  },
  {
    name: 'first-range-only',
    effect: 'answers several ranges with the first',
    replaces: 'src/proxy/range.ts',
    tests: [
      [RANGES, '8.9 several'],
      [`${CLIENTS}/stargz.test.ts`, 'origin by default, anonymous'],
    ],
  },
  {
    name: 'whole-is-206',
    effect: 'answers a request without a range with 206',
    replaces: 'src/proxy/range.ts',
    tests: [[RANGES, '8.10 without']],
  },
  {
    name: 'manifest-ranges',
    effect: 'takes a range of a manifest seriously',
    replaces: 'src/proxy/blob-route.ts',
    tests: [[RANGES, '8.11 ']],
  },
  {
    name: 'accept-lines-collapsed',
    effect: 'keeps the last Accept line of several',
    replaces: 'src/proxy/call.ts',
    tests: [[`${CLIENTS}/podman.test.ts`, 'anonymous: ']],
  },
  {
    name: 'head-without-length',
    effect: 'answers HEAD without a Content-Length',
    replaces: 'src/proxy/blob-answer.ts',
    tests: [[RANGES, '8.12 ']],
  },
  {
    name: 'redirects-not-followed',
    effect: 'takes a redirect for the answer',
    replaces: 'src/origin/redirects.ts',
    tests: [['test/fault/broken-bodies.test.ts', '8.13 307, absolute']],
  },
  {
    name: 'encodings-asked-for',
    effect: 'lets the origin encode blobs',
    replaces: 'src/origin/exchange.ts',
    tests: [[UPSTREAM, '8.14 blobs']],
  },
  {
    name: 'digest-not-checked',
    effect: 'takes every blob for what it is called',
    replaces: 'src/content/proof.ts',
    tests: [[SHARING, '8.15 a completed']],
  },
  {
    name: 'gate-says-yes',
    effect: 'lets everybody read what is cached',
    replaces: 'src/access/access-gate.ts',
    tests: [[SHARING, '8.16 ']],
  },
  {
    name: 'challenge-rewritten',
    effect: 'writes challenges its own way',
    replaces: 'src/proxy/respond.ts',
    tests: [[UPSTREAM, '8.17 ']],
  },
  {
    name: 'token-endpoint-404',
    effect: 'knows no token endpoint',
    replaces: 'src/proxy/forward-route.ts',
    tests: [[UPSTREAM, '8.18 ']],
  },
  {
    name: 'own-trouble-is-404',
    effect: 'answers its own trouble with 404',
    replaces: 'src/proxy/respond.ts',
    tests: [['test/fault/failing-well.test.ts', '8.19 a stopped']],
  },
  {
    name: 'no-deadline',
    effect: 'waits for the head as long as the origin takes',
    replaces: 'src/proxy/call.ts',
    tests: [[`${CLIENTS}/soci.test.ts`, '8.20 ']],
  },
  {
    name: 'keep-alive-5s',
    effect: 'closes idle connections after 5 s',
    replaces: 'src/proxy/http-server.ts',
    tests: [[CONNECTIONS, '8.21 ']],
  },
  {
    name: 'short-clean-end',
    effect: 'ends a body that it cannot complete cleanly',
    replaces: 'src/proxy/reset.ts',
    tests: [[CONNECTIONS, '8.22 ']],
  },
  {
    name: 'hang-up-ends-fill',
    effect: 'ends a flight when one of its readers leaves',
    replaces: 'src/content/flight.ts',
    tests: [[SHARING, '8.23 ']],
  },
  {
    name: 'flights-not-merged',
    effect: 'reads for each request on its own',
    replaces: 'src/content/flight-table.ts',
    tests: [[SHARING, '8.24 ']],
  },
  {
    name: 'hints-ignored',
    effect: 'takes every request for an urgent one',
    replaces: 'src/proxy/hints.ts',
    tests: [['test/integration/priority.test.ts', '8.25 ']],
  },
  {
    name: 'hop-by-hop-leaked',
    effect: 'sends all of a client’s header lines on',
    replaces: 'src/origin/headers.ts',
    tests: [[UPSTREAM, '8.26 ']],
  },
  {
    name: 'ns-forwarded',
    effect: 'leaves ns in what it asks the origin for',
    replaces: 'src/proxy/namespace.ts',
    tests: [[UPSTREAM, '8.27 ']],
  },
  {
    name: 'client-hello-kept',
    effect: 'leaves a TLS client waiting on the plain port',
    replaces: 'src/proxy/client-error.ts',
    tests: [[CONNECTIONS, '8.28 ']],
  },
  {
    name: 'listener-without-blob',
    effect: 'does not know that a listener is one blob',
    replaces: 'src/proxy/entrance.ts',
    tests: [[`${CLIENTS}/nydusd-http-proxy.test.ts`, '8.29 ']],
  },
  {
    name: 'clients-not-told-apart',
    effect: 'counts all clients as one kind',
    replaces: 'src/observe/client-kind.ts',
    tests: [[`${POINTS}/metrics.test.ts`, '8.31 ']],
  },
];
