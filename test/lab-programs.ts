/** Programs that the lab builds (test/mesh/build): the real Envoy, Kubernetes' and Istio's own programs, Hubble's client. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** The folder that test/mesh/mesh keeps them in: BIN, as for it. */
export const labPrograms = process.env.BIN ?? '/var/cache/sidetrace-lab/bin';

/** The path of one of them; whether it is there is for `needsLabPrograms`. */
export function labProgram(name: string): string {
  return join(labPrograms, name);
}

/** Options for `test()`: skips, with the reason, where one of these has not been built. */
export function needsLabPrograms(...names: string[]): { skip: string | false } {
  const absent = names.filter((name) => !existsSync(labProgram(name)));
  return {
    skip:
      absent.length > 0 &&
      `SKIPPED: "${labPrograms}" has no ${absent.join(', no ')} (test/mesh/build "${labPrograms}" builds it; BIN names another folder)`,
  };
}
