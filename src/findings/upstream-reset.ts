/** The server closed or reset the connection on which a request was sent, and did not answer it (flag UC): often a kept connection that the server closes at that moment. */
import { Drafts, type FindingText } from './drafts.ts';
import type { Finding } from './finding.ts';
import { connectionText, peerText, placeName } from './quote.ts';
import { answeredByProxy, exchangeOf, type Forwarded, forwarded, isUnanswered } from './upstream-legs.ts';

const rule = 'upstream-reset';

export const upstreamReset: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const found of forwarded(input)) {
      const { path, down, up } = found;
      if (path.of !== 'request' || path.request?.status !== 503 || up.flow.tcp?.isnToSource === undefined) continue;
      const exchange = exchangeOf(path, down);
      if (
        exchange === undefined ||
        !answeredByProxy(exchange, 503) ||
        isUnanswered(up) !== true ||
        !/FIN|RST/.test(up.record.tcp?.flags.toSource ?? '')
      )
        continue;
      const { ip, port } = up.translation.destination;
      drafts.add(up.world, `${ip} ${port}`, [up, down], [path], () => describe(found));
    }
    return drafts.records();
  },
};

function describe({ path, down, up }: Forwarded): FindingText {
  const { record, world } = up;
  const reset = record.tcp?.flags.toSource.includes('RST') === true;
  return {
    severity: 'error',
    title: `${peerText(record.destination)} ${reset ? 'resets' : 'closes'} the connection on which the proxy of ${placeName(world)} sends a request`,
    proof: [
      `${connectionText(down)}: ${path.request?.method ?? 'a request'} ${path.request?.path ?? ''} at ${path.first} was answered 503 by the proxy itself.`,
      `${connectionText(up)}: the proxy's bytes were the last; the server sent ${reset ? 'RST' : 'FIN'} and no answer.`,
    ],
    fix: "If the server closes idle connections, let it wait longer than the proxy does (its keep-alive time-out above connectionPool.http.idleTimeout of the DestinationRule), or let the proxy try again (retryOn: reset). Otherwise look at the server's log at that time.",
  };
}
