/** A VirtualService injects a fault: Envoy answers by itself (flag FI). */
import { askedText, type Decided, decidedAs, wayText } from './decisions.ts';
import { Drafts, type FindingText } from './drafts.ts';
import type { Finding } from './finding.ts';
import { placeName } from './quote.ts';

const rule = 'fault-injected';

export const faultInjected: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const decided of decidedAs(input, 'fault')) {
      const { decision, subject, path } = decided;
      if (path.request?.status === undefined || path.request.status < 200) continue;
      drafts.add(subject.world, `${decision.virtualHost ?? ''} ${decision.cluster ?? ''} ${path.request.status}`, [subject], [path], () =>
        describe(decided),
      );
    }
    return drafts.records();
  },
};

function describe(decided: Decided): FindingText {
  const { path, subject } = decided;
  return {
    severity: 'warning',
    title: `The proxy of ${placeName(subject.world)} answers requests to ${path.request?.authority ?? 'a host'} with ${path.request?.status ?? 'a fault'} on purpose (fault injection)`,
    proof: [askedText(decided), wayText(decided), 'The fault filter of this route aborts requests.'],
    fix: 'If the test is over, take fault.abort out of the VirtualService of this host.',
  };
}
