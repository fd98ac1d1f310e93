/** Asks the probe, the daemon and each namespace's Envoy what `sidetrace doctor` wants to know of them. */
import { existsSync } from 'node:fs';
import { errorText } from '../net/error-text.ts';
import type { ProbeReply } from '../source/probe-protocol.ts';
import { askStatus } from './daemon-answers.ts';
import type { DaemonFact, EnvoyFact, ProbeFacts } from './doctor-checks.ts';
import { findProbeProgram, probePlaces } from './probe-program.ts';
import { ProbeQuestions } from './probe-questions.ts';
import type { Server } from './server-options.ts';

export const PROBE_SOCKET = '/run/sidetrace/probe.sock';
const ENVOY_ADMIN = 15_000;
/** Namespaces whose Envoy is asked. */
const ENVOYS_MAX = 500;

export interface ProbeWish {
  /** A socket that was named. */
  readonly socket?: string;
  /** A program that was named. */
  readonly program?: string;
  readonly netnsFolder: string;
}

/** The socket that was named, else the program that was named, else the usual socket where there is one, else a program that lies where programs lie. */
export async function askProbe({ socket, program, netnsFolder }: ProbeWish): Promise<{ probe: ProbeFacts; envoys: EnvoyFact[] }> {
  const running = socket ?? (program === undefined && existsSync(PROBE_SOCKET) ? PROBE_SOCKET : undefined);
  if (running !== undefined) return await ask({ by: 'socket', where: running }, () => ProbeQuestions.connect(running));
  const found = program ?? findProbeProgram();
  if (found === undefined)
    return {
      probe: {
        by: 'started',
        where: 'sidetrace-probe',
        fault: `it is neither running at ${PROBE_SOCKET} nor installed (${probePlaces.join(', ')})`,
      },
      envoys: [],
    };
  return await ask({ by: 'started', where: found }, () => ProbeQuestions.start(found, ['--netns', netnsFolder]));
}

async function ask(
  about: Pick<ProbeFacts, 'by' | 'where'>,
  open: () => ProbeQuestions,
): Promise<{ probe: ProbeFacts; envoys: EnvoyFact[] }> {
  const questions = open();
  try {
    const hello = await questions.hello();
    const listed = (await questions.ask((id) => ({ type: 'list', id }))).filter((reply) => reply.type === 'namespace');
    const probe: ProbeFacts = {
      ...about,
      version: hello.version,
      capabilities: hello.capabilities,
      tools: hello.tools,
      ringBudget: hello.ringBudget,
      library: hello.library,
      namespaces: listed.map(({ name, process }) => (process === 0 ? name : `process ${name}`)),
    };
    // Without SYS_ADMIN the probe enters no namespace.
    const may = ((hello.capabilities >> 21n) & 1n) === 1n;
    const envoys: EnvoyFact[] = [];
    if (may) for (const one of listed.slice(0, ENVOYS_MAX)) envoys.push(await askEnvoy(questions, one));
    return { probe, envoys };
  } catch (error) {
    return { probe: { ...about, fault: errorText(error) }, envoys: [] };
  } finally {
    questions.close();
  }
}

const QUESTION = 'GET /server_info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';

async function askEnvoy(questions: ProbeQuestions, { name, cookie }: Extract<ProbeReply, { type: 'namespace' }>): Promise<EnvoyFact> {
  const { answer, end } = await questions.say(cookie, ENVOY_ADMIN, QUESTION);
  return { netns: name, ...envoyState(answer, end) };
}

const ECONNREFUSED = 111;

/** What an answer to /server_info tells; exported for the tests. */
export function envoyState(
  answer: string,
  end: { readonly code: string; readonly errno: number; readonly text: string } | undefined,
): Omit<EnvoyFact, 'netns'> {
  if (answer === '') {
    if (end === undefined || end.code === 'timed-out') return { state: 'silent', detail: 'it takes the connection and says nothing' };
    if (end.code === 'failed' && end.errno === ECONNREFUSED) return { state: 'none' };
    if (end.code === 'done') return { state: 'silent', detail: 'it closes the connection and says nothing' };
    return { state: 'unreachable', detail: end.text === '' ? end.code : end.text };
  }
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(answer)?.[1];
  const state = /"state":\s*"([A-Z_]+)"/.exec(answer)?.[1];
  if (status !== '200' || state === undefined)
    return { state: 'odd', detail: `what answers on ${ENVOY_ADMIN} is no Envoy (${status === undefined ? 'no HTTP' : `HTTP ${status}`})` };
  return state === 'LIVE' ? { state } : { state, detail: `Envoy is ${state}` };
}

export async function askDaemonState(server: Server, asked: boolean): Promise<DaemonFact> {
  const about = { where: server.name, asked };
  try {
    const status = await askStatus(server);
    if (typeof status === 'string') return { ...about, fault: `its status cannot be read: ${status}` };
    const { namespaces } = status;
    const capturing = namespaces.filter(({ state }) => state === 'capturing').length;
    return { ...about, about: `version ${status.version} on ${status.node}, captures ${capturing} of ${namespaces.length} namespaces` };
  } catch (error) {
    const text = errorText(error);
    return { ...about, fault: text.replace(/^Cannot ask the daemon at "[^"]*" for "[^"]*": /, '') };
  }
}
