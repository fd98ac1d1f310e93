/** Connections that came to a pod's application and that its kernel refused: the raw material of two rules, which differ in what the listing of sockets shows. */
import type { Subject } from '../annotate/subject.ts';
import { isLoopback } from '../net/address.ts';
import type { Socket } from '../world/sockets.ts';
import { type FindingInput, type FindingNamespace, plays } from './finding.ts';
import { accepts, listenersOn, onLoopbackOnly } from './listening.ts';

export interface RefusedByApp {
  readonly subject: Subject;
  readonly port: number;
  /** On the port; `undefined` when no listing was recorded. */
  readonly listeners: readonly Socket[] | undefined;
  /**
   * `loopback`: something listens, on loopback addresses only. `none`: nothing listens. `elsewhen`: something listens that would have taken the connection, so it did not at that moment.
   * `unknown`: there is no listing.
   */
  readonly state: 'loopback' | 'none' | 'elsewhen' | 'unknown';
  /** A connection over loopback to the same port that was taken; where there is no listing. */
  readonly taken?: Subject;
}

/** A SYN answered with RST on the last leg: from the proxy to the application, or straight to it. */
export function* refusedByApp(input: FindingInput): Generator<RefusedByApp> {
  for (const namespace of input.namespaces) {
    let overLoopback: Map<number, Subject> | undefined;
    for (const subject of namespace.playing('proxy-to-app', 'direct')) {
      const { flow, place, translation } = subject;
      if (flow.protocol !== 'tcp' || flow.state !== 'refused' || !place.destinationIsOurs) continue;
      if (!plays(subject, 'proxy-to-app') && (!plays(subject, 'direct') || place.sourceIsOurs)) continue;
      const { ip, port } = translation.destination;
      const listeners = listenersOn(namespace.world, port);
      if (listeners !== undefined) {
        yield { subject, port, listeners, state: stateOf(listeners, ip) };
        continue;
      }
      overLoopback ??= takenOverLoopback(namespace);
      const taken = overLoopback.get(port);
      yield { subject, port, listeners, state: taken === undefined ? 'unknown' : 'loopback', ...(taken === undefined ? {} : { taken }) };
    }
  }
}

function stateOf(listeners: readonly Socket[], ip: string): RefusedByApp['state'] {
  if (listeners.some((socket) => accepts(socket, ip))) return 'elsewhen';
  return onLoopbackOnly(listeners) ? 'loopback' : 'none';
}

/** Connections over loopback that got an answer, by port; one each. */
function takenOverLoopback({ subjects }: FindingNamespace): Map<number, Subject> {
  const taken = new Map<number, Subject>();
  for (const subject of subjects) {
    const { ip, port } = subject.translation.destination;
    if (isLoopback(ip) && subject.flow.payloadToSource && !taken.has(port)) taken.set(port, subject);
  }
  return taken;
}
