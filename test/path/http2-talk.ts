/** HTTP/2 in the clear for recordings that tests make, a gateway's configuration, and what was told of them in short. */
import type { AnyRecord, FlowRecord, PathRecord } from '../../src/record/record.ts';
import { httpManager, listener, makeDump } from '../envoy/configs.ts';

export const POD = '10.0.0.10';
export const GATEWAY = '10.0.0.20';
export const VIP = '10.96.0.1';
export const BEYOND = '10.0.0.30';
export const PREFACE = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])]);
export const SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);

/** HEADERS of a GET, or of a 200. Source: RFC 9113 section 6.2, RFC 7541 section 6.2.2 and appendix A. */
export function headers(stream: number, request?: { path: string; id?: string }, fromUpstream = true): Buffer {
  const text = (value: string) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value, 'latin1')]);
  const block =
    request === undefined
      ? Buffer.concat([
          Buffer.from([0x88]),
          ...(fromUpstream ? [Buffer.from([0x00]), text('x-envoy-upstream-service-time'), text('3')] : []),
        ])
      : Buffer.concat([
          ...[Buffer.from([0x82, 0x86, 0x04]), text(request.path), Buffer.from([0x01]), text('shop')],
          ...(request.id === undefined ? [] : [Buffer.from([0x00]), text('x-request-id'), text(request.id)]),
        ]);
  return Buffer.concat([Buffer.from([0, 0, block.length, 1, 5, 0, 0, 0, stream]), block]);
}

const routes = [{ name: 'shop', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'shop' } }] }];
/** What comes in for port 8080 goes to `BEYOND`. */
export const gatewayConfig = JSON.stringify(
  makeDump({
    listeners: [
      listener('0.0.0.0_8080', '0.0.0.0:8080', {
        traffic_direction: 'OUTBOUND',
        filter_chains: [{ filters: [httpManager({ inline: { name: 'http.8080', virtual_hosts: routes } })] }],
      }),
    ],
    clusters: [{ name: 'shop', type: 'EDS' }],
    endpoints: { shop: [`${BEYOND}:9080`] },
  }),
);

/** The last word on each path: the ports of its legs' sources, what was asked with which id, how each join is graded, with ports of candidates. */
export function told(records: readonly AnyRecord[], of: 'request' | 'any' = 'request'): string[] {
  const flows = new Map(records.flatMap((record) => (record.type === 'flow' ? [[record.id, record]] : [])) as [string, FlowRecord][]);
  const port = (id: string) => flows.get(id)?.source.port;
  const last = new Map<string, PathRecord>();
  for (const record of records) if (record.type === 'path' && (of === 'any' || record.of === 'request')) last.set(record.id, record);
  return [...last.values()]
    .map(
      ({ legs, of: what, request, joins }) =>
        `${legs.map(({ flow }) => port(flow)).join(' > ')} ${what === 'connection' ? 'connection' : `${request?.path ?? '-'} ${request?.id ?? '-'}`} ${joins
          .map(({ evidence, candidates }) => evidence + (candidates === undefined ? '' : `(${candidates.map(port).sort().join('|')})`))
          .join(',')}`,
    )
    .sort();
}
