/**
 * `-o csv`: one line per flow, a header line first. Other records have no place in one table and are left out.
 *
 * Source: RFC 4180; lines end with CRLF, fields with a comma, quote or line break are quoted. A field that a spreadsheet would take for a formula (first character `=`, `+`, `-`, `@`, tab or
 * carriage return; OWASP "CSV injection") gets a leading apostrophe, unless it is a number.
 */
import type { AnyRecord, FlowRecord } from '../record/record.ts';
import { escapeText } from './escape.ts';
import type { Sink, SinkFormat } from './sink.ts';
import type { Writer } from './writer.ts';

type Value = string | number | boolean | undefined;

/** The columns, in order. A list inside a field is joined by a space. */
export const csvColumns: readonly (readonly [name: string, value: (flow: FlowRecord) => Value])[] = [
  ['id', (flow) => flow.id],
  ['event', (flow) => flow.event],
  ['state', (flow) => flow.state],
  ['node', (flow) => flow.node],
  ['netns', (flow) => flow.netns],
  ['pod', (flow) => (flow.pod === undefined ? undefined : `${flow.pod.namespace}/${flow.pod.name}`)],
  ['protocol', (flow) => flow.protocol],
  ['first', (flow) => flow.first],
  ['last', (flow) => flow.last],
  ['source_ip', (flow) => flow.source.ip],
  ['source_port', (flow) => flow.source.port],
  ['source_pod', (flow) => flow.source.pod],
  ['source_service', (flow) => flow.source.service],
  ['source_workload', (flow) => flow.source.workload],
  ['destination_ip', (flow) => flow.destination.ip],
  ['destination_port', (flow) => flow.destination.port],
  ['destination_pod', (flow) => flow.destination.pod],
  ['destination_service', (flow) => flow.destination.service],
  ['destination_workload', (flow) => flow.destination.workload],
  ['interfaces', (flow) => flow.interfaces.join(' ')],
  ['roles', (flow) => flow.roles.join(' ')],
  ['packets_to_destination', (flow) => flow.counters.toDestination.packets],
  ['bytes_to_destination', (flow) => flow.counters.toDestination.bytes],
  ['packets_to_source', (flow) => flow.counters.toSource.packets],
  ['bytes_to_source', (flow) => flow.counters.toSource.bytes],
  ['tcp_flags_to_destination', (flow) => flow.tcp?.flags.toDestination],
  ['tcp_flags_to_source', (flow) => flow.tcp?.flags.toSource],
  ['rtt_ms', (flow) => flow.tcp?.rttMs],
  ['handshake_ms', (flow) => flow.tcp?.handshakeMs],
  ['retransmissions', (flow) => flow.tcp?.retransmissions],
  [
    'translated_source',
    (flow) => (flow.translated === undefined ? undefined : `${flow.translated.source.ip} ${flow.translated.source.port}`),
  ],
  [
    'translated_destination',
    (flow) => (flow.translated === undefined ? undefined : `${flow.translated.destination.ip} ${flow.translated.destination.port}`),
  ],
  ['uid', (flow) => flow.owner?.uid],
  ['process', (flow) => flow.owner?.process],
  ['rule_verdict', (flow) => flow.rule?.verdict],
  ['rule_port', (flow) => flow.rule?.port],
  ['rule_evidence', (flow) => flow.rule?.evidence],
  ['rule_reason', (flow) => flow.rule?.reason],
  ['rule_steps', (flow) => flow.rule?.steps.map((step) => `${step.table}:${step.chain}/${step.index}`).join(' ')],
  ['outcome', (flow) => flow.envoy?.outcome],
  ['listener', (flow) => flow.envoy?.listener],
  ['chain', (flow) => flow.envoy?.chain],
  ['route', (flow) => flow.envoy?.route],
  ['virtual_host', (flow) => flow.envoy?.virtualHost],
  ['cluster', (flow) => flow.envoy?.cluster],
  ['endpoint', (flow) => flow.envoy?.endpoint],
  ['envoy_reason', (flow) => flow.envoy?.reason],
  ['sni', (flow) => flow.tls?.sni],
  ['mutual_tls', (flow) => flow.tls?.mutual],
  ['dns_question', (flow) => flow.dns?.question],
  ['dns_rcode', (flow) => flow.dns?.rcode],
  ['paths', (flow) => flow.paths?.join(' ')],
  ['findings', (flow) => flow.findings?.join(' ')],
];

export const csv: SinkFormat = {
  name: 'csv',
  summary: 'a line per flow, RFC 4180, safe to open in a spreadsheet',
  create: (writer) => new CsvSink(writer),
};

class CsvSink implements Sink {
  readonly #writer: Writer;

  constructor(writer: Writer) {
    this.#writer = writer;
    writer.text(`${csvColumns.map(([name]) => name).join(',')}\r\n`);
  }

  write(record: AnyRecord): void {
    if (record.type !== 'flow') return;
    let line = '';
    for (let i = 0; i < csvColumns.length; i++) {
      if (i > 0) line += ',';
      line += csvField(csvColumns[i]![1](record));
    }
    this.#writer.text(`${line}\r\n`);
  }

  end(): void {
    this.#writer.flush();
  }
}

const PLAIN = /^[A-Za-z0-9][A-Za-z0-9 ._:/|-]*$/;
const FORMULA = /^[=+\-@\t\r]/;

/** One field, quoted where RFC 4180 wants it and harmless in a spreadsheet. Numbers stay numbers. */
export function csvField(value: Value): string {
  if (value === undefined) return '';
  if (typeof value !== 'string') return String(value);
  if (value === '' || PLAIN.test(value)) return value;
  const safe = escapeText(value);
  const harmless = FORMULA.test(value) ? `'${safe}` : safe;
  return /[",\r\n]/.test(harmless) || harmless !== harmless.trim() ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}
