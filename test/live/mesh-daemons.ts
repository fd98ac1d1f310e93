/** A daemon on each node of the lab, for tests that judge what both tell. */
import { join } from 'node:path';
import { LiveDaemon } from './daemon.ts';
import type { Lab, LabPod } from './lab.ts';

export function meshDaemons(lab: Lab, folder: string): LiveDaemon[] {
  return (['a', 'b'] as const).map(
    (node) =>
      new LiveDaemon({
        node: `node-${node}`,
        folder: join(folder, `node-${node}`),
        enter: (argv) => lab.inNode(node, argv),
        kubeconfig: lab.kubeconfig,
      }),
  );
}

/** Until each captures the pods of its node. */
export async function startAll(daemons: readonly LiveDaemon[], pods: readonly LabPod[]): Promise<void> {
  for (const daemon of daemons) await daemon.start();
  for (const daemon of daemons) await daemon.capturing(pods.filter(({ node }) => `node-${node}` === daemon.node).length);
}
