/** Certificate and key of a listener, from files that may be replaced while it listens (cert-manager, rotated secrets). */
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { WatchedFile } from './watched-file.ts';

export interface TlsFileNames {
  readonly cert: string;
  readonly key: string;
  /** PEM of the CAs whose client certificates are taken. */
  readonly clientCa?: string;
}

/** Files are looked at this often. */
export const RELOAD_MS = 10_000;

export class TlsFiles {
  readonly #cert: WatchedFile;
  readonly #key: WatchedFile;
  readonly #clientCa: WatchedFile | undefined;
  /** Why the files as they are now are not used; the former ones still are. */
  problem: string | undefined;

  /** @throws {Error} when a file cannot be read, or they make no TLS context */
  constructor(names: TlsFileNames, everyMs: number = RELOAD_MS) {
    this.#cert = new WatchedFile(names.cert, everyMs);
    this.#key = new WatchedFile(names.key, everyMs);
    this.#clientCa = names.clientCa === undefined ? undefined : new WatchedFile(names.clientCa, everyMs);
    this.#check();
  }

  get options(): SecureContextOptions {
    return {
      cert: this.#cert.bytes,
      key: this.#key.bytes,
      ...(this.#clientCa === undefined ? {} : { ca: this.#clientCa.bytes }),
      minVersion: 'TLSv1.2',
    };
  }

  get takesClientCertificates(): boolean {
    return this.#clientCa !== undefined;
  }

  /** Reads again what is due. @returns the options when they have changed and are good */
  refresh(): SecureContextOptions | undefined {
    const files = [this.#cert, this.#key, ...(this.#clientCa === undefined ? [] : [this.#clientCa])];
    const changed = files.map((file) => file.refresh()).some((one) => one);
    const unread = files.find((file) => file.problem !== undefined);
    if (unread !== undefined) this.problem = unread.problem;
    // A pair that does not fit is one whose other half is still to come: it is tried again.
    if (!changed && this.problem === undefined) return undefined;
    try {
      this.#check();
      this.problem = unread?.problem;
      return this.options;
    } catch (error) {
      this.problem = (error as Error).message;
      return undefined;
    }
  }

  /** @throws {Error} */
  #check(): void {
    try {
      createSecureContext(this.options);
    } catch (error) {
      throw new Error(
        `Cannot use the certificate "${this.#cert.path}" with the key "${this.#key.path}": a PEM certificate and its key are wanted (${(error as Error).message})`,
      );
    }
  }
}
