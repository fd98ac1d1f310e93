/** TCP flags of a record: names joined by commas, as `SYN,PSH,ACK`. */

/** In the order in which Hubble prints them. */
export const tcpFlagNames = ['SYN', 'ACK', 'FIN', 'RST', 'PSH', 'URG', 'ECE', 'CWR'] as const;
export type TcpFlagName = (typeof tcpFlagNames)[number];

/** The flags that a record names, in Hubble's order: `SYN, ACK` before `FIN`. */
export function flagNames(flags: string): TcpFlagName[] {
  const seen = flags.split(',');
  return tcpFlagNames.filter((name) => seen.includes(name));
}
