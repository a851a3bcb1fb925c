/** The page of a line with a line that does what a test says. Runs in the browser; built and served by the test. */
import { render } from 'preact'
import { FakeLine } from '../../src/web/line/fake.ts'
import type { Report } from '../../src/web/line/messages.ts'
import { showLine } from '../../src/web/line/page.tsx'
import type { View } from '../../src/web/line/view.ts'

/** What the line is to be, as it can be told from outside the page. */
export interface Scene {
  readonly view?: Partial<View>
  readonly report?: Partial<Report>
  /** The peer has been here for so many ms. */
  readonly talkedFor?: number
  /** The next try is in so many ms. */
  readonly retryIn?: number
}

/** What a test finds in the page. */
export interface Stage {
  readonly calls: readonly string[]
  /** The page as it is when it was just loaded, and then as told. */
  begin(scene: Scene): void
  show(scene: Scene): void
}

const root = document.getElementById('page')
let line = new FakeLine()

const stage: Stage = {
  get calls() {
    return line.calls
  },
  begin(scene) {
    if (root === null) return
    render(null, root)
    line = new FakeLine()
    line.set({ link: location.href })
    showLine(root, line)
    stage.show(scene)
  },
  show({ view, report, talkedFor, retryIn }) {
    if (report !== undefined) line.report(report)
    if (retryIn !== undefined) {
      const retryAt = performance.timeOrigin + performance.now() + retryIn
      line.report({ link: { at: 'reconnecting', trouble: 'server_restart', retryAt } })
    }
    const since = talkedFor === undefined ? {} : { since: performance.now() - talkedFor }
    line.set({ ...view, ...since })
  },
}
Object.assign(globalThis, { stage })
stage.begin({})
