/** An application runs as the user whom the rules spare as the proxy: nothing of what it opens is captured. */
import type { Subject } from '../annotate/subject.ts';
import { ownersNamed } from '../netfilter/owners.ts';
import { Drafts, type FindingText } from './drafts.ts';
import { type Finding, type FindingNamespace, plays } from './finding.ts';
import { socketText } from './listening.ts';
import { connectionText, placeName, verdictText } from './quote.ts';

const rule = 'application-as-proxy-user';
const PROXIES: ReadonlySet<string> = new Set(['envoy', 'pilot-agent', 'ztunnel']);

export const applicationAsProxyUser: Finding = {
  rule,
  find(input) {
    const drafts = new Drafts(rule);
    for (const namespace of input.namespaces) {
      const { world, subjects } = namespace;
      if (!namespace.captures || world.sockets === undefined) continue;
      const spared = sparedUsers(namespace);
      for (const subject of subjects) {
        const { owner, rule: verdict } = subject.record;
        if (owner?.process === undefined || owner.uid === undefined || PROXIES.has(owner.process) || !spared.has(owner.uid)) continue;
        if (subject.flow.protocol !== 'tcp' || verdict?.verdict !== 'ACCEPT' || subject.place.onLoopback || !subject.place.sourceIsOurs)
          continue;
        drafts.add(world, `${owner.process} ${owner.uid}`, [subject], input.pathsThrough(subject.record.id), () =>
          sent(subject, owner.process!, owner.uid!),
        );
      }
      for (const socket of world.sockets?.listeners() ?? []) {
        if (socket.process === undefined || socket.uid === undefined || PROXIES.has(socket.process) || !spared.has(socket.uid)) continue;
        const { process, uid } = socket;
        drafts.add(world, `${process} ${uid}`, [], [], () => ({
          severity: 'warning',
          ...text(namespace, process, uid),
          proof: [
            `The listing of sockets shows ${socketText(socket)} of user ${uid}.`,
            `The rules spare user ${uid}, as whom the proxy runs. No connection that it opened was seen.`,
          ],
        }));
      }
    }
    return drafts.records();
  },
};

/** Users whom the rules name, as whom a proxy is known to run, or that the rules spare on every way out. */
function sparedUsers({ world, subjects }: FindingNamespace): Set<number> {
  const named = new Set<number>();
  const at = subjects[0]?.flow.firstNs ?? 0;
  for (const family of [4, 6] as const)
    for (const owner of ownersNamed(world.rulesAt(family, at)?.sets ?? []))
      if (owner.named && owner.uid !== undefined) named.add(owner.uid);
  const proxies = new Set<number>();
  for (const socket of world.sockets?.listeners() ?? [])
    if (socket.process !== undefined && PROXIES.has(socket.process) && socket.uid !== undefined) proxies.add(socket.uid);
  for (const { record } of subjects)
    if (record.owner?.process !== undefined && PROXIES.has(record.owner.process) && record.owner.uid !== undefined)
      proxies.add(record.owner.uid);
  return new Set([...named].filter((uid) => proxies.has(uid)));
}

function text({ world }: Pick<FindingNamespace, 'world'>, process: string, uid: number): Pick<FindingText, 'title' | 'fix'> {
  return {
    title: `The process ${process} of ${placeName(world)} runs as user ${uid} like the proxy, so that its connections are not captured`,
    fix: `Run the application as another user than ${uid} (securityContext.runAsUser): the rules let everything of that user pass, so that the proxy does not catch itself.`,
  };
}

function sent(subject: Subject, process: string, uid: number): FindingText {
  return {
    severity: 'error',
    ...text(subject, process, uid),
    proof: [
      `${connectionText(subject)}: opened by ${process} as user ${uid} (observed), not sent to the proxy${plays(subject, 'direct') ? '' : ' by the rules'}.`,
      `${verdictText(subject)}.`,
    ],
  };
}
