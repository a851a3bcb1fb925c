/**
 * Runs a Dockerfile without Docker, as far as that goes on a Linux machine and as root: each stage is a file system of
 * its own, laid over the machine's (overlayfs in a mount namespace), in which the commands run by chroot.
 *
 * Real: every RUN, COPY, ENV, WORKDIR, USER, ENTRYPOINT, CMD and HEALTHCHECK, .dockerignore, a root that is read-only,
 * no rights, the volume. Not real: the base image is this machine, with what the base has not taken away; the network
 * and the processes are the machine's; there are no layers, no memory limit and no init.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'

export interface Instruction {
  readonly name: string
  readonly value: string
}

/** The instructions, without comments and with continued lines joined. */
export function instructions(dockerfile: string): Instruction[] {
  const text = dockerfile.replace(/^\s*#.*\n/gm, '').replace(/\\\n/g, ' ')
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, name = '', value = ''] = /^\s*([A-Za-z]+)\s+(.*?)\s*$/.exec(line) ?? []
      return { name: name.toUpperCase(), value }
    })
}

/** Whether .dockerignore keeps this path of the context out. The last line that matches decides. */
export function ignoredBy(dockerignore: string): (path: string) => boolean {
  const rules = dockerignore
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => ({ keep: line.startsWith('!'), glob: new Bun.Glob(line.replace(/^!/, '')) }))
  return (path) => {
    // A rule for a folder holds for what is in it.
    const parts = path.split('/').map((_, i, all) => all.slice(0, i + 1).join('/'))
    let ignored = false
    for (const { keep, glob } of rules) if (parts.some((part) => glob.match(part))) ignored = !keep
    return ignored
  }
}

/** Whether this machine lets us have a mount namespace. */
export function canRunStages(): boolean {
  return Bun.spawnSync(['unshare', '--mount', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).exitCode === 0
}

interface Stage {
  /** As seen from outside of the namespace. */
  readonly root: string
  /** As seen inside. */
  readonly inner: string
  readonly env: Record<string, string>
  readonly set: Record<string, string>
  workdir: string
}

export interface Container {
  readonly process: ChildProcess
  readonly output: () => string
}

export class Image {
  readonly #folder: string
  readonly #holder: ChildProcess
  readonly #stages = new Map<string, Stage>()
  #last: Stage | undefined

  private constructor(folder: string, holder: ChildProcess) {
    this.#folder = folder
    this.#holder = holder
  }

  /** Builds the Dockerfile of a folder. Rejects with the output of the command that failed. Close what comes. */
  static async build(context: string): Promise<Image> {
    const folder = mkdtempSync(join(tmpdir(), 'ringdown-image-'))
    // All of it is in memory, and gone with the namespace, which is gone with our end of the pipe.
    const hold = `mount -t tmpfs -o size=3g tmpfs ${folder} && echo held && exec cat >/dev/null`
    const holder = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', hold], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    await new Promise((done) => holder.stdout.once('data', done))
    const image = new Image(folder, holder)
    try {
      const ignored = ignoredBy(readFileSync(join(context, '.dockerignore'), 'utf8'))
      for (const each of instructions(readFileSync(join(context, 'Dockerfile'), 'utf8'))) {
        await image.#do(each, context, ignored)
      }
      return image
    } catch (error) {
      image.close()
      throw error
    }
  }

  /** The files of the last stage, from outside. */
  get root(): string {
    return this.#stage.root
  }

  /** What was said by USER, CMD and the like. */
  get settings(): Readonly<Record<string, string>> {
    return this.#stage.set
  }

  close(): void {
    this.#holder.stdin?.end()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** From now on the root is read-only, with an empty /tmp and a fresh volume that takes over the owner of its folder. */
  mountAsContainer(): void {
    const { inner, set } = this.#stage
    const volume = `${inner}${set.VOLUME}`
    const script =
      `set -e; owner=$(stat -c %u:%g ${volume}); mount -o remount,ro ${inner}; ` +
      `mount -t tmpfs tmpfs ${inner}/tmp; mount -t tmpfs tmpfs ${volume}; chown $owner ${volume}; chmod 700 ${volume}`
    this.#mustRun(['sh', '-c', script])
  }

  /** Starts ENTRYPOINT and CMD as USER, without any right. */
  start(env: Record<string, string>): Container {
    const command = [...words(this.#stage.set.ENTRYPOINT), ...words(this.#stage.set.CMD)]
    const [program = '', ...args] = this.#asUser(command, env)
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text
      })
    }
    return { process: child, output: () => output }
  }

  /** Runs a command in the container to its end, as `docker exec` does. */
  exec(command: string[], env: Record<string, string>): { code: number; output: string } {
    const { exitCode, stdout, stderr } = Bun.spawnSync(this.#asUser(command, env), {
      stdout: 'pipe',
      stderr: 'pipe',
    })
    return { code: exitCode, output: `${stdout}${stderr}` }
  }

  healthCommand(): string[] {
    return words(this.#stage.set.HEALTHCHECK?.replace(/^.*?CMD /, ''))
  }

  get #stage(): Stage {
    if (this.#last === undefined) throw new Error('the Dockerfile has no FROM')
    return this.#last
  }

  async #do(
    { name, value }: Instruction,
    context: string,
    ignored: (path: string) => boolean,
  ): Promise<void> {
    switch (name) {
      case 'FROM':
        return this.#from(value)
      case 'WORKDIR':
        this.#stage.workdir = value
        mkdirSync(join(this.#stage.root, value), { recursive: true })
        return
      case 'ENV':
        for (const [, key = '', plain = ''] of value.matchAll(/(\w+)=(\S+)/g)) this.#stage.env[key] = plain
        return
      case 'COPY':
        return this.#copy(value, context, ignored)
      case 'RUN':
        return this.#run(value)
      case 'ARG':
      case 'LABEL':
      case 'USER':
      case 'VOLUME':
      case 'EXPOSE':
      case 'STOPSIGNAL':
      case 'HEALTHCHECK':
      case 'ENTRYPOINT':
      case 'CMD':
        this.#stage.set[name] = value
        return
      default:
        throw new Error(`${name} is not known here`)
    }
  }

  #from(value: string): void {
    const [base = '', , name = String(this.#stages.size)] = value.split(/\s+/)
    const place = `${this.#folder}/${this.#stages.size}`
    const inner = `${place}/root`
    const mounts =
      `mkdir -p ${place}/upper ${place}/work ${inner}; ` +
      `mount -t overlay overlay -o lowerdir=/,upperdir=${place}/upper,workdir=${place}/work ${inner}; ` +
      `for each in proc dev; do mount --rbind /$each ${inner}/$each; done`
    this.#mustRun(['sh', '-ec', mounts])
    const root = `/proc/${this.#holder.pid}/root${inner}`
    // What differs between this machine and a fresh base, and may be mounted over the file system we see.
    const files = {
      passwd: 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n',
      group: 'root:x:0:\nnogroup:x:65534:\n',
      shadow: 'root:*:::::::\n',
      gshadow: 'root:*::\n',
      'resolv.conf': readFileSync('/etc/resolv.conf', 'utf8'),
      hosts: readFileSync('/etc/hosts', 'utf8'),
    }
    for (const [file, text] of Object.entries(files)) {
      rmSync(join(root, 'etc', file), { force: true })
      writeFileSync(join(root, 'etc', file), text)
    }
    const missing = base.startsWith('node:')
      ? []
      : ['node', 'npm', 'npx', 'bun', 'curl', 'wget', 'nc', 'python3']
    for (const program of missing) {
      for (const bin of ['usr/local/bin', 'usr/bin', 'bin']) rmSync(join(root, bin, program), { force: true })
    }
    const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' }
    this.#last = { root, inner, env, set: {}, workdir: '/' }
    this.#stages.set(name, this.#last)
  }

  #copy(value: string, context: string, ignored: (path: string) => boolean): void {
    const all = value.split(/\s+/)
    const flags = all.filter((word) => word.startsWith('--'))
    const paths = all.filter((word) => !word.startsWith('--'))
    const to = paths.pop() ?? ''
    const from = flags.find((flag) => flag.startsWith('--from='))?.slice('--from='.length)
    if (flags.length !== (from === undefined ? 0 : 1))
      throw new Error(`COPY ${value}: a flag is not known here`)
    const source = from === undefined ? context : this.#stages.get(from)?.root
    if (source === undefined) throw new Error(`COPY --from=${from}: there is no such stage`)
    const stage = this.#stage
    const target = join(stage.root, resolve(stage.workdir, to))
    const intoFolder = to.endsWith('/') || paths.length > 1
    for (const path of paths) {
      const what = join(source, path)
      if (!existsSync(what)) throw new Error(`COPY ${path}: there is no such file`)
      const isFolder = statSync(what).isDirectory()
      const filter = (file: string) => {
        const inContext = file.slice(context.length + 1)
        return from !== undefined || statSync(file).isDirectory() || !ignored(inContext)
      }
      if (!isFolder && !filter(what)) throw new Error(`COPY ${path}: .dockerignore keeps it out`)
      const place = intoFolder && !isFolder ? join(target, basename(path)) : target
      mkdirSync(dirname(place), { recursive: true })
      cpSync(what, place, { recursive: true, filter, verbatimSymlinks: true })
    }
  }

  async #run(command: string): Promise<void> {
    const { inner, workdir, env } = this.#stage
    // How this machine reaches the registry, and what it fetched from there before.
    const npm = Object.entries(process.env).filter(([name]) =>
      /^(npm_config_|https?_proxy|no_proxy|HOME$)/i.test(name),
    )
    const wrapped = this.#inside(['chroot', inner, 'sh', '-c', `cd ${workdir} && ${command}`])
    const child = Bun.spawn(wrapped, {
      env: { ...(Object.fromEntries(npm) as Record<string, string>), ...env },
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
    })
    const [out, err, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ])
    if (code !== 0) throw new Error(`RUN ${command} ended with ${code}:\n${out}${err}`)
  }

  #asUser(command: string[], env: Record<string, string>): string[] {
    const { inner, workdir, set } = this.#stage
    const [user = '', group = user] = (set.USER ?? '0').split(':')
    const rights = ['--clear-groups', '--bounding-set=-all', '--inh-caps=-all', '--no-new-privs']
    const settings = Object.entries({ ...this.#stage.env, ...env }).map(([name, value]) => `${name}=${value}`)
    return this.#inside([
      ...['chroot', inner, 'setpriv', `--reuid=${user}`, `--regid=${group}`, ...rights],
      ...['env', '--ignore-environment', `--chdir=${workdir}`, ...settings, ...command],
    ])
  }

  #inside(command: string[]): string[] {
    return ['nsenter', `--mount=/proc/${this.#holder.pid}/ns/mnt`, ...command]
  }

  #mustRun(command: string[]): void {
    const { exitCode, stderr } = Bun.spawnSync(this.#inside(command), { stderr: 'pipe' })
    if (exitCode !== 0) throw new Error(`${command.join(' ')}: ${stderr}`)
  }
}

/** Exec form, as `["bun", "x.ts"]`. */
function words(value = '[]'): string[] {
  return JSON.parse(value)
}

/** Every file under a folder, relative to it. */
export function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
}
