/** Schemas as other tools like to read them. */

/** Plain JSON Schema of the same meaning: unions of constants as `enum`, maps as `additionalProperties`. */
export function plain(schema: unknown): Json {
  return tidy(JSON.parse(JSON.stringify(schema)) as Json)
}

export type Json = { [key: string]: unknown }

function tidy(value: unknown): Json
function tidy(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(tidy)
  if (typeof value !== 'object' || value === null) return value
  const { anyOf, patternProperties, ...rest } = Object.fromEntries(
    Object.entries(value).map(([key, part]) => [key, tidy(part)]),
  ) as { anyOf?: Json[]; patternProperties?: Json } & Json
  if (anyOf?.every((branch) => typeof branch.const === 'string')) {
    return { type: 'string', enum: anyOf.map((branch) => branch.const), ...rest }
  }
  const map = patternProperties?.['^.*$']
  return {
    ...rest,
    ...(anyOf === undefined ? {} : { anyOf }),
    ...(patternProperties === undefined ? {} : map === undefined ? { patternProperties } : everyKey(map)),
  }
}

/** `{}` lets everything pass, and so does a schema that says nothing. */
function everyKey(schema: unknown): Json {
  return { additionalProperties: JSON.stringify(schema) === '{}' ? true : schema }
}
