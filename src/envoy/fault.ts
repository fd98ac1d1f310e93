/** The fault filter: answers that Envoy gives instead of the upstream. Source: envoy/extensions/filters/http/fault/v3/fault.proto. */

import { parseFraction } from './fraction.ts';
import { type HeaderMatcher, parseHeaderMatcher, type RequestHeaders } from './header-matcher.ts';
import { type Json, numberAt, objectAt, objectsAt, textAt } from './json.ts';
import { every, type Three } from './three-valued.ts';

export interface Fault {
  /** The status of the answer, where it is fixed. */
  readonly status?: number;
  /** Is the request of this cluster aborted? Unknown when only a share of the requests is. */
  aborts(headers: RequestHeaders, cluster: string): Three;
}

export function parseFault(config: Json): Fault {
  const abort = objectAt(config, 'abort');
  if (abort === undefined) return { aborts: () => false };
  const status = numberAt(abort, 'http_status');
  const share = parseFraction(objectAt(abort, 'percentage'));
  const byHeader = objectAt(abort, 'header_abort') !== undefined;
  const only = textAt(config, 'upstream_cluster');
  const matchers: HeaderMatcher[] = objectsAt(config, 'headers').map(parseHeaderMatcher);
  return {
    ...(status === undefined ? {} : { status }),
    aborts(headers, cluster) {
      if (only !== undefined && only !== '' && only !== cluster) return false;
      const asked = headers.find('x-envoy-fault-abort-request');
      const wanted: Three = !byHeader ? true : asked.known ? asked.text !== undefined : 'unknown';
      return every([wanted, share, every(matchers, (matcher) => matcher.test(headers))], (value) => value);
    },
  };
}
