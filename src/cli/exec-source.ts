/**
 * Credentials by a kubeconfig's `exec`: the program is run when they are wanted, and again when they expire or the API server does not know them.
 *
 * Only the command line runs such programs: src/daemon may not import this folder.
 * Source: Kubernetes "client-go credential plugins"; client-go plugin/pkg/client/auth/exec.
 */
import { isatty } from 'node:tty';
import { KubeApiError } from '../daemon/kube/api-error.ts';
import type { CredentialSource, IssuedCredentials } from '../daemon/kube/credentials.ts';
import type { ExecConfig } from '../daemon/kube/exec-config.ts';
import { PluginError, type PluginLimits, runPlugin, usualLimits } from './credential-plugin.ts';
import { execInfo, readAnswer } from './exec-credential.ts';

/** Before credentials expire others are asked for, so that they hold for the request that they are for. */
const EARLY_MS = 10_000;

export class ExecSource implements CredentialSource {
  readonly #exec: ExecConfig;
  readonly #limits: PluginLimits;
  readonly #terminal: boolean;
  #kept: { readonly credentials: IssuedCredentials; readonly untilMs: number } | undefined;
  #running: Promise<IssuedCredentials> | undefined;
  readonly #ending = new AbortController();

  /** @param terminal whether standard input is one */
  constructor(exec: ExecConfig, limits: PluginLimits = usualLimits, terminal: boolean = isatty(0)) {
    this.#exec = exec;
    this.#limits = limits;
    this.#terminal = terminal;
  }

  /** The program runs once for all who ask meanwhile. @throws {KubeApiError} */
  async get(refused?: IssuedCredentials): Promise<IssuedCredentials> {
    const kept = this.#kept;
    if (kept !== undefined && kept.credentials !== refused && Date.now() < kept.untilMs) return kept.credentials;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return await this.#running;
  }

  close(): void {
    this.#ending.abort();
  }

  async #run(): Promise<IssuedCredentials> {
    const { apiVersion, command, args, env, interactiveMode, installHint } = this.#exec;
    if (interactiveMode === 'Always' && !this.#terminal)
      throw this.#fault('its interactiveMode is Always: a terminal as standard input is wanted, there is none');
    const interactive = interactiveMode !== 'Never' && this.#terminal;
    const info = await execInfo(this.#exec, interactive);
    const whole = { ...process.env, ...env, KUBERNETES_EXEC_INFO: info };
    const output = await runPlugin({ command, args, env: whole, interactive }, this.#limits, this.#ending.signal).catch(
      (error: unknown) => {
        if (!(error instanceof PluginError)) throw error;
        throw this.#fault(error.absent && installHint !== undefined ? `${error.message}\n${installHint.trim()}` : error.message);
      },
    );
    const answer = readAnswer(output, apiVersion);
    if (typeof answer === 'string') throw this.#fault(answer);
    // Those that have expired by our clock are used once, as client-go does: the API server's clock decides.
    this.#kept = { credentials: answer.credentials, untilMs: (answer.expiresMs ?? Number.POSITIVE_INFINITY) - EARLY_MS };
    return answer.credentials;
  }

  #fault(state: string): KubeApiError {
    const { user, command } = this.#exec;
    return new KubeApiError(`Cannot get credentials for ${user} from ${JSON.stringify(command)}: ${state}`);
  }
}
