/** Writes pcapng blocks for tests, from the description of the format alone. */
export class PcapngWriter {
  readonly #parts: Uint8Array[] = [];
  #little: boolean;

  constructor(little = true) {
    this.#little = little;
  }

  /** Begins a section; from here on blocks are written in its byte order. */
  section(little = this.#little, version: [number, number] = [1, 0], options: Uint8Array = new Uint8Array(0)): this {
    this.#little = little;
    const body = new Uint8Array(16);
    const view = new DataView(body.buffer);
    view.setUint32(0, 0x1a2b3c4d, little);
    view.setUint16(4, version[0], little);
    view.setUint16(6, version[1], little);
    view.setBigInt64(8, -1n, little);
    return this.block(0x0a0d0d0a, body, options);
  }

  interface(linkType = 1, snapLength = 0, ...options: Uint8Array[]): this {
    const body = new Uint8Array(8);
    const view = new DataView(body.buffer);
    view.setUint16(0, linkType, this.#little);
    view.setUint32(4, snapLength, this.#little);
    return this.block(1, body, ...options);
  }

  packet(id: number, stamp: bigint, data: Uint8Array, wire = data.length, ...options: Uint8Array[]): this {
    return this.block(6, this.words(id, Number(stamp >> 32n), Number(stamp & 0xffffffffn), data.length, wire), pad(data), ...options);
  }

  obsoletePacket(id: number, drops: number, stamp: bigint, data: Uint8Array): this {
    const head = this.words(0, Number(stamp >> 32n), Number(stamp & 0xffffffffn), data.length, data.length);
    const view = new DataView(head.buffer);
    view.setUint16(0, id, this.#little);
    view.setUint16(2, drops, this.#little);
    return this.block(2, head, pad(data));
  }

  simplePacket(data: Uint8Array, wire = data.length): this {
    return this.block(3, this.words(wire), pad(data));
  }

  option(code: number, value: Uint8Array): Uint8Array {
    const bytes = new Uint8Array(4 + ((value.length + 3) & ~3));
    const view = new DataView(bytes.buffer);
    view.setUint16(0, code, this.#little);
    view.setUint16(2, value.length, this.#little);
    bytes.set(value, 4);
    return bytes;
  }

  words(...values: number[]): Uint8Array {
    const bytes = new Uint8Array(values.length * 4);
    const view = new DataView(bytes.buffer);
    for (const [i, value] of values.entries()) view.setUint32(i * 4, value, this.#little);
    return bytes;
  }

  u64(value: bigint): Uint8Array {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigInt64(0, BigInt.asIntN(64, value), this.#little);
    return bytes;
  }

  block(type: number, ...body: Uint8Array[]): this {
    const inner = concat(body);
    const total = inner.length + 12;
    this.#parts.push(this.words(type, total), inner, this.words(total));
    return this;
  }

  raw(bytes: Uint8Array): this {
    this.#parts.push(bytes);
    return this;
  }

  bytes(): Uint8Array {
    return concat(this.#parts);
  }
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function pad(data: Uint8Array): Uint8Array {
  const padded = new Uint8Array((data.length + 3) & ~3);
  padded.set(data);
  return padded;
}

export const utf8 = (text: string) => new TextEncoder().encode(text);
