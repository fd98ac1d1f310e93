/** The server did not answer within the route's time-out: the proxy answers 504 itself (flag UT). */
import { Drafts, type FindingText } from './drafts.ts';
import type { Finding } from './finding.ts';
import { connectionText, durationText, peerText, placeName } from './quote.ts';
import { answeredByProxy, exchangeOf, type Forwarded, forwarded } from './upstream-legs.ts';

const rule = 'upstream-timeout';

export const upstreamTimeout: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const found of forwarded(input)) {
      const { path, down, up, decision } = found;
      if (path.of !== 'request' || path.request?.status !== 504) continue;
      const exchange = exchangeOf(path, down);
      if (exchange?.requestStartNs === undefined || exchange.responseStartNs === undefined || !answeredByProxy(exchange, 504)) continue;
      const waitedNs = exchange.responseStartNs - exchange.requestStartNs;
      drafts.add(up.world, `${decision.cluster ?? ''} ${decision.route ?? ''}`, [up, down], [path], () => describe(found, waitedNs));
    }
    return drafts.records();
  },
};

function describe({ path, down, up, decision }: Forwarded, waitedNs: number): FindingText {
  const route = decision.route === undefined || decision.route === '' ? 'the route' : `route "${decision.route}"`;
  return {
    severity: 'error',
    title: `${peerText(up.record.destination)} does not answer the proxy of ${placeName(up.world)} in time`,
    proof: [
      `${connectionText(down)}: ${path.request?.method ?? 'a request'} ${path.request?.path ?? ''} at ${path.first} was answered 504 by the proxy itself after ${durationText(waitedNs)}.`,
      `It was sent on: ${connectionText(up)}, for cluster "${decision.cluster ?? ''}".`,
    ],
    fix: `Let the server answer sooner, or give ${route} more time (timeout of the VirtualService).`,
  };
}
