/** What a connection to the API server is opened with, as it is at this moment: the one place that reads files of credentials, or asks who makes them. */
import { readFile, stat } from 'node:fs/promises';
import { KubeApiError } from './api-error.ts';
import type { KubeCluster, Material } from './kubeconfig.ts';

const MAX_LENGTH = 1024 * 1024;

/** PEM, both. */
export interface Certificate {
  readonly chain: string;
  readonly key: string;
}

/** Credentials that somebody made when they were asked for: at least one of the two. */
export interface IssuedCredentials {
  readonly token?: string;
  readonly certificate?: Certificate;
}

/** Makes credentials, and keeps them as long as they are worth something. */
export interface CredentialSource {
  /**
   * @param refused those that the API server did not know: others are wanted, unless others are there by now
   * @throws {KubeApiError}
   */
  get(refused?: IssuedCredentials): Promise<IssuedCredentials>;
  /** Nothing is asked for any more: what is under way is given up. */
  close(): void;
}

export interface Credentials extends IssuedCredentials {
  /** PEM. */
  readonly ca?: string;
  /** What a source gave, as it gave it. */
  readonly issued?: IssuedCredentials;
}

/**
 * Files are read again each time.
 *
 * @param refused what the API server did not know
 * @throws {KubeApiError} for a file that cannot be read, or a source that has nothing to give
 */
export async function readCredentials(cluster: KubeCluster, refused?: Credentials): Promise<Credentials> {
  const [ca, token, chain, key, issued] = await Promise.all([
    readMaterial(cluster.ca, 'the CA'),
    readMaterial(cluster.token, 'the token'),
    readMaterial(cluster.certificate?.chain, 'the client certificate'),
    readMaterial(cluster.certificate?.key, "the client certificate's key"),
    cluster.source?.get(refused?.issued),
  ]);
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(token === undefined ? {} : { token: token.trim() }),
    ...(chain === undefined || key === undefined ? {} : { certificate: { chain, key } }),
    ...(issued === undefined ? {} : { ...issued, issued }),
  };
}

/** Would the API server say the same to both? */
export function sameCredentials(a: Credentials, b: Credentials): boolean {
  return a.token === b.token && a.certificate?.chain === b.certificate?.chain && a.certificate?.key === b.certificate?.key;
}

/** Of the options of node:tls: who the server must be, and who we are. */
export interface TlsOptions {
  readonly minVersion: 'TLSv1.2';
  readonly rejectUnauthorized: boolean;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly servername?: string;
}

export function tlsOptions({ serverName, insecure }: KubeCluster, { ca, certificate }: Credentials): TlsOptions {
  return {
    minVersion: 'TLSv1.2',
    rejectUnauthorized: !insecure,
    ...(ca === undefined ? {} : { ca }),
    ...(certificate === undefined ? {} : { cert: certificate.chain, key: certificate.key }),
    ...(serverName === undefined ? {} : { servername: serverName }),
  };
}

/** @param what it is, for the error @throws {KubeApiError} */
export async function readMaterial(material: Material | undefined, what: string): Promise<string | undefined> {
  if (material === undefined) return undefined;
  if ('text' in material) return material.text;
  try {
    const { size } = await stat(material.file);
    if (size > MAX_LENGTH)
      throw new KubeApiError(`Cannot read ${what} "${material.file}": at most ${MAX_LENGTH} bytes are wanted, it has ${size}`);
    return await readFile(material.file, 'utf8');
  } catch (error) {
    if (error instanceof KubeApiError) throw error;
    throw new KubeApiError(`Cannot read ${what} "${material.file}": ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
}
