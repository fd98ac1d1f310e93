import { palette } from '../../src/output/color.ts';
import type { SinkOptions } from '../../src/output/sink.ts';
import { findSink } from '../../src/output/sinks.ts';
import { StringWriter } from '../../src/output/writer.ts';
import type { AnyRecord } from '../../src/record/record.ts';

export const plainOptions: SinkOptions = {
  palette: palette(false),
  why: false,
  all: true,
  printNodeName: false,
  numeric: false,
  timeFormat: 'StampMilli',
  width: 110,
};

/** What a sink writes for these records. */
export function written(format: string, records: readonly AnyRecord[], options: Partial<SinkOptions> = {}): Buffer {
  const writer = new StringWriter();
  const sink = findSink(format)!.create(writer, { ...plainOptions, ...options });
  for (const record of records) sink.write(record);
  sink.end();
  return writer.content;
}

/** {@link written}, as text. */
export function printed(format: string, records: readonly AnyRecord[], options: Partial<SinkOptions> = {}): string {
  return written(format, records, options).toString('utf8');
}
