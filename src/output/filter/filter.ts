/**
 * What a filter is. A filter looks at one flow, together with one of the paths that it belongs to (none for a flow without a path), and says yes or no.
 * Each is a file or a line of one; filters.ts lists them all.
 */
import type { Decision, FlowRecord, PathRecord, Peer } from '../../record/record.ts';

export interface Subject {
  readonly flow: FlowRecord;
  /** Set where a filter that looks at paths is in use and the flow belongs to one. */
  readonly path: PathRecord | undefined;
}

/** What filters need to know beside the records. */
export interface FilterContext {
  /** Labels of `namespace/name`; `undefined` when the pod is not known. */
  labelsOf(pod: string): { readonly [label: string]: string } | undefined;
  /** Ids of the findings of this rule, as far as they have come. */
  findingsOf(rule: string): ReadonlySet<string>;
}

export type FlowTest = (subject: Subject, context: FilterContext) => boolean;

export interface Filter {
  /** Long flag without dashes: `from-pod`. */
  readonly name: string;
  readonly short?: string;
  /** What stands in `--help` for the value; absent for a flag without one. */
  readonly value?: string;
  readonly summary: string;
  /** `path`: it asks for more than the flow itself, so a decision waits for its paths and findings. */
  readonly looksAt: 'flow' | 'path' | ((value: string) => 'flow' | 'path');
  /** @throws {FilterError} when the value is none that it knows */
  parse(value: string): FlowTest;
}

/** A filter's value that means nothing: the message names it and what was wanted. */
export class FilterError extends TypeError {}

export type Side = 'source' | 'destination';

/** The three forms of a filter on an end: `--X` (either end), `--from-X`, `--to-X`. */
export function endFilters(
  name: string,
  what: string,
  rest: Pick<Filter, 'short' | 'value'>,
  parse: (value: string) => (peer: Peer, context: FilterContext) => boolean,
): Filter[] {
  const { short, value } = rest;
  const parser =
    (...sides: Side[]) =>
    (text: string): FlowTest => {
      const test = parse(text);
      return ({ flow }, context) => sides.some((side) => test(flow[side], context));
    };
  const shared = { ...(value === undefined ? {} : { value }), looksAt: 'flow' } as const;
  return [
    {
      name,
      ...(short === undefined ? {} : { short }),
      ...shared,
      summary: `flows from or to ${what}`,
      parse: parser('source', 'destination'),
    },
    { name: `from-${name}`, ...shared, summary: `flows from ${what}`, parse: parser('source') },
    { name: `to-${name}`, ...shared, summary: `flows to ${what}`, parse: parser('destination') },
  ];
}

/** What Envoy decided for the subject: for this request, where the path tells, else for the connection. */
export function decisionsOf({ flow, path }: Subject): readonly Decision[] {
  const own = (path?.decisions ?? []).filter(({ netns }) => netns === flow.netns).map(({ decision }) => decision);
  if (own.length > 0) return own;
  return flow.envoy === undefined ? [] : [flow.envoy];
}

/** A test for text with `*` for any run of characters; without one the text must be equal. Linear in the length of the text for each star. */
export function globTest(pattern: string): (text: string) => boolean {
  const parts = pattern.split('*');
  if (parts.length === 1) return (text) => text === pattern;
  const [head, tail] = [parts[0]!, parts.at(-1)!];
  const middle = parts.slice(1, -1).filter((part) => part !== '');
  return (text) => {
    if (text.length < head.length + tail.length || !text.startsWith(head) || !text.endsWith(tail)) return false;
    let at = head.length;
    for (const part of middle) {
      const found = text.indexOf(part, at);
      if (found === -1) return false;
      at = found + part.length;
    }
    return at <= text.length - tail.length;
  };
}

/** `one of "a", "b"` for messages. */
export function choices(values: readonly string[]): string {
  return `one of ${values.join(', ')}`;
}
