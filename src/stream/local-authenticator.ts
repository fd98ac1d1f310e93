/**
 * Who comes through a Unix socket, or through loopback where nothing else was configured.
 *
 * A Unix socket is protected by the mode of its file and folder: whoever may open it may observe. Node does not tell the peer's user, so that one local user is not told from another.
 * Loopback proves nothing: everybody on the node, and everybody whom `kubectl port-forward` lets in, arrives from 127.0.0.1. So it is trusted only where it is asked for.
 */
import type { Authenticator, Credentials, Principal } from './authenticator.ts';

export interface LocalTrust {
  readonly unix: boolean;
  readonly loopback: boolean;
}

export class LocalAuthenticator implements Authenticator {
  readonly wants: string;
  readonly #trust: LocalTrust;

  constructor(trust: LocalTrust) {
    this.#trust = trust;
    this.wants = trust.unix ? "the daemon's Unix socket" : 'a connection on the node itself';
  }

  async authenticate({ transport, token }: Credentials): Promise<Principal | undefined> {
    // Who brings a proof is judged by it.
    if (token !== undefined && transport !== 'unix') return undefined;
    if (transport === 'network' || !this.#trust[transport]) return undefined;
    return { name: transport === 'unix' ? 'local' : 'loopback', groups: [], by: transport };
  }

  async authorize(): Promise<true> {
    return true;
  }
}
