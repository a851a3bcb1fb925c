/** Runs one contract for every implementation of the store: in memory, in a file, with MariaDB behind it. */
import { afterAll, afterEach, beforeAll, describe } from 'bun:test'
import { IN_MEMORY } from '../../src/store/store.ts'
import { MariaDb } from '../kit/mariadb.ts'
import { describeWith } from '../kit/need.ts'
import { type OpenedStore, openTestStore, temporaryFolder } from '../kit/stores.ts'

export interface Implementation {
  /** A store with nothing in it. Closed after the test. */
  open(): Promise<OpenedStore>
  /** Closes a store and opens it again on what it left behind; null where nothing stays. */
  readonly again: ((store: OpenedStore) => Promise<OpenedStore>) | null
}

export function forEveryStore(contract: (implementation: Implementation) => void): void {
  describe('in memory', () => contract(tracked(() => openTestStore({ dataDir: IN_MEMORY }), null)))

  describe('in a file', () =>
    contract(
      tracked(
        () => openTestStore(),
        (dataDir) => openTestStore({ dataDir }),
      ),
    ))

  describeWith('mariadbd', 'with MariaDB', () => {
    let mariadb: MariaDb
    let number = 0
    const open = (dataDir: string, database: string) =>
      openTestStore({ dataDir, mysql: { ...mariadb.settings, database } })
    beforeAll(async () => {
      mariadb = await MariaDb.start()
    }, 60_000)
    afterAll(() => mariadb?.stop())
    contract(
      tracked(
        () => open(temporaryFolder(), `call_db_${++number}`),
        (dataDir) => open(dataDir, `call_db_${number}`),
      ),
    )
  })
}

function tracked(open: () => OpenedStore, again: ((dataDir: string) => OpenedStore) | null): Implementation {
  const opened = new Set<OpenedStore>()
  afterEach(async () => {
    for (const store of opened) await store.close()
    opened.clear()
  })
  const track = (store: OpenedStore) => {
    opened.add(store)
    return store
  }
  return {
    open: async () => track(open()),
    again:
      again &&
      (async (store) => {
        await store.close()
        opened.delete(store)
        return track(again(store.dataDir))
      }),
  }
}
