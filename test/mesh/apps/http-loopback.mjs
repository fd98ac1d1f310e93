// Listens on 127.0.0.1 only, so nothing that comes by the pod's address reaches it.
import http from 'node:http';

http.createServer((_request, response) => response.end('ok')).listen(8080, '127.0.0.1');
