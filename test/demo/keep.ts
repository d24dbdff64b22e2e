import type { NodeProcess } from './node-process.ts';
import { ACCOUNT, REPOSITORIES, type Scene } from './scene.ts';

/** Prints where everything is and what to try, and waits for the stop. */
export async function printAddresses(
  scene: Scene,
  nodes: readonly [NodeProcess, ...NodeProcess[]],
  signal: AbortSignal,
): Promise<void> {
  const [node] = nodes;
  const [layer] = scene.image.manifests[0].layers;
  const { origin } = scene;
  const scope = `repository:${REPOSITORIES.app}:pull`;
  console.log(`
Still running until Ctrl-C:

  registry  ${origin.url}   user ${ACCOUNT.name}, password ${ACCOUNT.password}; ${Object.values(REPOSITORIES).join(', ')}, tag v1
${nodes.map(addressesOf).join('\n')}

Try:

  TOKEN=$(curl -s -u ${ACCOUNT.name}:${ACCOUNT.password} '${origin.tokenUrl}?service=demo-registry&scope=${scope}' | sed 's/.*"token":"\\([^"]*\\)".*/\\1/')
  curl -s -H "Authorization: Bearer $TOKEN" ${node.url}/v2/${REPOSITORIES.app}/manifests/v1
  curl -s -D- -o /dev/null -H "Authorization: Bearer $TOKEN" -r 0-1048575 ${node.url}/v2/${REPOSITORIES.app}/blobs/${layer?.digest}
  curl -s -D- -o /dev/null -r 0-1048575 ${node.url}/v2/${REPOSITORIES.app}/blobs/${layer?.digest}    # without a token: the registry's own 401
  npm run -s damselfly -- status --admin ${node.adminHost}
  npm run -s damselfly -- peers --admin ${node.adminHost}
`);
  await new Promise<void>((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

function addressesOf(node: NodeProcess, index: number): string {
  return `  node ${index + 1}    ${node.url}   configuration: ${node.configFile}
            status http://${node.adminHost}/ and /api/v1/status, metrics http://${node.metricsHost}/metrics`;
}
