/** Requests of a connection in a namespace where nothing tells of a proxy: each is a path of its own, over the legs of the connection. */
import type { Subject } from '../annotate/subject.ts';
import { roundMs } from '../flow/flow-record.ts';
import type { Exchange, RequestHead } from '../flow/http.ts';
import { formatTime } from '../net/time.ts';
import { idOf } from '../record/id.ts';
import type { PathRecord } from '../record/record.ts';
import type { Redaction } from '../record/redact.ts';

export interface BareRequest {
  readonly record: PathRecord;
  /** Absent where the path is the connection itself. */
  readonly exchange?: Exchange;
}

type Read = Exchange & { readonly request: RequestHead; readonly requestStartNs: number };

/**
 * @param connection the path of the connection; it is given back alone where no request of it was read
 * @returns in the order in which the requests began
 */
export function bareRequestPaths(connection: PathRecord, subject: Subject, redaction: Redaction): BareRequest[] {
  const protocol = subject.tracker?.protocol;
  if (subject.ports.hasProxy || (protocol !== 'http1' && protocol !== 'http2')) return [{ record: connection }];
  const read = (subject.tracker?.exchanges ?? []).filter(
    (exchange): exchange is Read => exchange.request !== undefined && exchange.requestStartNs !== undefined && !exchange.settled,
  );
  if (read.length === 0) return [{ record: connection }];
  return read.map((exchange) => ({ record: requestPath(connection, subject, exchange, redaction), exchange }));
}

function requestPath(connection: PathRecord, subject: Subject, exchange: Read, redaction: Redaction): PathRecord {
  const { request, response, requestStartNs, responseEndNs } = exchange;
  const endNs = responseEndNs ?? exchange.responseStartNs ?? exchange.requestEndNs ?? requestStartNs;
  return {
    type: 'path',
    id: idOf(`${subject.record.id} request ${exchange.index}`),
    event: exchange.done || exchange.responseDone ? 'close' : 'update',
    of: 'request',
    first: formatTime(subject.base, requestStartNs),
    last: formatTime(subject.base, Math.max(endNs, requestStartNs)),
    complete: connection.complete,
    legs: exchange.requestSeq === undefined ? connection.legs : connection.legs.map((leg) => ({ ...leg, seq: exchange.requestSeq! >>> 0 })),
    joins: connection.joins,
    request: {
      ...(request.method === undefined ? {} : { method: request.method }),
      ...(request.authority === undefined ? {} : { authority: redaction.authority(request.authority) }),
      ...(request.path === undefined ? {} : { path: redaction.path(request.path) }),
      ...(response?.status === undefined ? {} : { status: response.status }),
      ...(request.requestId === undefined ? {} : { id: request.requestId }),
    },
    ...(connection.decisions === undefined ? {} : { decisions: connection.decisions }),
    ...(response === undefined || responseEndNs === undefined
      ? {}
      : { latency: [{ leg: 0, ms: roundMs((responseEndNs - requestStartNs) / 1e6), evidence: 'observed' as const }] }),
  };
}
