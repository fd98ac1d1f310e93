/** Certificates that Envoy holds, from /certs, and the names of its secrets. Private keys are never kept. Source: envoy/admin/v3/certs.proto, config_dump.proto (SecretsConfigDump). */
import { asObject, type Json, numberAt, objectAt, objectsAt, parseTimeMs, textAt } from './json.ts';

export interface Certificate {
  readonly role: 'chain' | 'ca';
  readonly path: string;
  readonly serialNumber: string;
  /** URIs, DNS names and addresses, as they stand. */
  readonly subjectAltNames: readonly string[];
  readonly daysUntilExpiration?: number;
  readonly validFromMs?: number;
  readonly expiresMs?: number;
}

export interface Secret {
  readonly name: string;
  readonly state: 'static' | 'active' | 'warming';
  readonly kind: 'certificate' | 'validation' | 'other';
  readonly lastUpdatedMs?: number;
  readonly version: string;
}

function parseCertificate(message: Json, role: 'chain' | 'ca'): Certificate {
  const days = numberAt(message, 'days_until_expiration');
  const from = parseTimeMs(textAt(message, 'valid_from'));
  const expires = parseTimeMs(textAt(message, 'expiration_time'));
  return {
    role,
    path: textAt(message, 'path') ?? '',
    serialNumber: textAt(message, 'serial_number') ?? '',
    subjectAltNames: objectsAt(message, 'subject_alt_names').flatMap((name) =>
      Object.values(name).filter((value) => typeof value === 'string'),
    ),
    ...(days === undefined ? {} : { daysUntilExpiration: days }),
    ...(from === undefined ? {} : { validFromMs: from }),
    ...(expires === undefined ? {} : { expiresMs: expires }),
  };
}

/** The certificates of /certs, each once (Envoy lists one entry for each TLS context). */
export function parseCertificates(value: unknown): Certificate[] {
  const seen = new Map<string, Certificate>();
  for (const entry of objectsAt(asObject(value), 'certificates'))
    for (const [name, role] of [
      ['cert_chain', 'chain'],
      ['ca_cert', 'ca'],
    ] as const)
      for (const message of objectsAt(entry, name)) {
        const certificate = parseCertificate(message, role);
        seen.set(`${role} ${certificate.serialNumber} ${certificate.path}`, certificate);
      }
  return [...seen.values()];
}

/** An entry of a SecretsConfigDump, without what is secret. */
export function parseSecret(entry: Json, state: Secret['state']): Secret {
  const secret = objectAt(entry, 'secret');
  const updated = parseTimeMs(textAt(entry, 'last_updated'));
  return {
    name: textAt(entry, 'name') ?? '',
    state,
    kind:
      objectAt(secret, 'tls_certificate') !== undefined
        ? 'certificate'
        : objectAt(secret, 'validation_context') !== undefined
          ? 'validation'
          : 'other',
    ...(updated === undefined ? {} : { lastUpdatedMs: updated }),
    version: textAt(entry, 'version_info') ?? '',
  };
}
