/**
 * The one place that makes text safe to print. A terminal obeys control bytes and reorders text by bidirectional controls, and whoever sends packets chooses the text;
 * so every text sink passes what it did not write itself through here.
 *
 * Escaped as `\u{…}` (hexadecimal, no padding): C0 and C1 controls, DEL, U+061C, U+200B-U+200F, U+2028-U+202E, U+2060-U+206F, U+FEFF, U+FFF9-U+FFFB, tag characters, lone surrogates,
 * private use, non-characters and unassigned code points. A backslash that is followed by `u{` is escaped too, so that no input can print what looks like an escape of ours.
 * Source: Unicode general categories Cc, Cf, Cs, Co, Cn, Zl, Zp; UAX #9 section 2.
 */

/** One test decides for nearly all text: printable ASCII without a backslash needs nothing. */
const PLAIN = /^[ -[\]-~]*$/;
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]|\\(?=u\{)/gu;

const escapeOne = (character: string): string => `\\u{${character.codePointAt(0)!.toString(16)}}`;

/** Text that is safe on a terminal; see the header for what is escaped. Printable text, of any script, is unchanged. */
export function escapeText(text: string): string {
  return PLAIN.test(text) ? text : text.replace(UNSAFE, escapeOne);
}

/** Longest text kept by {@link escapeShort}, in characters before escaping. */
const SHORT = 160;

/** {@link escapeText}, cut to 160 characters with `…` at the end: for what a stranger may make as long as they like (paths, names, questions). */
export function escapeShort(text: string, limit: number = SHORT): string {
  if (text.length <= limit) return escapeText(text);
  const cut = /[\ud800-\udbff]/.test(text[limit - 1]!) ? limit - 1 : limit;
  return `${escapeText(text.slice(0, cut))}…`;
}

const JSON_PLAIN = /^[ !#-[\]-~]*$/;
const JSON_UNSAFE = /[\u007f-\u009f\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

function escapeJsonOne(character: string): string {
  let out = '';
  for (let i = 0; i < character.length; i++) out += `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`;
  return out;
}

/** A JSON string with its quotes. What a terminal or a line reader would obey (C1, DEL, bidirectional controls, U+2028, lone surrogates) is escaped as `\uXXXX`, which changes no value. Source: RFC 8259 section 7. */
export function quoteJson(text: string): string {
  return JSON_PLAIN.test(text) ? `"${text}"` : JSON.stringify(text).replace(JSON_UNSAFE, escapeJsonOne);
}

/** JSON text of any JSON value, escaped as {@link quoteJson} does. */
export function formatJson(value: unknown, indent?: number): string {
  const text = JSON.stringify(value, null, indent) ?? 'null';
  return text.replace(JSON_UNSAFE, escapeJsonOne);
}
