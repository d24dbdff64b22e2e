/** One request as an origin saw it. */
export interface RegistryRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly status: number;
  /** Body bytes sent. */
  readonly bytes: number;
  readonly userAgent: string;
}

/** The Apache combined format: host ident user [time] "METHOD path HTTP/1.1" status bytes "referer" "user agent". */
const COMBINED = /^\S+ \S+ \S+ \[[^\]]+\] "(\S+) (\S+) HTTP\/[\d.]+" (\d{3}) (\d+|-) "[^"]*" "([^"]*)"/;

/** The requests among the lines of a registry's log. */
export function parseAccessLog(text: string): RegistryRequest[] {
  const requests: RegistryRequest[] = [];
  for (const line of text.split('\n')) {
    const match = COMBINED.exec(line);
    if (match === null) continue;
    const [, method = '', path = '', status = '', bytes = '', userAgent = ''] = match;
    requests.push({
      method,
      path,
      status: Number(status),
      bytes: bytes === '-' ? 0 : Number(bytes),
      userAgent,
    });
  }
  return requests;
}
