/** Nothing listens on the port that a connection came to: a wrong targetPort, an application that is not up yet or not any more. */
import { Drafts, type FindingText } from './drafts.ts';
import type { Finding } from './finding.ts';
import { socketText } from './listening.ts';
import { connectionText, listText, placeName } from './quote.ts';
import { type RefusedByApp, refusedByApp } from './refused-by-app.ts';

const rule = 'nothing-listens';

export const nothingListens: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const refused of refusedByApp(input))
      if (refused.state !== 'loopback')
        drafts.add(
          refused.subject.world,
          `${refused.port} ${refused.state === 'elsewhen'}`,
          [refused.subject],
          input.pathsThrough(refused.subject.record.id),
          () => describe(refused),
        );
    return drafts.records();
  },
};

function describe({ subject, port, listeners, state }: RefusedByApp): FindingText {
  const elsewhen = state === 'elsewhen';
  const listing =
    listeners === undefined
      ? 'No listing of sockets was recorded: whether something listens on another address of the pod is not known.'
      : elsewhen
        ? `The listing of sockets shows ${listText(listeners.map(socketText))}: not at that moment.`
        : listeners.length === 0
          ? `The listing of sockets shows nothing on port ${port}.`
          : `The listing of sockets shows on port ${port} only ${listText(listeners.map(socketText))}.`;
  return {
    severity: elsewhen ? 'warning' : 'error',
    title: elsewhen
      ? `For a while nothing listened on port ${port} of ${placeName(subject.world)}`
      : `Nothing takes connections on port ${port} of ${placeName(subject.world)}`,
    proof: [`${connectionText(subject)}: the SYN was answered with RST.`, listing],
    fix: elsewhen
      ? 'Give the pod a readiness probe that asks the application itself, so that no traffic comes before it listens; at shutdown let it listen until its connections have drained (preStop).'
      : `Check the port that the application listens on against the Service's targetPort (and the port that the caller uses), and that the application is up.`,
  };
}
