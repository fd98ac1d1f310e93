/** /listeners?format=json: the addresses that Envoy listens on. Source: envoy/admin/v3/listeners.proto. */
import { type EnvoyAddress, parseAddress } from './address.ts';
import { asObject, EnvoyConfigError, field, objectAt, objectsAt, textAt } from './json.ts';
import { checkStructure } from './json-bounds.ts';

export interface ListenerStatus {
  readonly name: string;
  readonly addresses: readonly EnvoyAddress[];
}

/** @throws {EnvoyConfigError} when it is something else */
export function parseListeners(input: string | object): ListenerStatus[] {
  let value: unknown = input;
  if (typeof input === 'string') {
    checkStructure(input, "Envoy's /listeners");
    try {
      value = JSON.parse(input);
    } catch (error) {
      throw new EnvoyConfigError(`Cannot read Envoy's /listeners: JSON is wanted (?format=json), ${(error as Error).message}`);
    }
  }
  const message = asObject(value);
  if (!Array.isArray(field(message, 'listener_statuses')))
    throw new EnvoyConfigError(
      'Cannot read Envoy\'s /listeners: an object with a list "listener_statuses" is wanted (?format=json), something else is there',
    );
  return objectsAt(message, 'listener_statuses').map((status) => ({
    name: textAt(status, 'name') ?? '',
    addresses: [parseAddress(objectAt(status, 'local_address')), ...objectsAt(status, 'additional_local_addresses').map(parseAddress)],
  }));
}
