import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import { KubeAccess, KubeAccessError, type KubeAccessOptions } from '../../../src/daemon/kube/access.ts';
import { KubeApi } from '../../../src/daemon/kube/api.ts';
import { SmallApiServer } from './small-api-server.ts';

const server = new SmallApiServer();
await server.start();
const api = new KubeApi(server.cluster());
/** For a server that lets wait. */
const impatient = new KubeApi(server.cluster(), { head: 1000, idle: 1000 });
after(async () => {
  api.close();
  impatient.close();
  await server.stop();
});

const known: { [token: string]: unknown } = {
  good: {
    authenticated: true,
    audiences: ['sidetrace'],
    user: { username: 'ann', groups: ['dev', 7], uid: 'u1', extra: { 'a/b': ['c'] } },
  },
  other: { authenticated: true, audiences: ['istio-ca'], user: { username: 'ann' } },
  unaware: { authenticated: true, user: { username: 'ann' } },
  nameless: { authenticated: true, audiences: ['sidetrace'], user: { username: '' } },
  truthy: { authenticated: 'true', audiences: ['sidetrace'], user: { username: 'ann' } },
};
const answer: SmallApiServer['review'] = (path, { spec }) =>
  path.includes('tokenreviews')
    ? (known[String(spec.token)] ?? { authenticated: false, error: 'invalid' })
    : { allowed: (spec.resourceAttributes as { verb: string }).verb === 'watch', denied: spec.user === 'bob' };

let nowMs = 0;
function open(options: KubeAccessOptions = {}, by = api): KubeAccess {
  nowMs = 1_000_000;
  server.review = answer;
  server.bodies.length = 0;
  return new KubeAccess(by, { now: () => nowMs, ...options });
}
afterEach(() => {
  server.fault = undefined;
});

const flows = { group: 'sidetrace.dev', resource: 'flows', namespace: 'shop' };

test('a good token is a user with groups; the answer is kept for a minute, then asked again', async () => {
  const access = open();
  const ann = { user: 'ann', groups: ['dev'], uid: 'u1', extra: { 'a/b': ['c'] } };
  assert.deepEqual(await access.review('good', ['sidetrace']), ann);
  nowMs += 59_000;
  assert.deepEqual(await access.review('good', ['sidetrace']), ann);
  assert.equal(server.bodies.length, 1);
  assert.deepEqual((server.bodies[0] as { spec: unknown }).spec, { token: 'good', audiences: ['sidetrace'] });
  nowMs += 2000;
  await access.review('good', ['sidetrace']);
  assert.equal(server.bodies.length, 2);
});

for (const token of ['bad', 'other', 'unaware', 'nameless', 'truthy'])
  test(`nobody: a token that is ${token}`, async () => {
    const access = open();
    assert.equal(await access.review(token, ['sidetrace']), undefined);
    nowMs += 4000;
    assert.equal(await access.review(token, ['sidetrace']), undefined);
    assert.equal(server.bodies.length, 1);
    nowMs += 2000;
    await access.review(token, ['sidetrace']);
    assert.equal(server.bodies.length, 2);
  });

for (const token of ['', 'a b', 'a\nb', 'ä', 'x'.repeat(20_000)])
  test(`nobody, and nobody is asked: ${JSON.stringify(token.slice(0, 5))} of ${token.length} characters`, async () => {
    assert.equal(await open().review(token, ['sidetrace']), undefined);
    assert.equal(server.bodies.length, 0);
  });

test('a token that was good and is revoked is refused a minute later', async () => {
  const access = open();
  assert.ok(await access.review('good', ['sidetrace']));
  server.review = () => ({ authenticated: false });
  nowMs += 60_001;
  assert.equal(await access.review('good', ['sidetrace']), undefined);
});

test('what is allowed is kept for a minute, what is not for five seconds; denied is denied', async () => {
  const access = open();
  const ann = { user: 'ann', groups: [] };
  assert.equal(await access.allowed(ann, 'watch', flows), true);
  assert.equal(await access.allowed(ann, 'get', flows), false);
  assert.equal(await access.allowed({ user: 'bob', groups: [] }, 'watch', flows), false);
  assert.deepEqual((server.bodies[0] as { spec: unknown }).spec, {
    user: 'ann',
    groups: [],
    resourceAttributes: { verb: 'watch', group: 'sidetrace.dev', resource: 'flows', namespace: 'shop' },
  });
  nowMs += 6000;
  await access.allowed(ann, 'watch', flows);
  assert.equal(server.bodies.length, 3);
  await access.allowed(ann, 'get', flows);
  assert.equal(server.bodies.length, 4);
});

for (const [what, fault] of [
  ['is down', (_request, response) => response.destroy()],
  ['answers 500', (_request, response) => response.writeHead(500).end()],
  ['answers 429', (_request, response) => response.writeHead(429, { 'retry-after': '1' }).end()],
  ['does not answer', () => {}],
  ['answers with half a JSON', (_request, response) => response.writeHead(201).end('{"status":{"authenticated":true')],
  ['sends elsewhere', (_request, response) => response.writeHead(307, { location: '/elsewhere' }).end()],
] as [string, (request: unknown, response: import('node:http').ServerResponse) => void][])
  test(`nobody gets in when the API server ${what}; who was known stays so for a minute`, async () => {
    const access = open({}, impatient);
    const ann = (await access.review('good', ['sidetrace']))!;
    assert.equal(await access.allowed(ann, 'watch', flows), true);
    server.fault = (request, response) => {
      fault(request, response);
      return true;
    };
    assert.ok(await access.review('good', ['sidetrace']));
    assert.equal(await access.allowed(ann, 'watch', flows), true);
    nowMs += 60_001;
    await assert.rejects(access.review('good', ['sidetrace']), KubeAccessError);
    await assert.rejects(access.allowed(ann, 'watch', flows), KubeAccessError);
    server.fault = undefined;
    assert.ok(await access.review('good', ['sidetrace']));
  });

test('an answer without a status lets nobody in', async () => {
  const access = open();
  server.review = () => undefined;
  assert.equal(await access.review('good', ['sidetrace']), undefined);
  assert.equal(await access.allowed({ user: 'ann', groups: [] }, 'watch', flows), false);
});

test('10,000 distinct bad tokens in ten seconds are at most 50 reviews, and a known one is served all the while', async () => {
  const access = open();
  await access.review('good', ['sidetrace']);
  nowMs += 60_001;
  server.bodies.length = 0;
  let refused = 0;
  let good = 0;
  for (let i = 0; i < 10_000; i++) {
    nowMs += 1;
    await access.review(`bad-${i}`, ['sidetrace']).catch((error) => {
      assert.ok(error instanceof KubeAccessError);
      refused++;
    });
    if (i % 1000 === 500 && (await access.review('good', ['sidetrace'])) !== undefined) good++;
  }
  process.stdout.write(`# 10,000 bad tokens: ${server.bodies.length} reviews\n`);
  assert.ok(server.bodies.length <= 50, `${server.bodies.length} reviews`);
  assert.ok(server.bodies.length >= 40, `${server.bodies.length} reviews`);
  assert.equal(refused, 10_000 - (server.bodies.length - 1));
  assert.equal(good, 10);
});

test('at most four are under way; who asks the same shares the answer; beyond 64 waiting nobody waits', async () => {
  const access = open({ burst: 1000 });
  let most = 0;
  let underWay = 0;
  server.fault = (_request, response) => {
    most = Math.max(most, ++underWay);
    setTimeout(() => {
      underWay--;
      response.writeHead(201).end(JSON.stringify({ status: known.good }));
    }, 20);
    return true;
  };
  const results = await Promise.allSettled([
    ...Array.from({ length: 100 }, (_, i) => access.review(`t${i}`, ['sidetrace'])),
    ...Array.from({ length: 100 }, () => access.review('t1', ['sidetrace'])),
  ]);
  assert.equal(most, 4);
  assert.equal(access.reviews, 68);
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 168);
});
