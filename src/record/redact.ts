/**
 * What must not leave in a record: credentials in header fields, query strings, user information in URLs.
 * On by default; matching works on the raw values, redaction happens when a record is made.
 */
export interface Redaction {
  /** `/a?b=c#d` → `/a?…`; user information is removed from absolute targets. */
  path(path: string): string;
  /** `user:secret@host` → `host`. */
  authority(authority: string): string;
  /** The value of the header field `name` (lower case), or `…` where it may hold a credential. */
  field(name: string, value: string): string;
}

/** Stands for what was taken away. */
export const REDACTED = '…';

const SECRET_FIELDS = new Set([
  'authorization',
  'proxy-authorization',
  'authentication-info',
  'proxy-authentication-info',
  'cookie',
  'cookie2',
  'set-cookie',
  'set-cookie2',
  'x-amz-security-token',
  'x-forwarded-authorization',
  'x-csrf-token',
  'x-xsrf-token',
  'x-goog-iap-jwt-assertion',
  'x-jwt-assertion',
  'x-serverless-authorization',
]);
/** `x-api-key`, `apikey`, `x-auth-token`, `private-token`, `client-secret`, `x-session-id`, … */
const SECRET_WORDS =
  /(?:^|[-_])(?:api-?_?key|access-?_?key|auth(?:entication|orization)?(?:-key)?|token|secret|password|passwd|jwt|credentials?|session(?:-?_?id)?|signature|sid)(?:$|[-_])|apikey$/;
/** Fields whose value is a URL or a target with a query. */
const URL_FIELDS = new Set([
  'referer',
  'location',
  'content-location',
  'x-envoy-original-path',
  'x-original-url',
  'x-rewrite-url',
  ':path',
  'refresh',
  'link',
]);

function redactPath(path: string): string {
  const cut = path.search(/[?#]/);
  const before = (cut === -1 ? path : path.slice(0, cut)).replace(/^([a-z][a-z0-9+.-]*:)?\/\/[^/]*@/i, '$1//');
  if (cut === -1) return before;
  return `${before}${path[cut]}${REDACTED}`;
}

function redactAuthority(authority: string): string {
  return authority.slice(authority.lastIndexOf('@') + 1);
}

/** The default. */
export const redaction: Redaction = {
  path: redactPath,
  authority: redactAuthority,
  field(name, value) {
    if (SECRET_FIELDS.has(name) || SECRET_WORDS.test(name)) return REDACTED;
    if (name === ':authority' || name === 'host') return redactAuthority(value);
    return URL_FIELDS.has(name) ? redactPath(value) : value;
  },
};

/** Everything as it was sent: for those who switched redaction off. */
export const noRedaction: Redaction = { path: (path) => path, authority: (authority) => authority, field: (_name, value) => value };
