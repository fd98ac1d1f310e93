/** Every output format, in the order in which `--help` names them. To add one: its file, and a line here. pcapng is not among them: it keeps packets, not records (pcapng.ts). */
import { csv } from './csv.ts';
import { hubble } from './hubble.ts';
import { compact, dict, table } from './hubble-layout.ts';
import { json } from './json.ts';
import { msgpack } from './msgpack.ts';
import type { SinkFormat } from './sink.ts';
import { text } from './text.ts';
import { tree } from './tree.ts';

export const sinks: readonly SinkFormat[] = [text, tree, compact, dict, table, json, hubble, csv, msgpack];

export function findSink(name: string): SinkFormat | undefined {
  return sinks.find((format) => format.name === name);
}
