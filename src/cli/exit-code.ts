/** How the process ends. docs/cli.md explains each to users. */
export const COMPLETE = 0;
export const USAGE = 1;
/** The input is malformed; what could be read was printed first. */
export const MALFORMED = 2;
/** The system or a peer said no: connection, authorisation. */
export const REFUSED = 3;
/** Complete, but something was lost on the way. */
export const LOST = 4;
export const INTERRUPTED = 130;

export type ExitCode = typeof COMPLETE | typeof USAGE | typeof MALFORMED | typeof REFUSED | typeof LOST | typeof INTERRUPTED;
