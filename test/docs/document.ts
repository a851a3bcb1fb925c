/** A committed document of `docs/`, and whether a value is as one of its schemas says. */

import { expect } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Compile, Meta } from 'typebox/schema'

// biome-ignore lint/suspicious/noExplicitAny: tests look into documents of every shape.
export type Json = any

const DRAFT = 'https://json-schema.org/draft/2020-12/schema'
const meta = Compile(Meta[DRAFT] as object)

export class Document {
  readonly json: Json

  constructor(name: string) {
    this.json = JSON.parse(readFileSync(join(import.meta.dir, '../../docs', name), 'utf8'))
  }

  /** What a reference such as `#/components/schemas/Session` points at; anything else is itself. */
  resolve(value: Json): Json {
    if (typeof value?.$ref !== 'string') return value
    const steps: string[] = value.$ref.split('/').slice(1)
    const found = steps.reduce((at: Json, step) => at?.[step.replaceAll('~1', '/')], this.json)
    if (found === undefined) throw new Error(`${value.$ref} points at nothing`)
    return this.resolve(found)
  }

  accepts(schema: Json, value: unknown): boolean {
    return Compile(this.#whole(schema)).Check(value)
  }

  /** Fails with what is wrong. A field that the schema does not name is wrong too. */
  expectFits(schema: Json, value: unknown): void {
    const [fits, errors] = Compile(closed(this.#whole(schema)) as object).Errors(value)
    expect(fits, `${JSON.stringify(value)}\n${JSON.stringify(errors)}`).toBe(true)
  }

  /** Every reference in it. */
  get references(): string[] {
    return [...JSON.stringify(this.json).matchAll(/"\$ref":"([^"]+)"/g)].map(([, to]) => to ?? '')
  }

  #whole(schema: Json): object {
    return { ...schema, components: this.json.components }
  }
}

/** Fails unless this is a schema of the draft that OpenAPI 3.1 takes. */
export function expectSchema(schema: Json): void {
  const [fits, errors] = meta.Errors(schema)
  expect(fits, `${JSON.stringify(schema)}\n${JSON.stringify(errors)}`).toBe(true)
}

/** The same schema, with no fields but those it names. */
function closed(schema: Json): Json {
  if (Array.isArray(schema)) return schema.map(closed)
  if (typeof schema !== 'object' || schema === null) return schema
  const parts = Object.fromEntries(Object.entries(schema).map(([key, part]) => [key, closed(part)]))
  const open = schema.type === 'object' && schema.properties !== undefined && !schema.additionalProperties
  return open ? { ...parts, additionalProperties: false } : parts
}
