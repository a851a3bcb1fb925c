/** `/line.html`: a call on the line in a browser, from the link in its address. */
import { browserPorts } from './line/browser.ts'
import { Engine } from './line/engine.ts'
import { showLine } from './line/page.tsx'

const root = document.getElementById('page')
if (root !== null) showLine(root, new Engine(browserPorts()))
