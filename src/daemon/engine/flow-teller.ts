/** Tells flows: when they have lasted a moment, when something about them changed, and when they ended and their paths were told. */
import type { FlowRecord } from '../../record/record.ts';
import { awaitsPath, type LiveFlow, recordOf, signatureOf } from './live-flow.ts';

/** A flow whose paths could not be told by then is told without them. */
const PATHS_WAIT_NS = 14e9;
/** What is known of a flow changes a few times at its beginning: not every change is told. */
const CHANGE_NS = 1e9;

export interface FlowTimes {
  readonly settleNs: number;
  readonly openNs: number;
  readonly updateNs: number;
}

export class FlowTeller {
  readonly #times: FlowTimes;
  readonly #write: (record: FlowRecord) => void;

  constructor(times: FlowTimes, write: (record: FlowRecord) => void) {
    this.#times = times;
    this.#write = write;
  }

  tell(live: LiveFlow, nowNs: number, all: boolean): void {
    if (live.told === 'close') return;
    const { settleNs, openNs, updateNs } = this.#times;
    const { wanted } = live;
    live.wanted = false;
    const { flow } = live.subject;
    if (all) {
      this.#tell(live, flow.ended ? 'close' : 'update', nowNs);
      live.told = 'close';
      return;
    }
    if (live.ended) {
      const quietNs = nowNs - live.touchedNs;
      const pathsTold = !awaitsPath(live);
      if ((pathsTold && quietNs >= settleNs) || quietNs >= PATHS_WAIT_NS) this.#tell(live, 'close', nowNs);
      // Whoever is told of a path looks for its legs.
      else if (wanted && live.told === 'no') this.#tell(live, 'open', nowNs);
      return;
    }
    if (live.told === 'no') {
      if (wanted || nowNs - flow.firstNs >= openNs) this.#tell(live, 'open', nowNs);
      return;
    }
    const sinceNs = nowNs - live.toldNs;
    if (sinceNs < CHANGE_NS) return;
    if ((sinceNs >= updateNs && live.packets !== live.toldPackets) || signatureOf(live) !== live.toldAs) this.#tell(live, 'update', nowNs);
  }

  #tell(live: LiveFlow, event: FlowRecord['event'], nowNs: number): void {
    live.told = event === 'close' ? 'close' : 'open';
    live.toldNs = nowNs;
    live.toldPackets = live.packets;
    live.toldAs = signatureOf(live);
    this.#write(recordOf(live, event));
  }
}
