/** Labels of pods for `--label`, from the bundles and the `--pods` files; read when the first flow is asked about. */

import { parseKubeObjects } from '../kube/objects.ts';
import { openInput } from '../source/input.ts';
import { expandRecording } from '../source/recording.ts';

import { InputError } from './failure.ts';
import { readText } from './world-of.ts';

/** What cannot be read, the replay itself tells. */
function attempt(read: () => void): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof InputError)) throw error;
  }
}

type Labels = { readonly [label: string]: string };

export function podLabels({
  captures,
  files,
}: {
  readonly captures: readonly string[];
  readonly files: readonly { readonly kind: string; readonly path: string }[];
}): (pod: string) => Labels | undefined {
  let known: Map<string, Labels> | undefined;
  const add = (into: Map<string, Labels>, text: string, name: string): void => {
    for (const pod of parseKubeObjects(text, name).pods) into.set(`${pod.namespace}/${pod.name}`, Object.fromEntries(pod.labels));
  };
  const read = (): Map<string, Labels> => {
    const labels = new Map<string, Labels>();
    for (const path of captures.flatMap(expandRecording)) {
      if (path === '-') continue;
      attempt(() => {
        const input = openInput(path);
        if (input.kind === 'capture') input.source.close();
        else {
          const text = input.bundle.readText('pods.json', 'optional');
          if (text !== undefined) add(labels, text, `${path}/pods.json`);
          input.bundle.close();
        }
      });
    }
    for (const { kind, path } of files) if (kind === 'pods') attempt(() => add(labels, readText(path, kind), path));
    return labels;
  };
  return (pod) => {
    known ??= read();
    return known.get(pod);
  };
}
