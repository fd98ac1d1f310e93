/** Who may connect, as the configuration has it. */
import type { Authenticator } from '../stream/authenticator.ts';
import { CertificateAuthenticator } from '../stream/certificate-authenticator.ts';
import { KubeAuthenticator } from '../stream/kube-authenticator.ts';
import { TokenFileAuthenticator } from '../stream/token-file.ts';
import type { DaemonConfig } from './config.ts';
import { KubeAccess } from './kube/access.ts';
import type { KubeApi } from './kube/api.ts';

const KEPT_MS = 25_000;

/** In the order in which they are asked. @throws {Error} for a token file that cannot be used, or Kubernetes' word without an API server */
export function authenticatorsOf({ stream: { auth, tls } }: DaemonConfig, api: KubeApi | undefined): Authenticator[] {
  const found: Authenticator[] = [];
  if (tls.clientCa !== '') found.push(new CertificateAuthenticator());
  if (auth.tokens !== '') found.push(new TokenFileAuthenticator(auth.tokens));
  const { audience } = auth.kubernetes;
  if (audience !== '') {
    if (api === undefined)
      throw new Error(
        `Cannot ask Kubernetes who may connect (stream.auth.kubernetes.audience "${audience}"): an API server is wanted, kubernetes.source gives none`,
      );
    // Streams are asked about every half minute: with answers that are kept as long, a right that was taken away ends them within a minute.
    found.push(new KubeAuthenticator(new KubeAccess(api, { allowMs: KEPT_MS }), { audience }));
  }
  return found;
}
