/** Where a command writes, and what it knows of the machine. */
export interface Terminal {
  out(text: string): void
  err(text: string): void
  readonly env: Readonly<Record<string, string | undefined>>
}

/** A command that cannot be carried out. One line for the operator. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
}
