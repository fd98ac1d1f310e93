/** /listeners?format=json: the addresses that Envoy listens on. Source: envoy/admin/v3/listeners.proto. */
import { type EnvoyAddress, parseAddress } from './address.ts';
import { EnvoyConfigError, objectAt, objectsAt, textAt } from './json.ts';
import { describeJson, type JsonInput, readJson, rootOf } from './json-part.ts';

export interface ListenerStatus {
  readonly name: string;
  readonly addresses: readonly EnvoyAddress[];
}

/** @throws {EnvoyConfigError} when it is something else */
export function parseListeners(input: JsonInput): ListenerStatus[] {
  const text = readJson(input, { what: "Envoy's /listeners", unitDepth: 1 });
  const root = rootOf(text);
  if (root?.fields.isList('listener_statuses') !== true)
    throw new EnvoyConfigError(
      `Cannot read Envoy's /listeners: an object with a list "listener_statuses" is wanted (?format=json), ${describeJson(text)} is there`,
    );
  return objectsAt(root.build(), 'listener_statuses').map((status) => ({
    name: textAt(status, 'name') ?? '',
    addresses: [parseAddress(objectAt(status, 'local_address')), ...objectsAt(status, 'additional_local_addresses').map(parseAddress)],
  }));
}
