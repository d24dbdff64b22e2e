import { Agent, request } from 'undici';

/** A document of a node; a bound against whatever else listens there. */
const MAX_BYTES = 4 * 2 ** 20;
const TIMEOUT_MS = 4_000;

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** One request, without a credential, on a connection of its own. @throws what node or undici throws. */
export async function get(url: string, signal: AbortSignal): Promise<Answer> {
  const agent = new Agent({
    connect: { timeout: TIMEOUT_MS },
    headersTimeout: TIMEOUT_MS,
    bodyTimeout: TIMEOUT_MS,
  });
  try {
    const { statusCode, body } = await request(url, { dispatcher: agent, signal });
    let text = '';
    for await (const chunk of body.setEncoding('utf8') as AsyncIterable<string>) {
      text += chunk;
      if (text.length > MAX_BYTES) break;
    }
    return { status: statusCode, body: text };
  } finally {
    await agent.destroy();
  }
}
