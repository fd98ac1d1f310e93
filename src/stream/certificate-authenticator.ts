/** Client certificates that the client CA signed: the common name is the user, organisations are groups, as Kubernetes has it. */
import type { Authenticator, Credentials, Principal, Refusal } from './authenticator.ts';

export interface CertificatePolicy {
  /** Common names or alternative names (`URI:spiffe://…`) that may; absent: whoever the CA signed. */
  readonly subjects?: readonly string[];
}

export class CertificateAuthenticator implements Authenticator {
  readonly wants = 'a client certificate that the client CA signed';
  readonly #subjects: ReadonlySet<string> | undefined;

  constructor({ subjects }: CertificatePolicy = {}) {
    this.#subjects = subjects === undefined ? undefined : new Set(subjects);
  }

  async authenticate({ clientCertificate: certificate, token }: Credentials): Promise<Principal | Refusal | undefined> {
    if (certificate === undefined || token !== undefined) return undefined;
    const { commonName, names, organizations, expires } = certificate;
    const name = commonName !== '' ? commonName : (names[0] ?? '');
    if (name === '')
      return {
        refused: 401,
        reason: 'certificate-without-name',
        message: 'Cannot tell who you are: a certificate with a common name or an alternative name is wanted, it has neither',
      };
    if (this.#subjects !== undefined && ![commonName, ...names].some((one) => this.#subjects!.has(one)))
      return {
        refused: 403,
        reason: 'certificate-not-listed',
        message: `Cannot let "${name}" in: a certificate of one of the listed subjects is wanted`,
        wanted: { subject: 'one of the listed' },
      };
    return { name, groups: organizations, by: 'certificate', expires };
  }

  async authorize(): Promise<true> {
    return true;
  }
}
