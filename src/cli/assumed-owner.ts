/** Who opens a hypothetical connection, when nobody told: for an application somebody whom no rule names; for a proxy the user that its sockets show, and the group that the rules name. */
import { ownersNamed } from '../netfilter/owners.ts';
import type { RuleSet } from '../netfilter/rule-set.ts';
import type { SocketView } from '../world/socket-view.ts';

export interface AssumedOwner {
  readonly uid?: number;
  readonly gid?: number;
}

export function anyApplication(rules: readonly RuleSet[]): AssumedOwner {
  return plain(ownersNamed(rules).at(-1));
}

/** @param port where the proxy listens: its socket there tells its user */
export function proxyOwner(rules: readonly RuleSet[], sockets: SocketView | undefined, port: number): AssumedOwner {
  const owners = ownersNamed(rules);
  const uid = sockets?.listenersAt('tcp', '0.0.0.0', port).find((socket) => socket.uid !== undefined)?.uid;
  if (uid === undefined) return plain(owners[0]);
  const named = owners.find((owner) => owner.named && owner.uid === uid);
  return named === undefined ? plain({ uid, gid: owners[0]?.gid }) : plain(named);
}

function plain(owner: { readonly uid?: number | undefined; readonly gid?: number | undefined } | undefined): AssumedOwner {
  return { ...(owner?.uid === undefined ? {} : { uid: owner.uid }), ...(owner?.gid === undefined ? {} : { gid: owner.gid }) };
}
