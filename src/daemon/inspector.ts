/** Node.js opens its inspector, which can do anything, on SIGUSR1 unless somebody listens to that signal. */

/** Shuts that door: from now on SIGUSR1 does `instead`, nothing by default. Called first thing, before anything waits. */
export function keepInspectorShut(instead: () => void = () => {}): void {
  process.on('SIGUSR1', instead);
}
