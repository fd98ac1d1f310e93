/** What is wrong with an input that should hold frames or a bundle. */
export type CaptureFileErrorCode =
  /** No byte at all. */
  | 'CAPTURE_EMPTY'
  /** The bytes are those of something else. */
  | 'CAPTURE_FORMAT'
  /** The system refused to open or read it; `cause` holds its error. */
  | 'CAPTURE_READ'
  /** The right to capture is missing. */
  | 'CAPTURE_PERMISSION'
  /** The folder or archive holds no bundle.json, or one that is none. */
  | 'BUNDLE_MANIFEST';

/** The input is no capture and no bundle at all. What is one, but cut or broken, gives its frames and a loss instead. */
export class CaptureFileError extends SyntaxError {
  override readonly name = 'CaptureFileError';
  readonly code: CaptureFileErrorCode;
  /** The input as the user named it. */
  readonly path: string;
  /** The byte at which reading failed. */
  readonly offset: number;

  constructor(code: CaptureFileErrorCode, message: string, at: { path: string; offset: number; cause?: unknown }) {
    super(message, at.cause === undefined ? undefined : { cause: at.cause });
    this.code = code;
    this.path = at.path;
    this.offset = at.offset;
  }
}

/** The system's own word for an error (`ENOENT`), or its message. */
export function systemReason(error: unknown): string {
  if (error instanceof Error) return 'code' in error && typeof error.code === 'string' ? error.code : error.message;
  return String(error);
}
