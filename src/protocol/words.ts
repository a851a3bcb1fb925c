/** What a schema takes, in words, for the sentence that tells a peer what was wrong. Never says what was sent. */

/** What is read of a JSON Schema here. */
export interface Form {
  readonly type?: string
  readonly anyOf?: readonly Form[]
  readonly const?: unknown
  readonly pattern?: string
  readonly description?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
}

/** The part of a schema at a path such as `#/properties/sdp`; for a branch of a union, the union with all of them. */
export function schemaAt(schema: Form, path: string): Form {
  const steps = path.replace(/\/anyOf\/\d+$/, '').split('/')
  return steps.slice(1).reduce<Form>((at, name) => (at as Record<string, Form>)[name] ?? {}, schema)
}

/** Completes "it must be …". A pattern means nothing to a reader: its `description` says what it stands for. */
export function takes(form: Form): string {
  if (form.anyOf !== undefined) return form.anyOf.map(takes).join(' or ')
  if (form.const !== undefined) return JSON.stringify(form.const)
  switch (form.type) {
    case 'string':
      if (form.pattern !== undefined) return `a string of ${form.description ?? 'another form'}`
      if (form.minLength === 1 && form.maxLength === undefined) return 'a string that is not empty'
      return words('a string', range('of', form.minLength, form.maxLength), 'characters')
    case 'integer':
      return words('an integer', range('from', form.minimum, form.maximum))
    case 'number':
      return words('a number', range('from', form.minimum, form.maximum))
    case 'object':
    case 'array':
      return `an ${form.type}`
    case 'null':
      return 'null'
    default:
      return `a ${form.type ?? 'different value'}`
  }
}

function range(between: string, least: number | undefined, most: number | undefined): string {
  if (least !== undefined && most !== undefined) return `${between} ${least} to ${most}`
  if (least !== undefined) return `of at least ${least}`
  return most === undefined ? '' : `of at most ${most}`
}

function words(noun: string, bounds: string, unit = ''): string {
  return bounds === '' ? noun : `${noun} ${bounds} ${unit}`.trimEnd()
}
