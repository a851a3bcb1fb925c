import { join } from 'node:path'

/** What browsers get, as the build made it: from a file of this room, and from the built command in `dist/server`. */
export const BUILT_PAGES = join(import.meta.dir, '../../dist/web')
