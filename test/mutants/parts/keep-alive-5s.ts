import type { Server } from 'node:http';
import { type HttpServerOptions, createProxyHttpServer as right } from '../../../src/proxy/http-server.ts';

export * from '../../../src/proxy/http-server.ts';

export function createProxyHttpServer(options: HttpServerOptions): Server {
  const server = right(options);
  server.keepAliveTimeout = 5_000;
  return server;
}
