/**
 * 64-bit time stamps of pcapng interfaces, as nanoseconds since the base, without a BigInt for each frame.
 *
 * A stamp counts units of 10^-n or 2^-n seconds (if_tsresol) after an offset in seconds (if_tsoffset). The base is expressed in the same units once for each
 * interface; the difference of two stamps is then exact in a double as long as it is below 2^53 units.
 * Source: draft-ietf-opsawg-pcapng section 4.2, if_tsresol and if_tsoffset.
 */
import type { SourceBase } from './source-base.ts';

const NS = 1_000_000_000;
const WORD = 4_294_967_296;
const START_LENGTH = 16;

export const DEFAULT_TSRESOL = 6;

/** Units a second of an if_tsresol byte: its highest bit chooses powers of two. */
function unitsPerSecond(resolution: number): bigint {
  return (resolution & 0x80) === 0 ? 10n ** BigInt(resolution) : 2n ** BigInt(resolution & 0x7f);
}

function floorDivide(a: bigint, b: bigint): bigint {
  const quotient = a / b;
  return a % b < 0n ? quotient - 1n : quotient;
}

/** The clocks of all interfaces of a file, by index. */
export class PcapngClocks {
  readonly #base: SourceBase;
  readonly #resolution: number[] = [];
  readonly #offsetSeconds: bigint[] = [];
  #baseHigh = new Float64Array(START_LENGTH);
  #baseLow = new Float64Array(START_LENGTH);
  #units = new Float64Array(START_LENGTH);
  /** Nanoseconds of a unit, where that is a whole number; else 0. */
  #factor = new Float64Array(START_LENGTH);
  #count = 0;
  #preparedFor = 0;

  constructor(base: SourceBase) {
    this.#base = base;
    this.#preparedFor = base.epochSeconds;
  }

  add(resolution: number, offsetSeconds: bigint): void {
    if (this.#count === this.#units.length) this.#grow();
    this.#resolution.push(resolution);
    this.#offsetSeconds.push(offsetSeconds);
    this.#prepare(this.#count++);
  }

  /** Fixes the base at the whole second of this stamp, unless it is fixed. */
  fixBase(index: number, high: number, low: number): void {
    if (this.#base.fixed) return;
    const units = (BigInt(high) << 32n) | BigInt(low);
    this.#base.fix(Number(units / unitsPerSecond(this.#resolution[index]!) + this.#offsetSeconds[index]!));
  }

  /** Follows the base, which another source that shares it may have fixed; to be called before a run of {@link timeNs}. */
  followBase(): void {
    if (this.#preparedFor === this.#base.epochSeconds) return;
    this.#preparedFor = this.#base.epochSeconds;
    for (let i = 0; i < this.#count; i++) this.#prepare(i);
  }

  timeNs(index: number, high: number, low: number): number {
    const units = (high - this.#baseHigh[index]!) * WORD + (low - this.#baseLow[index]!);
    const factor = this.#factor[index]!;
    if (factor !== 0) return units * factor;
    const perSecond = this.#units[index]!;
    const seconds = Math.floor(units / perSecond);
    return seconds * NS + Math.floor(((units - seconds * perSecond) * NS) / perSecond);
  }

  #prepare(index: number): void {
    const perSecond = unitsPerSecond(this.#resolution[index]!);
    const base = (BigInt(Math.floor(this.#preparedFor)) - this.#offsetSeconds[index]!) * perSecond;
    const high = floorDivide(base, BigInt(WORD));
    this.#baseHigh[index] = Number(high);
    this.#baseLow[index] = Number(base - high * BigInt(WORD));
    this.#units[index] = Number(perSecond);
    this.#factor[index] = BigInt(NS) % perSecond === 0n ? Number(BigInt(NS) / perSecond) : 0;
  }

  #grow(): void {
    const grown = (old: Float64Array) => {
      const array = new Float64Array(old.length * 2);
      array.set(old);
      return array;
    };
    this.#baseHigh = grown(this.#baseHigh);
    this.#baseLow = grown(this.#baseLow);
    this.#units = grown(this.#units);
    this.#factor = grown(this.#factor);
  }
}
