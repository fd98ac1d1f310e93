/**
 * Builds the frames that the kernel tests send: Ethernet, IPv4 or IPv6, TCP or UDP, with right checksums (conntrack calls others INVALID). Source: RFC 791, 8200, 9293, 768.
 */
import { type Ip, parseIp } from '../../src/net/address.ts';

export interface Sent {
  protocol: 'tcp' | 'udp';
  source: { ip: string; port: number };
  destination: { ip: string; port: number };
  flags: number;
}

function bytesOf(ip: Ip): Buffer {
  const buffer = Buffer.alloc(16);
  for (const [i, word] of ip.words.entries()) buffer.writeInt32BE(word, i * 4);
  return ip.family === 4 ? buffer.subarray(12) : buffer;
}

function sum(buffer: Buffer): number {
  let total = 0;
  for (let i = 0; i < buffer.length; i += 2) total += i + 1 < buffer.length ? buffer.readUInt16BE(i) : buffer.readUInt8(i) << 8;
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

const checksum = (buffer: Buffer) => ~sum(buffer) & 0xffff;

/** The IP packet. */
export function ipPacket({ protocol, source, destination, flags }: Sent): Buffer {
  const from = parseIp(source.ip)!;
  const src = bytesOf(from);
  const dst = bytesOf(parseIp(destination.ip)!);
  const number = protocol === 'tcp' ? 6 : 17;
  const l4 = Buffer.alloc(protocol === 'tcp' ? 20 : 12);
  l4.writeUInt16BE(source.port, 0);
  l4.writeUInt16BE(destination.port, 2);
  if (protocol === 'tcp') {
    l4.writeUInt32BE(7, 4);
    l4.writeUInt32BE((flags & 0x10) === 0 ? 0 : 8, 8);
    l4.writeUInt8(0x50, 12);
    l4.writeUInt8(flags, 13);
    l4.writeUInt16BE(64240, 14);
  } else {
    l4.writeUInt16BE(12, 4);
    l4.write('ping', 8);
  }
  const pseudo = Buffer.alloc(from.family === 4 ? 4 : 8);
  if (from.family === 4) {
    pseudo.writeUInt8(number, 1);
    pseudo.writeUInt16BE(l4.length, 2);
  } else {
    pseudo.writeUInt32BE(l4.length, 0);
    pseudo.writeUInt8(number, 7);
  }
  l4.writeUInt16BE(checksum(Buffer.concat([src, dst, pseudo, l4])) || 0xffff, protocol === 'tcp' ? 16 : 6);
  if (from.family === 4) {
    const ip = Buffer.alloc(12);
    ip.writeUInt8(0x45, 0);
    ip.writeUInt16BE(20 + l4.length, 2);
    ip.writeUInt16BE(1, 4);
    ip.writeUInt8(64, 8);
    ip.writeUInt8(number, 9);
    ip.writeUInt16BE(checksum(Buffer.concat([ip, src, dst])), 10);
    return Buffer.concat([ip, src, dst, l4]);
  }
  const ip = Buffer.alloc(8);
  ip.writeUInt8(0x60, 0);
  ip.writeUInt16BE(l4.length, 4);
  ip.writeUInt8(number, 6);
  ip.writeUInt8(64, 7);
  return Buffer.concat([ip, src, dst, l4]);
}

/** The Ethernet frame around it. MAC addresses as twelve hexadecimal digits. */
export function ethernetFrame(packet: Buffer, from: string, to: string): Buffer {
  const type = packet.readUInt8(0) >> 4 === 4 ? '0800' : '86dd';
  return Buffer.concat([Buffer.from(to + from + type, 'hex'), packet]);
}
