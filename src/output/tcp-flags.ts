/** TCP flags of a record, one letter each (`S` SYN, `A` ACK, `F` FIN, `R` RST, `P` PSH, `U` URG, `E` ECE, `C` CWR), and the names that Hubble gives them. */
export const tcpFlagNames = { S: 'SYN', A: 'ACK', F: 'FIN', R: 'RST', P: 'PSH', U: 'URG', E: 'ECE', C: 'CWR', N: 'NS' } as const;
export type TcpFlagName = (typeof tcpFlagNames)[keyof typeof tcpFlagNames];

/** Names of the flags in `letters`, in Hubble's order: `SYN, ACK` before `FIN`. */
export function flagNames(letters: string): TcpFlagName[] {
  return Object.entries(tcpFlagNames)
    .filter(([letter]) => letters.includes(letter))
    .map(([, name]) => name);
}
