/**
 * The two halves of an ExecCredential: what a credential plugin is told in KUBERNETES_EXEC_INFO, and what it answers on standard output.
 *
 * Source: Kubernetes "client-go credential plugins", reference of client.authentication.k8s.io/v1 and v1beta1; client-go plugin/pkg/client/auth/exec.
 */
import { createSecureContext } from 'node:tls';
import { type Certificate, type IssuedCredentials, readMaterial } from '../daemon/kube/credentials.ts';
import type { ExecCluster, ExecConfig } from '../daemon/kube/exec-config.ts';
import { isAbsent, type JsonObject, objectOf } from '../kube/fields.ts';
import { errorText } from '../net/error-text.ts';

const KIND = 'ExecCredential';

export interface Answered {
  readonly credentials: IssuedCredentials;
  /** Milliseconds since 1970; absent: they do not expire. */
  readonly expiresMs?: number;
}

/** @param interactive whether the plugin gets our standard input @throws {KubeApiError} where the cluster's CA cannot be read */
export async function execInfo({ apiVersion, cluster }: ExecConfig, interactive: boolean): Promise<string> {
  const told = cluster === undefined ? {} : { cluster: await clusterInfo(cluster) };
  return JSON.stringify({ kind: KIND, apiVersion, spec: { ...told, interactive } });
}

async function clusterInfo({ server, serverName, insecure, ca, config }: ExecCluster): Promise<JsonObject> {
  const pem = await readMaterial(ca, 'the CA');
  return {
    server,
    ...(serverName === undefined ? {} : { 'tls-server-name': serverName }),
    ...(insecure ? { 'insecure-skip-tls-verify': true } : {}),
    ...(pem === undefined ? {} : { 'certificate-authority-data': Buffer.from(pem).toString('base64') }),
    ...(config === undefined ? {} : { config }),
  };
}

/** @returns what is wrong with it, without a word of what may be secret, as text */
export function readAnswer(output: string, apiVersion: string): Answered | string {
  let given: JsonObject;
  try {
    given = objectOf(JSON.parse(output));
  } catch {
    return `an ${KIND} as JSON is wanted, it printed ${Buffer.byteLength(output)} bytes of something else`;
  }
  if (given.kind !== KIND) return `an object of kind ${KIND} is wanted, it printed one of ${shown(given.kind)}`;
  if (given.apiVersion !== apiVersion) return `the apiVersion ${apiVersion} is wanted, it printed ${shown(given.apiVersion)}`;
  const { token, clientCertificateData: chain, clientKeyData: key, expirationTimestamp } = objectOf(given.status);
  const expiresMs = isEmpty(expirationTimestamp) ? undefined : timeOf(expirationTimestamp);
  if (expiresMs !== undefined && Number.isNaN(expiresMs))
    return `"status.expirationTimestamp" must be a time of RFC 3339, it is ${shown(expirationTimestamp)}`;
  if (!isEmpty(token) && (typeof token !== 'string' || !/^[!-~]*$/.test(token)))
    return '"status.token" must be a text of visible ASCII characters, it is something else';
  if (isEmpty(chain) !== isEmpty(key)) return '"status" must have both "clientCertificateData" and "clientKeyData", one of them is absent';
  const certificate = isEmpty(chain) ? undefined : certificateOf(chain, key);
  if (typeof certificate === 'string') return certificate;
  if (isEmpty(token) && certificate === undefined)
    return '"status" must have "token", or "clientCertificateData" and "clientKeyData", it has neither';
  return {
    credentials: {
      ...(typeof token === 'string' && token !== '' ? { token } : {}),
      ...(certificate === undefined ? {} : { certificate }),
    },
    ...(expiresMs === undefined ? {} : { expiresMs }),
  };
}

function certificateOf(chain: unknown, key: unknown): Certificate | string {
  const wish = '"status.clientCertificateData" and "status.clientKeyData" must be PEM of a certificate and its key';
  if (typeof chain !== 'string' || typeof key !== 'string') return `${wish}, they are no texts`;
  try {
    createSecureContext({ cert: chain, key });
  } catch (error) {
    return `${wish}, OpenSSL says: ${errorText(error).slice(0, 120)}`;
  }
  return { chain, key };
}

function timeOf(value: unknown): number {
  return typeof value === 'string' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(value)
    ? Date.parse(value)
    : Number.NaN;
}

function isEmpty(value: unknown): boolean {
  return isAbsent(value) || value === '';
}

function shown(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 80)) : isEmpty(value) ? 'none' : `a ${typeof value}`;
}
