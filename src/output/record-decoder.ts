import { Decoder } from '@msgpack/msgpack';
import { ELEMENTS_MAX, VALUE_BYTES_MAX } from './msgpack-extent.ts';

/** Decodes a value whose end `valueEnd` (msgpack-extent.ts) has found: records, which hold no bytes and no extensions. */
export function recordDecoder(): Decoder {
  return new Decoder({
    maxStrLength: VALUE_BYTES_MAX,
    maxArrayLength: ELEMENTS_MAX,
    maxMapLength: ELEMENTS_MAX,
    maxBinLength: 0,
    maxExtLength: 0,
  });
}
