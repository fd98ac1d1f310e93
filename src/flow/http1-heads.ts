/** Heads of HTTP/1 as exchanges tell them: they keep the head as it came, and its fields are made when somebody asks for them. */
import type { HeaderField } from '../decode/header-field.ts';
import type { Http1Request, Http1Response } from '../decode/http1.ts';
import { requestTarget } from '../decode/http1-body.ts';
import type { HttpVersion, RequestHead, ResponseHead } from './http.ts';

export class Http1RequestHead implements RequestHead {
  readonly protocol: HttpVersion;
  readonly method: string;
  readonly scheme = undefined;
  readonly authority: string | undefined;
  readonly path: string | undefined;
  readonly requestId: string | undefined;
  readonly #head: Http1Request;

  constructor(head: Http1Request) {
    const { authority, path } = requestTarget(head);
    this.protocol = head.protocol;
    this.method = head.method;
    this.authority = authority;
    this.path = path;
    this.requestId = head.requestId;
    this.#head = head;
  }

  get headers(): readonly HeaderField[] {
    return this.#head.fields;
  }

  get headersComplete(): boolean {
    return this.#head.fieldsComplete;
  }
}

export class Http1ResponseHead implements ResponseHead {
  readonly protocol: HttpVersion;
  readonly status: number;
  readonly #head: Http1Response;

  constructor(head: Http1Response) {
    this.protocol = head.protocol;
    this.status = head.status;
    this.#head = head;
  }

  get headers(): readonly HeaderField[] {
    return this.#head.fields;
  }

  get headersComplete(): boolean {
    return this.#head.fieldsComplete;
  }
}
