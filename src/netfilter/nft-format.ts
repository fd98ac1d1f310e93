/**
 * Spells an nft rule from its JSON the way `nft list ruleset` does. What has no spelling here stands as JSON.
 * Source: nft(8), libnftables-json(5).
 */
import { isObject, type Json, onlyKey, text } from './nft-json.ts';

export function formatRule(expressions: readonly Json[]): string {
  return expressions.map(formatStatement).join(' ');
}

export function formatStatement(statement: Json): string {
  const one = onlyKey(statement);
  if (one === undefined) return JSON.stringify(statement);
  const { key, value } = one;
  switch (key) {
    case 'match': {
      if (!isObject(value)) break;
      const op = value.op === '==' || value.op === 'in' ? '' : `${text(value.op) ?? ''} `;
      return `${formatExpression(value.left ?? null)} ${op}${formatExpression(value.right ?? null)}`;
    }
    case 'counter':
    case 'accept':
    case 'drop':
    case 'return':
    case 'continue':
    case 'notrack':
      return key;
    case 'jump':
    case 'goto':
      return `${key} ${isObject(value) ? (text(value.target) ?? '') : ''}`;
    case 'mangle':
      if (!isObject(value)) break;
      return `${formatExpression(value.key ?? null)} set ${formatExpression(value.value ?? null)}`;
    case 'redirect':
    case 'dnat':
    case 'snat':
    case 'masquerade':
    case 'tproxy': {
      if (!isObject(value)) return key;
      const family = text(value.family);
      const port = value.port === undefined ? '' : `:${formatExpression(value.port)}`;
      const to = `${value.addr === undefined ? '' : formatExpression(value.addr)}${port}`;
      return [key, family, to === '' ? undefined : `to ${to}`, flags(value.flags)].filter((word) => word !== undefined).join(' ');
    }
    case 'log':
      return isObject(value) && text(value.prefix) !== undefined ? `log prefix ${JSON.stringify(value.prefix)}` : 'log';
    case 'reject':
      return isObject(value) && text(value.type) !== undefined ? `reject with ${text(value.type)}` : 'reject';
    case 'xt':
      return isObject(value) ? `xt ${text(value.type) ?? ''} "${text(value.name) ?? ''}"` : 'xt';
    case 'unread':
      return text(value) ?? '';
    default:
      break;
  }
  return `${key} ${JSON.stringify(value)}`;
}

function flags(value: Json | undefined): string | undefined {
  if (typeof value === 'string') return value;
  return Array.isArray(value) && value.length > 0 ? value.map((flag) => text(flag) ?? '').join(',') : undefined;
}

export function formatExpression(value: Json): string {
  if (typeof value === 'string') return /^[\w@.:/*+-]+$/.test(value) ? value : JSON.stringify(value);
  if (typeof value === 'number') return String(value);
  if (Array.isArray(value)) return value.map(formatExpression).join(',');
  const one = onlyKey(value);
  if (one === undefined) return JSON.stringify(value);
  const { key, value: inner } = one;
  if (key === 'set' && Array.isArray(inner)) return `{ ${inner.map(formatExpression).join(', ')} }`;
  if (key === 'range' && Array.isArray(inner)) return inner.map(formatExpression).join('-');
  if (key === 'concat' && Array.isArray(inner)) return inner.map(formatExpression).join(' . ');
  if (['&', '|', '^', '<<', '>>'].includes(key) && Array.isArray(inner)) return inner.map(formatExpression).join(` ${key} `);
  if (!isObject(inner)) return JSON.stringify(value);
  if (key === 'payload' && text(inner.field) !== undefined) return `${text(inner.protocol)} ${text(inner.field)}`;
  if (key === 'meta')
    return /^(?:iifname|oifname|iif|oif|skuid|skgid|mark)$/.test(String(inner.key))
      ? bareMeta(String(inner.key))
      : `meta ${text(inner.key)}`;
  if (key === 'ct') return ['ct', text(inner.dir), text(inner.family), text(inner.key)].filter((word) => word !== undefined).join(' ');
  if (key === 'prefix') return `${formatExpression(inner.addr ?? null)}/${formatExpression(inner.len ?? null)}`;
  if (key === 'elem') return formatExpression(inner.val ?? null);
  if (key === 'fib')
    return `fib ${Array.isArray(inner.flags) ? inner.flags.map(formatExpression).join(' . ') : (text(inner.flags) ?? '')} ${text(inner.result)}`;
  return JSON.stringify(value);
}

/** nft lists these without the word meta, save mark. */
function bareMeta(key: string): string {
  return key === 'mark' || key.startsWith('sk') ? `meta ${key}` : key;
}
