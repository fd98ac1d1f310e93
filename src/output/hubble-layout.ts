/**
 * The layouts `compact`, `dict` and `table` of `hubble observe`: the same columns, paddings and separators, with an address where Hubble prints its identity number.
 * Source: cilium hubble/pkg/printer (PrintProtoFlow, formatter.go); Go text/tabwriter with minimum width 2, padding 3.
 */
import { formatEndpoint } from '../net/address.ts';
import type { AnyRecord, FlowRecord, LostRecord, PathRecord, Peer } from '../record/record.ts';
import { type Palette, palette } from './color.ts';
import { escapeText } from './escape.ts';
import { FlowMemory } from './flow-memory.ts';
import { eventsOfFlow, eventsOfPath, type HubbleEvent, type HubbleVerdict } from './hubble-event.ts';
import type { Sink, SinkFormat, SinkOptions } from './sink.ts';
import { formatStamp } from './time-format.ts';
import type { Writer } from './writer.ts';

/** One printed event: what every layout arranges in its own way. Text is escaped. */
interface Line {
  readonly time: string;
  readonly node: string;
  readonly source: string;
  readonly sourceIdentity: string;
  readonly destination: string;
  readonly destinationIdentity: string;
  readonly arrow: string;
  readonly type: string;
  readonly verdict: string;
  readonly summary: string;
}

interface Layout {
  event(line: Line): void;
  lost(line: Line, text: string): void;
  note(text: string): void;
  end(): void;
}

function format(name: string, summary: string, layout: (writer: Writer, options: SinkOptions) => Layout): SinkFormat {
  const settled = (options: SinkOptions): SinkOptions => (name === 'table' ? { ...options, palette: palette(false) } : options);
  return { name, summary, create: (writer, options) => new LayoutSink(writer, settled(options), layout(writer, settled(options))) };
}

export const compact = format(
  'compact',
  "a line per event, as hubble observe's compact layout",
  (writer, options) => new CompactLayout(writer, options),
);
export const dict = format(
  'dict',
  "KEY: VALUE blocks, as hubble observe's dict layout",
  (writer, options) => new DictLayout(writer, options),
);
/** Without colours, as in Hubble: its columns are measured. */
export const table = format(
  'table',
  "aligned columns, as hubble observe's table layout",
  (writer, options) => new TableLayout(writer, options),
);

class LayoutSink implements Sink {
  readonly #writer: Writer;
  readonly #options: SinkOptions;
  readonly #layout: Layout;
  readonly #flows = new FlowMemory();
  readonly #waiting: PathRecord[] = [];

  constructor(writer: Writer, options: SinkOptions, layout: Layout) {
    this.#writer = writer;
    this.#options = options;
    this.#layout = layout;
  }

  context(flow: FlowRecord): void {
    this.#flows.remember(flow);
  }

  write(record: AnyRecord): void {
    switch (record.type) {
      case 'flow':
        this.#flows.remember(record);
        for (const event of eventsOfFlow(record)) this.#event(event);
        break;
      case 'path':
        if (this.#flows.find(record.legs[0]?.flow ?? '') === undefined) this.#waiting.push(record);
        else this.#path(record);
        break;
      case 'lost':
        this.#lost(record);
        break;
      case 'finding':
        this.#layout.note(`FINDING ${record.severity} ${escapeText(record.rule)}: ${escapeText(record.title)}`);
        break;
      case 'total':
        break;
    }
  }

  end(): void {
    for (const path of this.#waiting) this.#path(path);
    this.#layout.end();
    this.#writer.flush();
  }

  #path(path: PathRecord): void {
    for (const event of eventsOfPath(path, this.#flows.find(path.legs[0]?.flow ?? ''))) this.#event(event);
    this.#flows.release(path);
  }

  /** An answer is printed with the two sides swapped and `<-`, so that the client stays on the left. */
  #event(event: HubbleEvent): void {
    const { palette, numeric } = this.#options;
    const [left, right] = event.reply ? [event.destination, event.source] : [event.source, event.destination];
    this.#layout.event({
      time: formatStamp(event.time, this.#options.timeFormat),
      node: escapeText(event.node),
      source: host(left, numeric, palette),
      sourceIdentity: identity(left, numeric, palette),
      destination: host(right, numeric, palette),
      destinationIdentity: identity(right, numeric, palette),
      arrow: event.reply === undefined ? '<>' : event.reply ? '<-' : '->',
      type: escapeText(event.type),
      verdict: colorVerdict(event.verdict, palette),
      summary: escapeText(event.summary),
    });
  }

  #lost(lost: LostRecord): void {
    const { timeFormat } = this.#options;
    const span = `(first: ${formatStamp(lost.first, timeFormat)}, last: ${formatStamp(lost.last, timeFormat)})`;
    const source = escapeText(lost.source);
    const empty = { source: '', sourceIdentity: '', destination: '', destinationIdentity: '', arrow: '' };
    this.#layout.lost(
      {
        ...empty,
        time: formatStamp(lost.last, timeFormat),
        node: escapeText(lost.scope.node),
        source,
        type: 'EVENTS LOST',
        verdict: '-',
        summary: `${lost.count} ${span}`,
      },
      `${source} ${lost.count} ${span}`,
    );
  }
}

function host(peer: Peer, numeric: boolean, palette: Palette): string {
  const name = numeric ? undefined : (peer.pod ?? peer.service);
  if (name === undefined) {
    if (peer.port === undefined || peer.port === 0) return palette.cyan(escapeText(peer.ip));
    const text = formatEndpoint(peer.ip, peer.port);
    const colon = text.lastIndexOf(':');
    return `${palette.cyan(escapeText(text.slice(0, colon)))}:${palette.yellow(text.slice(colon + 1))}`;
  }
  return palette.cyan(escapeText(name)) + (peer.port === undefined || peer.port === 0 ? '' : `:${palette.yellow(String(peer.port))}`);
}

/** In place of Hubble's identity: the address behind a name; `unknown` where the address stands on its own. */
function identity(peer: Peer, numeric: boolean, palette: Palette): string {
  const named = !numeric && (peer.pod ?? peer.service) !== undefined;
  return palette.magenta(`(${named ? escapeText(peer.ip) : 'unknown'})`);
}

function colorVerdict(verdict: HubbleVerdict, palette: Palette): string {
  if (verdict === 'FORWARDED' || verdict === 'REDIRECTED') return palette.green(verdict);
  return verdict === 'DROPPED' || verdict === 'ERROR' ? palette.red(verdict) : palette.yellow(verdict);
}

class CompactLayout implements Layout {
  readonly #writer: Writer;
  readonly #options: SinkOptions;

  constructor(writer: Writer, options: SinkOptions) {
    this.#writer = writer;
    this.#options = options;
  }

  event(line: Line): void {
    const { time, source, sourceIdentity, arrow, destination, destinationIdentity, type, verdict, summary } = line;
    this.#writer.text(
      `${time}${this.#node(line)}: ${source} ${sourceIdentity} ${arrow} ${destination} ${destinationIdentity} ${type} ${verdict} (${summary})\n`,
    );
  }

  lost(line: Line, text: string): void {
    this.#writer.text(`${line.time}${this.#node(line)} EVENTS LOST: ${text}\n`);
  }

  note(text: string): void {
    this.#writer.text(`${text}\n`);
  }

  end(): void {}

  #node(line: Line): string {
    return this.#options.printNodeName ? ` [${line.node}]` : '';
  }
}

class DictLayout implements Layout {
  readonly #writer: Writer;
  readonly #options: SinkOptions;
  #begun = false;

  constructor(writer: Writer, options: SinkOptions) {
    this.#writer = writer;
    this.#options = options;
  }

  event(line: Line): void {
    this.#block([
      ['TIMESTAMP', line.time],
      ...(this.#options.printNodeName ? [['NODE', line.node] as const] : []),
      ['SOURCE', line.source],
      ['DESTINATION', line.destination],
      ['TYPE', line.type],
      ['VERDICT', line.verdict],
      ['SUMMARY', line.summary],
    ]);
  }

  lost(line: Line): void {
    this.event({ ...line, destination: '' });
  }

  note(text: string): void {
    this.#block([['SUMMARY', text]]);
  }

  end(): void {}

  #block(pairs: readonly (readonly [string, string])[]): void {
    if (this.#begun) this.#writer.text('------------\n');
    this.#begun = true;
    for (const [key, value] of pairs) this.#writer.text(`${key.padStart(11)}: ${value}\n`);
  }
}

/** Rows that decide the widths; later rows keep them, so that memory stays bounded. */
const TABLE_SAMPLE = 2000;

class TableLayout implements Layout {
  readonly #writer: Writer;
  readonly #options: SinkOptions;
  readonly #rows: (readonly string[] | string)[] = [];
  #widths: number[] | undefined;

  constructor(writer: Writer, options: SinkOptions) {
    this.#writer = writer;
    this.#options = options;
    this.#add(['TIMESTAMP', ...(options.printNodeName ? ['NODE'] : []), 'SOURCE', 'DESTINATION', 'TYPE', 'VERDICT', 'SUMMARY']);
  }

  event(line: Line): void {
    this.#add([
      line.time,
      ...(this.#options.printNodeName ? [line.node] : []),
      line.source,
      line.destination,
      line.type,
      line.verdict,
      line.summary,
    ]);
  }

  lost(line: Line): void {
    this.event(line);
  }

  note(text: string): void {
    this.#add(text);
  }

  end(): void {
    if (this.#widths === undefined) this.#settle();
  }

  #add(row: readonly string[] | string): void {
    if (this.#widths !== undefined) this.#print(row, this.#widths);
    else if (this.#rows.push(row) >= TABLE_SAMPLE) this.#settle();
  }

  #settle(): void {
    const widths: number[] = [];
    for (const row of this.#rows)
      if (typeof row !== 'string')
        row.forEach((cell, i) => {
          widths[i] = Math.max(widths[i] ?? 2, columnsOf(cell));
        });
    this.#widths = widths;
    for (const row of this.#rows) this.#print(row, widths);
    this.#rows.length = 0;
  }

  #print(row: readonly string[] | string, widths: readonly number[]): void {
    if (typeof row === 'string') this.#writer.text(`${row}\n`);
    else
      this.#writer.text(
        `${row.map((cell, i) => (i === row.length - 1 ? cell : cell + ' '.repeat(Math.max(1, widths[i]! + 3 - columnsOf(cell))))).join('')}\n`,
      );
  }
}

/** Columns of text on a terminal, wide characters count as one, as Go's tabwriter counts them. */
function columnsOf(text: string): number {
  let columns = 0;
  for (const _ of text) columns++;
  return columns;
}
