/** What the connection manager makes of a request's path before a route is chosen. Source: source/common/http/path_utility.cc, conn_manager_utility.cc. */
import type { HttpConnectionManager } from './http-connection-manager.ts';

export type EffectivePath =
  | { readonly kind: 'path'; readonly path: string }
  | { readonly kind: 'rejected' }
  | { readonly kind: 'redirected' };

/** RFC 3986 dot segments, backslashes as slashes, unreserved characters out of their percent encoding. */
function normalize(path: string): string {
  const decoded = path.replace(/\\/g, '/').replace(/%([0-9a-fA-F]{2})/g, (whole, hex: string) => {
    const c = String.fromCharCode(Number.parseInt(hex, 16));
    return /[A-Za-z0-9\-._~]/.test(c) ? c : whole;
  });
  const output: string[] = [];
  const segments = decoded.split('/').slice(1);
  segments.forEach((segment, i) => {
    const last = i === segments.length - 1;
    if (segment === '..') output.pop();
    else if (segment !== '.') output.push(segment);
    if (last && (segment === '.' || segment === '..')) output.push('');
  });
  return `/${output.join('/')}`;
}

/** @param path as sent, with its query */
export function effectivePath(manager: HttpConnectionManager, path: string): EffectivePath {
  const cut = path.search(/[?#]/);
  let bare = cut === -1 ? path : path.slice(0, cut);
  const rest = cut === -1 ? '' : path.slice(cut);
  if (!bare.startsWith('/')) return { kind: 'path', path };
  if (manager.escapedSlashes !== 'KEEP_UNCHANGED' && /%(2f|5c)/i.test(bare)) {
    if (manager.escapedSlashes === 'REJECT_REQUEST') return { kind: 'rejected' };
    if (manager.escapedSlashes === 'UNESCAPE_AND_REDIRECT') return { kind: 'redirected' };
    bare = bare.replace(/%2f/gi, '/').replace(/%5c/gi, '\\');
  }
  if (manager.normalizePath) bare = normalize(bare);
  if (manager.mergeSlashes) bare = bare.replace(/\/{2,}/g, '/');
  return { kind: 'path', path: bare + rest };
}
