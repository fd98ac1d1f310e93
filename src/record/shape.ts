/**
 * Shapes of values that come from outside: each says what of a value is wrong, or nothing. Fields that a shape does not name are let through as they are, as long as they are not deep,
 * so that records of a newer writer pass.
 */

/** The first thing that does not fit: where (`rule.steps.0.text`), what is wanted there, and what stands there. */
export interface Misfit {
  readonly at: string;
  readonly wish: string;
  readonly value: unknown;
}

export type Shape = (value: unknown) => Misfit | undefined;

/** Levels of a value that no shape names. What is deeper is refused: whatever walks a value goes down by recursion. */
const DEPTH_MAX = 16;

function misfit(value: unknown, wish: string): Misfit {
  return { at: '', wish, value };
}

function within(name: string | number, { at, wish, value }: Misfit): Misfit {
  return { at: at === '' ? String(name) : `${name}.${at}`, wish, value };
}

export const text: Shape = (value) => (typeof value === 'string' ? undefined : misfit(value, 'text'));
export const boolean: Shape = (value) => (typeof value === 'boolean' ? undefined : misfit(value, 'true or false'));
export const number: Shape = (value) => (typeof value === 'number' && Number.isFinite(value) ? undefined : misfit(value, 'a number'));

export function integer(least: number, most: number): Shape {
  const wish = `a whole number from ${least} to ${most}`;
  return (value) => (Number.isInteger(value) && (value as number) >= least && (value as number) <= most ? undefined : misfit(value, wish));
}

/** @param wish what the text must be, for people */
export function textLike(form: RegExp, wish: string): Shape {
  return (value) => (typeof value === 'string' && form.test(value) ? undefined : misfit(value, wish));
}

export function equal(wanted: unknown): Shape {
  const wish = JSON.stringify(wanted);
  return (value) => (value === wanted ? undefined : misfit(value, wish));
}

export function oneOf(values: readonly string[]): Shape {
  const known: ReadonlySet<unknown> = new Set(values);
  return (value) => (known.has(value) ? undefined : misfit(value, `one of ${values.join(', ')}`));
}

export function listOf(element: Shape, least = 0): Shape {
  return (value) => {
    if (!Array.isArray(value)) return misfit(value, 'a list');
    if (value.length < least) return { at: 'length', wish: `at least ${least}`, value: value.length };
    for (let i = 0; i < value.length; i++) {
      const fault = element(value[i]);
      if (fault !== undefined) return within(i, fault);
    }
    return undefined;
  };
}

function isObject(value: unknown): value is { readonly [key: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Any names, one shape. */
export function mapOf(element: Shape): Shape {
  return (value) => {
    if (!isObject(value)) return misfit(value, 'an object');
    for (const name of Object.keys(value)) {
      const fault = element(value[name]);
      if (fault !== undefined) return within(name, fault);
    }
    return undefined;
  };
}

interface Fields {
  readonly [name: string]: Shape;
}

export function objectOf(required: Fields, optional: Fields = {}): Shape {
  const names = Object.keys(required);
  const shapes = new Map([...Object.entries(required), ...Object.entries(optional)]);
  return (value) => {
    if (!isObject(value)) return misfit(value, 'an object');
    for (const name of names) if (!Object.hasOwn(value, name)) return { at: name, wish: 'a value', value: undefined };
    for (const name in value) {
      const fault = (shapes.get(name) ?? shallow)(value[name]);
      if (fault !== undefined) return within(name, fault);
    }
    return undefined;
  };
}

/** Both shapes, the second asked only where the first fits. */
export function both(first: Shape, second: Shape): Shape {
  return (value) => first(value) ?? second(value);
}

const shallow: Shape = (value) => (isShallow(value, DEPTH_MAX) ? undefined : misfit(value, `a value of at most ${DEPTH_MAX} levels`));

function isShallow(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (levels === 0) return false;
  for (const element of Array.isArray(value) ? value : Object.values(value)) if (!isShallow(element, levels - 1)) return false;
  return true;
}

/** `"first" must be a time, it is "noon"`. */
export function misfitText({ at, wish, value }: Misfit): string {
  return `${at === '' ? 'it' : JSON.stringify(at)} must be ${wish}, it is ${valueText(value)}`;
}

const SHOWN = 60;

function valueText(value: unknown): string {
  if (value === undefined) return 'absent';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  return typeof value === 'string' ? JSON.stringify(value.length > SHOWN ? `${value.slice(0, SHOWN)}…` : value) : String(value);
}
