/** What `GET /` shows: the node runs, and where to look further. */
export function page(version: string, metrics: readonly string[]): string {
  const scrape = metrics.map((address) => `<code>http://${escapeHtml(address)}/metrics</code>`).join(', ');
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Damselfly ${escapeHtml(version)}</title>
<h1>Damselfly ${escapeHtml(version)}</h1>
<p>This node is running.</p>
<ul>
<li><a href="/api/v1/status">/api/v1/status</a>: what it did, as JSON; <code>damselfly status</code> prints it</li>
<li><a href="/healthy">/healthy</a>: 200 while it can serve, 503 with the reasons while it cannot</li>
${scrape === '' ? '' : `<li>Prometheus metrics: ${scrape}</li>\n`}</ul>
</html>
`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
