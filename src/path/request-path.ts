/** Request paths as proxies may rewrite them without anybody asking: compared after the normalisation that Envoy and Istio apply. Source: Envoy normalize_path, merge_slashes; RFC 3986 section 6.2.2. */
export function normalisePath(path: string): string {
  const end = path.search(/[?#]/);
  const raw = end === -1 ? path : path.slice(0, end);
  const query = end === -1 ? '' : path.slice(end);
  if (!/[%\\]|\/\/|\/\./.test(raw)) return path;
  const decoded = raw
    .replace(/%[0-9a-fA-F]{2}/g, (encoded) => {
      const unit = Number.parseInt(encoded.slice(1), 16);
      const char = String.fromCharCode(unit);
      return /[A-Za-z0-9\-._~/\\]/.test(char) ? char : encoded.toUpperCase();
    })
    .replace(/\\/g, '/')
    .replace(/\/{2,}/g, '/');
  const out: string[] = [];
  for (const segment of decoded.split('/')) {
    if (segment === '.') continue;
    if (segment === '..') {
      if (out.length > 1) out.pop();
    } else out.push(segment);
  }
  return out.join('/') + query;
}
