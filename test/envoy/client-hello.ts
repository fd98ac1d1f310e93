/** A TLS 1.2 ClientHello with the extensions that decide here. Source: RFC 5246 section 7.4.1.2, RFC 6066 section 3, RFC 7301 section 3.1. */
function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255]);
}

function vector16(...parts: Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([u16(body.length), body]);
}

function vector8(text: string): Buffer {
  return Buffer.concat([Buffer.from([text.length]), Buffer.from(text, 'latin1')]);
}

export function clientHello(serverName: string, alpn: readonly string[]): Buffer {
  const extensions: Buffer[] = [
    Buffer.concat([u16(10), vector16(vector16(u16(29), u16(23)))]),
    Buffer.concat([u16(11), vector16(Buffer.from([1, 0]))]),
    Buffer.concat([u16(13), vector16(vector16(u16(0x0804), u16(0x0403)))]),
  ];
  if (serverName !== '')
    extensions.push(Buffer.concat([u16(0), vector16(vector16(Buffer.from([0]), vector16(Buffer.from(serverName, 'latin1'))))]));
  if (alpn.length > 0) extensions.push(Buffer.concat([u16(16), vector16(vector16(...alpn.map(vector8)))]));
  const body = Buffer.concat([
    u16(0x0303),
    Buffer.alloc(32, 7),
    Buffer.from([0]),
    vector16(u16(0xc02f), u16(0xc030)),
    Buffer.from([1, 0]),
    vector16(...extensions),
  ]);
  const handshake = Buffer.concat([Buffer.from([1, 0]), u16(body.length), body]);
  return Buffer.concat([Buffer.from([22, 3, 1]), vector16(handshake)]);
}
