import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCertificates } from '../../src/envoy/certificate.ts';
import { parseStats, statRows } from '../../src/envoy/stats.ts';
import { certificateRows } from '../../src/envoy/table.ts';

test('parseStats() reads names, labels and values, and leaves out what is none', () => {
  const text = [
    '# TYPE a counter',
    'a 1',
    'b{x="1",y="a\\"b\\\\c\\nd",} 2.5e3 1700000000',
    'c{} +Inf',
    'd{x=1} 1',
    'e{x="1"',
    '5f 1',
    'g',
    'h NaN',
    'i{x="}"} -1',
    '',
  ].join('\n');
  assert.deepEqual(parseStats(text), [
    { name: 'a', labels: {}, value: 1 },
    { name: 'b', labels: { x: '1', y: 'a"b\\c\nd' }, value: 2500 },
    { name: 'c', labels: {}, value: Number.POSITIVE_INFINITY },
    { name: 'h', labels: {}, value: Number.NaN },
    { name: 'i', labels: { x: '}' }, value: -1 },
  ]);
});

test('statRows() shows what tells of trouble, and nothing that is zero', () => {
  const text = `
envoy_listener_no_filter_chain_match{envoy_listener_address="0.0.0.0_15006"} 3
envoy_cluster_upstream_cx_connect_fail{envoy_cluster_name="a"} 0
envoy_server_live 1
istio_requests_total{response_flags="UH",response_code="503",source_workload="a",destination_service="b"} 2
istio_requests_total{response_flags="-",response_code="200",source_workload="a",destination_service="b"} 9`;
  assert.deepEqual(
    statRows(parseStats(text)).map((row) => [row.statistic, row.of, row.value, row.text]),
    [
      ['envoy_listener_no_filter_chain_match', '0.0.0.0_15006', 3, 'connections for which no filter chain fits'],
      ['istio_requests_total', 'a > b', 2, 'requests with 503 UH'],
    ],
  );
});

test('certificates are listed once, with the days that are left', () => {
  const entry = {
    ca_cert: [{ serial_number: '1', path: 'x', days_until_expiration: '3649', expiration_time: '2036-11-20T06:22:33Z' }],
    cert_chain: [
      { serial_number: '2', path: 'x', subject_alt_names: [{ uri: 'spiffe://a/ns/b/sa/c' }], valid_from: '2026-11-23T06:20:40Z' },
    ],
  };
  const rows = certificateRows(parseCertificates({ certificates: [entry, entry] }));
  assert.deepEqual(rows, [
    { role: 'chain', serialNumber: '2', names: 'spiffe://a/ns/b/sa/c', validFrom: '2026-11-23T06:20:40.000Z', expires: '' },
    { role: 'ca', serialNumber: '1', names: '', validFrom: '', expires: '2036-11-20T06:22:33.000Z', daysLeft: 3649 },
  ]);
  assert.deepEqual(parseCertificates('nothing'), []);
});
