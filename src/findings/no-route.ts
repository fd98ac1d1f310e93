/** No route of the host takes the request: Envoy answers 404 by itself (flag NR). */
import { askedText, cameTrue, type Decided, decidedAs, wayText } from './decisions.ts';
import { Drafts, type FindingText } from './drafts.ts';
import type { Finding } from './finding.ts';
import { placeName } from './quote.ts';

const rule = 'no-route';

export const noRoute: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const decided of decidedAs(input, 'no-route')) {
      const { decision, subject, path } = decided;
      if (!cameTrue(decided, 404)) continue;
      drafts.add(
        subject.world,
        `${decision.listener ?? ''} ${decision.virtualHost ?? ''} ${path.request?.authority ?? ''}`,
        [subject],
        [path],
        () => describe(decided),
      );
    }
    return drafts.records();
  },
};

function describe(decided: Decided): FindingText {
  const { decision, path, subject } = decided;
  const host = decision.virtualHost;
  return {
    severity: 'error',
    title: `The proxy of ${placeName(subject.world)} has no route for requests to ${path.request?.authority ?? 'a host'} and answers 404 itself`,
    proof: [
      askedText(decided),
      wayText(decided),
      host === undefined ? 'No virtual host has a domain that fits.' : `None of the routes of virtual host "${host}" fits.`,
    ],
    fix:
      host === undefined
        ? 'Check the Host header against the hosts of the Gateway and the VirtualService.'
        : 'Check the matches of the VirtualService for this host (path, method, headers), and give it a last route without a match if all else should be served.',
  };
}
