/** The application listens on a loopback address only: what the proxy brings comes to the pod's own address, and is refused. */
import { Drafts, type FindingText } from './drafts.ts';
import type { Finding } from './finding.ts';
import { socketText } from './listening.ts';
import { connectionText, listText, placeName } from './quote.ts';
import { type RefusedByApp, refusedByApp } from './refused-by-app.ts';

const rule = 'application-on-loopback';

export const applicationOnLoopback: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const refused of refusedByApp(input))
      if (refused.state === 'loopback')
        drafts.add(refused.subject.world, String(refused.port), [refused.subject], input.pathsThrough(refused.subject.record.id), () =>
          describe(refused),
        );
    return drafts.records();
  },
};

function describe({ subject, port, listeners, taken }: RefusedByApp): FindingText {
  return {
    // Without a listing it is two connections that differ, at two moments.
    severity: listeners === undefined ? 'warning' : 'error',
    title: `The application of ${placeName(subject.world)} listens on port ${port} on loopback only, so that nobody else reaches it`,
    proof: [
      `${connectionText(subject)}: the SYN was answered with RST.`,
      listeners === undefined
        ? `A connection over loopback to the same port was taken: ${connectionText(taken!)}. No listing of sockets was recorded.`
        : `The listing of sockets shows on port ${port} only ${listText(listeners.map(socketText))}.`,
    ],
    fix: `Let the application listen on 0.0.0.0 (or ::), port ${port}; or keep it on loopback and tell the proxy so with a Sidecar resource: ingress, port ${port}, defaultEndpoint 127.0.0.1:${port}.`,
  };
}
