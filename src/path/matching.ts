/**
 * Which item belongs to which place, when time, bytes and configuration leave several possibilities: what is the same in *every* assignment that fits is proven, the rest stays open.
 *
 * Items are requests (or connections) seen in the clear; places are exchanges on connections of the proxy's other side. A place of capacity one serves one item (HTTP/1.1, raw TCP);
 * a shared place serves any number (HTTP/2). An item that must be placed (the proxy said that it forwarded it) has a place in every assignment; other items may have none.
 * An edge is possible when some assignment places every such item and uses the edge.
 *
 * Method: a matching that covers the items which must be placed; an edge (i, p) is possible when the item that holds p can be moved elsewhere (an augmenting path), see
 * Hall's theorem and Berge's lemma. The work is bounded; a component that is too large keeps all its edges, which can only leave more open.
 */
export interface MatchingItem {
  readonly mustBePlaced: boolean;
  /** Indices of the places that fit by themselves. */
  readonly fits: readonly number[];
}

/** Steps of the search for augmenting paths over one whole problem; past it the remaining edges are kept unexamined. */
const WORK_MAX = 2_000_000;

/**
 * Removes the edges that no assignment uses.
 *
 * @param items in order
 * @param shared tells which places serve any number of items
 * @returns for each item the possible places, in the order of `fits`; `undefined` when no assignment places all that must be placed (then the premises are wrong and nothing is proven)
 */
export function possiblePlaces(items: readonly MatchingItem[], shared: (place: number) => boolean): (readonly number[] | undefined)[] {
  const result: (readonly number[] | undefined)[] = new Array(items.length);
  let work = 0;
  for (const component of components(items, shared)) {
    const holder = new Map<number, number>();
    const placed = new Map<number, number>();
    const search = (item: number, seen: Set<number>, forbidden: number, path: number): boolean => {
      if (path > 512) return false;
      for (const place of items[item]!.fits) {
        work++;
        if (place === forbidden || seen.has(place)) continue;
        if (shared(place)) {
          placed.set(item, place);
          return true;
        }
        seen.add(place);
        const current = holder.get(place);
        if (current === undefined || search(current, seen, forbidden, path + 1)) {
          holder.set(place, item);
          placed.set(item, place);
          return true;
        }
      }
      return false;
    };
    const must = component.filter((item) => items[item]!.mustBePlaced);
    let feasible = true;
    for (const item of must) if (!search(item, new Set(), -1, 0)) feasible = false;
    if (!feasible) {
      for (const item of component) result[item] = undefined;
      continue;
    }
    for (const item of component) {
      const { fits } = items[item]!;
      const possible: number[] = [];
      for (const place of fits) {
        if (shared(place) || placed.get(item) === place || work > WORK_MAX) {
          possible.push(place);
          continue;
        }
        const current = holder.get(place);
        if (current === undefined) {
          possible.push(place);
          continue;
        }
        // Give the place to `item`: its holder must find another one, and may take the one that `item` leaves.
        const own = placed.get(item);
        const savedHolder = new Map(holder);
        const savedPlaced = new Map(placed);
        if (own !== undefined && holder.get(own) === item) holder.delete(own);
        holder.set(place, item);
        placed.set(item, place);
        if (search(current, new Set([place]), place, 0)) possible.push(place);
        holder.clear();
        placed.clear();
        for (const [k, v] of savedHolder) holder.set(k, v);
        for (const [k, v] of savedPlaced) placed.set(k, v);
        work += savedHolder.size;
      }
      result[item] = possible;
    }
  }
  return result;
}

/** Items that compete for places, directly or through others. */
function components(items: readonly MatchingItem[], shared: (place: number) => boolean): number[][] {
  const parent = items.map((_, i) => i);
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
  const groups = new Map<number, number[]>();
  items.forEach((_, i) => {
    const root = find(i);
    const group = groups.get(root);
    if (group === undefined) groups.set(root, [i]);
    else group.push(i);
  });
  return [...groups.values()];
}
