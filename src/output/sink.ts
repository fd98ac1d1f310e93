/**
 * A sink turns records into bytes: one file per format, all of them in the list of sinks.ts. It takes records in the order of arrival, holds nothing back
 * except what its layout needs, and never waits nor throws: a reader that has gone shows in the writer's `closed`.
 */
import type { PlainFlow } from '../record/plain-flow.ts';
import type { AnyRecord, FlowRecord } from '../record/record.ts';
import type { Palette } from './color.ts';
import type { Writer } from './writer.ts';

export interface Sink {
  write(record: AnyRecord): void;
  /** As `write`, of the record that stands for this flow: for sinks that write numbers and need no record. The object is filled anew for the next flow. */
  writePlain?(flow: PlainFlow): void;
  /** A flow that no filter let pass, but that a path which passes goes through: a layout that shows whole paths wants to know it. */
  context?(flow: FlowRecord): void;
  /** Hands over what was gathered only to be written at once; what the layout holds back stays. For streams: whoever reads along gets it now. */
  flush?(): void;
  /** Writes what was held back and flushes; does not close the writer. */
  end(): void;
}

export interface SinkOptions {
  readonly palette: Palette;
  /** Show rule steps and rejected candidates. */
  readonly why: boolean;
  /** Show what goes on around the application, too: probes, polls of Envoy's admin interface, the control plane. */
  readonly all: boolean;
  /** `[NODE]` behind the time, or a NODE column. */
  readonly printNodeName: boolean;
  /** Addresses instead of names. */
  readonly numeric: boolean;
  readonly timeFormat: TimeFormat;
  /** Columns of the terminal; layouts that right-align use it. */
  readonly width: number;
}

export const timeFormats = ['StampMilli', 'RFC3339', 'RFC3339Milli', 'RFC3339Micro', 'RFC3339Nano', 'RFC1123Z'] as const;
export type TimeFormat = (typeof timeFormats)[number];

export interface SinkFormat {
  readonly name: string;
  /** One line for `--help`. */
  readonly summary: string;
  create(writer: Writer, options: SinkOptions): Sink;
}
