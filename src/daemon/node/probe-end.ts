/** How a request to the probe ended. */
import type { ProbeEndCode } from '../../source/probe-protocol.ts';

export interface ProbeEnd {
  /** As the probe said it; `disconnected`: the connection to it was lost; `busy`: it was never asked, too much waits already. */
  readonly code: ProbeEndCode | 'disconnected' | 'busy';
  /** 0: none. */
  readonly errno: number;
  readonly text: string;
}

/** As part of a sentence. */
export function describeEnd(end: ProbeEnd): string {
  return end.text === '' ? `the probe said "${end.code}"` : end.text;
}

/** A request that did not end well. */
export class ProbeLinkError extends Error {
  override readonly name = 'ProbeLinkError';
  readonly end: ProbeEnd;

  constructor(message: string, end: ProbeEnd) {
    super(message);
    this.end = end;
  }
}
