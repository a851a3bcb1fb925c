/** After a server that did not close its file. Not written yet: takes the file as it is. */
import type { Log } from '../core/ports.ts'

export function mend(_path: string, _log: Log): void {}
