/** An AuthorizationPolicy denies the request (403, `RBAC: access denied`) or the connection. */
import { askedText, cameTrue, type Decided, decidedAs, wayText } from './decisions.ts';
import { Drafts, type FindingText } from './drafts.ts';
import { type Finding, plays } from './finding.ts';
import { placeName } from './quote.ts';
import { answeredByProxy, exchangeOf } from './upstream-legs.ts';

const rule = 'denied-by-policy';

export const deniedByPolicy: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    const add = (decided: Decided, predicted: boolean) => {
      const { decision, subject, path } = decided;
      const key = `${subject.translation.destination.port} ${decision.chain ?? ''} ${subject.record.source.ip}`;
      drafts.add(subject.world, key, [subject], [path], () => describe(decided, predicted));
    };
    for (const decided of decidedAs(input, 'denied')) if (cameTrue(decided, 403)) add(decided, true);
    for (const decided of decidedAs(input, 'forwarded')) if (refusedAllTheSame(decided)) add(decided, false);
    return drafts.records();
  },
};

/** The text that Envoy's RBAC filter answers with. Source: source/extensions/filters/http/rbac/rbac_filter.cc. */
const BODY = 'RBAC: access denied';

/** The configuration that was recorded does not deny it, and the proxy answered so all the same: another one held meanwhile. */
function refusedAllTheSame({ path, subject }: Decided): boolean {
  if (path.request?.status !== 403 || !plays(subject, 'client-to-proxy') || path.legs.at(-1)?.flow !== subject.record.id) return false;
  const exchange = exchangeOf(path, subject);
  return exchange !== undefined && answeredByProxy(exchange, 403) && exchange.responseDone && exchange.responseBytes === BODY.length;
}

function describe(decided: Decided, predicted: boolean): FindingText {
  const { subject } = decided;
  const { source } = subject.record;
  const peer = subject.connection?.facts.peer;
  return {
    severity: 'warning',
    title: `A policy of ${placeName(subject.world)} denies what ${source.pod ?? source.ip} asks of port ${subject.translation.destination.port}`,
    proof: predicted
      ? [
          askedText(decided),
          wayText(decided),
          `Its access rules (RBAC filter) do not allow it${peer === undefined || peer === '' ? '' : ` for ${peer}`}.`,
        ]
      : [
          askedText(decided),
          `The proxy answered by itself, with a body as long as "${BODY}", and sent nothing on.`,
          'The configuration that was recorded does not deny it: another one held at that moment.',
        ],
    fix: 'If it should be allowed, look at the AuthorizationPolicies that select this workload: a DENY that fits, or ALLOW policies none of which fits (principals need mutual TLS).',
  };
}
