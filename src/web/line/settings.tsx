/** Headphones, devices, and how much sound goes over the line. */

import { Headphones } from './icons.tsx'
import type { Profile } from './messages.ts'
import { words } from './text.ts'
import type { Device, Line, View } from './view.ts'

export interface SettingsProps {
  readonly line: Line
  readonly view: View
}

export function HeadphonesSwitch({ line, view: { headphones } }: SettingsProps) {
  return (
    <button
      type="button"
      class="switch"
      role="switch"
      aria-checked={headphones}
      aria-labelledby="headphones-name"
      aria-describedby="headphones-why"
      onClick={() => line.useHeadphones(!headphones)}
    >
      <Headphones />
      <span class="what">
        <span id="headphones-name">{words.headphones.name}</span>
        <span id="headphones-why" class="hint">
          {headphones ? words.headphones.on : words.headphones.off}
        </span>
      </span>
      <span class="knob" />
    </button>
  )
}

export function Settings({ line, view }: SettingsProps) {
  return (
    <details class="more">
      <summary>{words.settings.title}</summary>
      <div class="choices">
        {view.inputs.length > 0 && (
          <Choice
            name={words.settings.input}
            devices={view.inputs}
            chosen={view.input}
            onChoose={(id) => line.chooseInput(id)}
          />
        )}
        {view.outputs.length > 0 && (
          <Choice
            name={words.settings.output}
            devices={view.outputs}
            chosen={view.output}
            onChoose={(id) => line.chooseOutput(id)}
          />
        )}
        <label class="field">
          {words.settings.profile}
          <select
            value={view.profile}
            onChange={(event) => {
              const { value } = event.currentTarget
              if (isProfile(value)) line.useProfile(value)
            }}
          >
            {Object.entries(words.settings.profiles).map(([name, says]) => (
              <option key={name} value={name}>
                {says}
              </option>
            ))}
          </select>
        </label>
        <p class="hint">{view.awake ? words.settings.awake : words.settings.asleep}</p>
      </div>
    </details>
  )
}

function isProfile(name: string): name is Profile['name'] {
  return name in words.settings.profiles
}

interface ChoiceProps {
  readonly name: string
  readonly devices: readonly Device[]
  readonly chosen: string | null
  readonly onChoose: (id: string) => void
}

function Choice({ name, devices, chosen, onChoose }: ChoiceProps) {
  return (
    <label class="field">
      {name}
      <select value={chosen ?? ''} onChange={(event) => onChoose(event.currentTarget.value)}>
        {!devices.some(({ id }) => id === chosen) && <option value="">{words.settings.byDefault}</option>}
        {devices.map((device, at) => (
          <option key={device.id} value={device.id} dir="auto">
            {device.name || words.settings.unnamed(at + 1)}
          </option>
        ))}
      </select>
    </label>
  )
}
