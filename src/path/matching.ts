/**
 * Which item belongs to which place, when time, bytes and configuration leave several possibilities: what is the same in *every* assignment that fits is proven, the rest stays open.
 *
 * Items are requests (or connections) seen in the clear; places are exchanges on connections of the proxy's other side. A place of capacity one serves one item (HTTP/1.1, raw TCP);
 * a shared place serves any number (HTTP/2). An item that must be placed (the proxy said that it forwarded it) has a place in every assignment; other items may have none.
 * An edge is possible when some assignment places every such item and uses the edge.
 *
 * Method: a matching that covers the items which must be placed. An item that wants a place displaces the item that holds it; that one can go when a chain of displacements ends at a
 * place that nobody holds or that is shared, or comes back to where the first item was (Berge's lemma; on the graph of displacements: what reaches such an end, and strong components).
 */
export interface MatchingItem {
  readonly mustBePlaced: boolean;
  /** Indices of the places that fit by themselves. */
  readonly fits: readonly number[];
}

/** Steps of the search for one matching over one whole problem; what is not matched by then stays open. */
const WORK_MAX = 20_000_000;

/**
 * Removes the edges that no assignment uses.
 *
 * @param items in order
 * @param shared tells which places serve any number of items
 * @returns for each item the possible places, in the order of `fits`; `undefined` when no assignment places all that must be placed (then the premises are wrong and nothing is proven),
 *   or when it would have taken too long to find one
 */
export function possiblePlaces(items: readonly MatchingItem[], shared: (place: number) => boolean): (readonly number[] | undefined)[] {
  const matching = new Matching(items, shared);
  const result: (readonly number[] | undefined)[] = items.map(() => undefined);
  const component = componentsOf(items, shared);
  const failed = new Set<number>();
  items.forEach((item, i) => {
    if (item.mustBePlaced && !failed.has(component[i]!) && !matching.place(i)) failed.add(component[i]!);
  });
  const { strong, canGo } = matching.displacements();
  items.forEach((item, i) => {
    if (failed.has(component[i]!)) return;
    result[i] = item.fits.filter((place) => {
      const holder = shared(place) ? undefined : matching.holder.get(place);
      return holder === undefined || holder === i || canGo[holder] === 1 || strong[holder] === strong[i];
    });
  });
  return result;
}

class Matching {
  /** The item that holds a place. */
  readonly holder = new Map<number, number>();
  readonly #items: readonly MatchingItem[];
  readonly #shared: (place: number) => boolean;
  /** Search in which an item was reached last. */
  readonly #reached: Int32Array;
  /** The item whose displacement led to an item, and the place that it wanted. */
  readonly #wantedBy: Int32Array;
  readonly #wanted: Int32Array;
  #search = 0;
  #work = 0;

  constructor(items: readonly MatchingItem[], shared: (place: number) => boolean) {
    this.#items = items;
    this.#shared = shared;
    this.#reached = new Int32Array(items.length);
    this.#wantedBy = new Int32Array(items.length);
    this.#wanted = new Int32Array(items.length);
  }

  /** Finds a place for an item, moving others where needed. */
  place(item: number): boolean {
    const search = ++this.#search;
    const queue = [item];
    this.#reached[item] = search;
    this.#wantedBy[item] = -1;
    for (const at of queue)
      for (const place of this.#items[at]!.fits) {
        if (++this.#work > WORK_MAX) return false;
        const holder = this.#shared(place) ? undefined : this.holder.get(place);
        if (holder === undefined) {
          this.#move(at, place);
          return true;
        }
        if (this.#reached[holder] === search) continue;
        this.#reached[holder] = search;
        this.#wantedBy[holder] = at;
        this.#wanted[holder] = place;
        queue.push(holder);
      }
    return false;
  }

  #move(item: number, place: number): void {
    let at = item;
    let to = place;
    while (at !== -1) {
      if (!this.#shared(to)) this.holder.set(to, at);
      to = this.#wanted[at]!;
      at = this.#wantedBy[at]!;
    }
  }

  /** `canGo`: items that can leave their place for good; `strong`: those of one number can go round among themselves. */
  displacements(): { readonly strong: Int32Array; readonly canGo: Uint8Array } {
    const items = this.#items;
    const wanting: (number[] | undefined)[] = new Array(items.length);
    const canGo = new Uint8Array(items.length);
    const queue: number[] = [];
    const held = new Set(this.holder.values());
    const next = items.map((item, i) => {
      const holders: number[] = [];
      let free = !held.has(i);
      for (const place of item.fits) {
        const holder = this.#shared(place) ? undefined : this.holder.get(place);
        if (holder === undefined) free = true;
        else if (holder !== i) {
          holders.push(holder);
          const list = wanting[holder];
          if (list === undefined) wanting[holder] = [i];
          else list.push(i);
        }
      }
      if (free) {
        canGo[i] = 1;
        queue.push(i);
      }
      return holders;
    });
    for (const at of queue)
      for (const from of wanting[at] ?? []) {
        if (canGo[from] === 1) continue;
        canGo[from] = 1;
        queue.push(from);
      }
    return { strong: strongComponents(next), canGo };
  }
}

/** Numbers the strong components of a graph (Tarjan, without recursion). */
function strongComponents(next: readonly (readonly number[])[]): Int32Array {
  const count = next.length;
  const component = new Int32Array(count).fill(-1);
  const order = new Int32Array(count).fill(-1);
  const low = new Int32Array(count);
  const cursor = new Int32Array(count);
  const stack: number[] = [];
  const path: number[] = [];
  let visited = 0;
  let components = 0;
  for (let start = 0; start < count; start++) {
    if (order[start] !== -1) continue;
    path.push(start);
    while (path.length > 0) {
      const at = path.at(-1)!;
      if (order[at] === -1) {
        order[at] = low[at] = visited++;
        stack.push(at);
      }
      const to = next[at]![cursor[at]!];
      if (to !== undefined) {
        cursor[at]!++;
        if (order[to] === -1) path.push(to);
        else if (component[to] === -1) low[at] = Math.min(low[at]!, order[to]!);
        continue;
      }
      path.pop();
      const before = path.at(-1);
      if (before !== undefined) low[before] = Math.min(low[before]!, low[at]!);
      if (low[at] !== order[at]) continue;
      for (let member = stack.pop()!; ; member = stack.pop()!) {
        component[member] = components;
        if (member === at) break;
      }
      components++;
    }
  }
  return component;
}

/** Items that compete for places, directly or through others, have the same number. */
function componentsOf(items: readonly MatchingItem[], shared: (place: number) => boolean): Int32Array {
  const parent = Int32Array.from(items, (_, i) => i);
  const find = (i: number): number => {
    let root = i;
    while (parent[root] !== root) root = parent[root]!;
    for (let at = i; parent[at] !== root; ) {
      const next = parent[at]!;
      parent[at] = root;
      at = next;
    }
    return root;
  };
  const first = new Map<number, number>();
  items.forEach((item, i) => {
    for (const place of item.fits) {
      if (shared(place)) continue;
      const other = first.get(place);
      if (other === undefined) first.set(place, i);
      else parent[find(i)] = find(other);
    }
  });
  return Int32Array.from(items, (_, i) => find(i));
}
