// Stands in for the Bookinfo images: same ports, paths and calls. node bookinfo.mjs productpage|details|reviews|ratings [v1|v2|v3]
import http from 'node:http';

const [role, version = 'v1'] = process.argv.slice(2);
const passOn = ['x-request-id', 'x-b3-traceid', 'x-b3-spanid', 'x-b3-parentspanid', 'x-b3-sampled', 'traceparent', 'end-user', 'cookie'];

function get(host, path, headers) {
  return new Promise((resolve) => {
    const wanted = Object.fromEntries(passOn.filter((h) => headers[h]).map((h) => [h, headers[h]]));
    http
      .get({ host, port: 9080, path, headers: wanted, timeout: 3000 }, (answer) => {
        let text = '';
        answer.on('data', (d) => (text += d)).on('end', () => resolve({ status: answer.statusCode, body: text }));
      })
      .on('timeout', function () {
        this.destroy(new Error('timeout'));
      })
      .on('error', (e) => resolve({ status: 0, body: e.message }));
  });
}

const roles = {
  async productpage(url, headers) {
    if (!url.pathname.startsWith('/productpage')) return { page: 'bookinfo' };
    const [details, reviews] = await Promise.all([get('details', '/details/0', headers), get('reviews', '/reviews/0', headers)]);
    return { details, reviews };
  },
  async details() {
    return { id: 0, author: 'William Shakespeare', year: 1595, pages: 200 };
  },
  async reviews(_url, headers) {
    return { version, ratings: version === 'v1' ? null : await get('ratings', '/ratings/0', headers) };
  },
  async ratings() {
    return { id: 0, ratings: { Reviewer1: 5, Reviewer2: 4 } };
  },
};

http
  .createServer(async (request, response) => {
    const url = new URL(request.url, 'http://x');
    if (url.pathname === '/health') return response.end('ok');
    if (url.pathname === '/slow') await new Promise((resolve) => setTimeout(resolve, 1000));
    const body = JSON.stringify(await roles[role](url, request.headers));
    response.setHeader('content-type', 'application/json');
    response.end(body);
  })
  .listen(9080, '0.0.0.0');
