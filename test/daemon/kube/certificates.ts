/** A certificate authority and certificates of its making, for servers on loopback. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Authority {
  readonly folder: string;
  readonly ca: string;
  /** Makes `NAME.crt` and `NAME.key` in the folder. */
  issue(name: string, subject: string, alternatives?: string): { cert: string; key: string };
  remove(): void;
}

export function makeAuthority(name = 'test-ca'): Authority {
  const folder = mkdtempSync(join(tmpdir(), 'sidetrace-kube-'));
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl('req', '-x509', ...curve, '-days', '2', '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', `/CN=${name}`);
  return {
    folder,
    ca: readFileSync(join(folder, 'ca.crt'), 'utf8'),
    issue(file, subject, alternatives) {
      openssl('req', ...curve, '-keyout', `${file}.key`, '-out', `${file}.csr`, '-subj', subject);
      writeFileSync(join(folder, `${file}.ext`), alternatives === undefined ? '' : `subjectAltName=${alternatives}\n`);
      const signed = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', `${file}.ext`];
      openssl('x509', '-req', '-in', `${file}.csr`, ...signed, '-out', `${file}.crt`);
      return { cert: readFileSync(join(folder, `${file}.crt`), 'utf8'), key: readFileSync(join(folder, `${file}.key`), 'utf8') };
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
