/** `replay --live INTERFACE`: opens the interface, and sees to its end. */
import { CapSource } from '../source/cap-source.ts';
import { capState } from './cap-state.ts';
import { durationMs } from './duration.ts';
import { complain, InputError } from './failure.ts';

/** @throws {InputError} where cap is not there, {UsageError} for a duration that is none, {CaptureFileError} where the interface cannot be captured on */
export async function openLive(name: string, filter: string, duration: string | undefined): Promise<CapSource> {
  const ms = duration === undefined ? undefined : durationMs('--duration', duration);
  const state = capState();
  if (state !== 'built')
    throw new InputError(
      `Cannot capture on "${name}": the optional package cap is wanted, ${
        state === 'absent'
          ? 'it is not installed. "npm install cap" gets it'
          : 'its program was not compiled when it was installed. "npm rebuild cap" does that'
      }, with g++, make, python3 and the headers of libpcap (apt-get install g++ make python3 libpcap-dev). Without it: tcpdump -i ${name} -w - | sidetrace replay -`,
    );
  const source = await CapSource.open(name, filter);
  if (process.stderr.isTTY === true)
    complain(`capturing on "${name}" until ${ms === undefined ? 'Ctrl-C' : `${duration} have passed, or Ctrl-C`}`);
  if (ms !== undefined) setTimeout(() => source.stop(), ms).unref();
  return source;
}
