/**
 * Texts of resources that several configurations have in common, kept once: most sidecars of a node have most of their clusters, routes and endpoints in common, and most
 * versions of a configuration differ in a few. A text is gone when nothing uses it any more.
 */
import { createHash } from 'node:crypto';
import { JsonPart, readJson } from '../../envoy/json-part.ts';
import type { MessageField } from '../../envoy/resource.ts';

export class SharedParts {
  readonly #parts = new Map<string, WeakRef<JsonPart>>();
  readonly #gone = new FinalizationRegistry<string>((key) => {
    if (this.#parts.get(key)?.deref() === undefined) this.#parts.delete(key);
  });

  get size(): number {
    return this.#parts.size;
  }

  /**
   * The part that stands for all of this text in this field; it holds nothing of the text around it.
   *
   * @param added told how many bytes it takes, where it is new
   */
  keep(part: JsonPart, field: MessageField | 'host_statuses', added?: (bytes: number) => void): JsonPart {
    const { bytes } = part;
    const key = `${field} ${createHash('sha256').update(bytes).digest('base64')}`;
    const known = this.#parts.get(key)?.deref();
    if (known !== undefined) return known;
    // Of its own memory, not of a pool that keeps what lies beside it.
    const own = Buffer.allocUnsafeSlow(bytes.length);
    own.set(bytes);
    added?.(bytes.length);
    const kept = new JsonPart(readJson(own, { what: 'an Envoy config_dump', unitDepth: 1 }), 0);
    this.#parts.set(key, new WeakRef(kept));
    this.#gone.register(kept, key);
    return kept;
  }
}

/** Those of this process. */
export const nodeParts = new SharedParts();
