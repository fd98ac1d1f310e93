/**
 * What the process that captures with `cap` writes to the one that reads: u8 type, u32 length, payload; numbers are little-endian.
 *
 * `opened`: u32 link type. `frames`: each u32 seconds, u32 nanoseconds (Unix time), u32 captured length, the bytes. `lost`: u32 frames that did not fit in the pipe.
 * `failed`: text. `ended`: nothing; all that was captured has been written.
 */
export const CAP_OPENED = 1;
export const CAP_FRAMES = 2;
export const CAP_LOST = 3;
export const CAP_FAILED = 4;
export const CAP_ENDED = 5;

export const CAP_HEADER = 5;
export const CAP_FRAME_HEADER = 12;
/** Of a message of frames, and of any. */
export const CAP_BATCH_BYTES = 256 * 1024;
export const CAP_BATCH_FRAMES = 1024;
export const CAP_MESSAGE_LIMIT = 512 * 1024;
/** `cap` captures so much of a frame, whatever one asks for. */
export const CAP_SNAP_LENGTH = 65_535;

export function capMessage(type: number, payload: Uint8Array): Buffer {
  const message = Buffer.allocUnsafe(CAP_HEADER + payload.length);
  message.writeUInt8(type, 0);
  message.writeUInt32LE(payload.length, 1);
  message.set(payload, CAP_HEADER);
  return message;
}

export function capNumber(type: number, value: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32LE(value);
  return capMessage(type, payload);
}
