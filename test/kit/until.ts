/** Resolves once the condition holds. Looks every few milliseconds; fails when it takes longer than a deadline. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  deadline = 20_000,
): Promise<void> {
  const start = performance.now()
  while (!(await condition())) {
    if (performance.now() - start > deadline) throw new Error(`waited ${deadline} ms for ${what}`)
    await Bun.sleep(5)
  }
}
