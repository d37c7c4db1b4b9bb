// Trainings: their logs, laid over each other.

import { ask } from "./ask";
import { showDetails } from "./details";
import { type Line, drawLines } from "./lines";

export interface Run {
  key: string;
  settings: Record<string, unknown>;
}

type Log = Record<string, (number | null)[]>;

const COLOURS = ["#1f77b4", "#d95f02", "#1b9e77", "#e7298a", "#7570b3", "#a6761d", "#66a61e", "#666666"];
const FIRST = ["loss", "validation_loss", "return", "learning_rate", "samples_per_second"];
const LEFT_OUT = new Set(["step", "samples", "seconds", "training_seconds", "seconds_per_step", "score"]);
const PERIOD_MS = 5000;

const shown = new Set<string>();
let known: string[] = [];
let drawn = "";

/** Settings of a run in words: those that all runs have alike tell nothing, unless there is only one run. */
function describe(run: Run, runs: Run[]): string {
  const telling = Object.entries(run.settings).filter(
    ([name, value]) => runs.length === 1 || runs.some((other) => other.settings[name] !== value),
  );
  return telling.map(([name, value]) => `${name.replace(/_px$/, "").replaceAll("_", " ")} ${value}`).join(", ");
}

function colourOf(key: string): string {
  return COLOURS[known.indexOf(key) % COLOURS.length] ?? "";
}

export async function showRuns(runs: Run[], say: (text: string) => void): Promise<void> {
  const section = document.getElementById("trainings");
  const choices = document.getElementById("runs");
  if (!section || !choices || !runs.length) return;
  const keys = runs.map(({ key }) => key);
  section.hidden = false;
  const first = known.length === 0;
  for (const key of keys) if (!known.includes(key) && (first ? keys.indexOf(key) < COLOURS.length : true)) shown.add(key);
  known = keys;
  choices.replaceChildren(
    choices.querySelector("legend") ?? "",
    ...runs.map((run, place) => {
      const { key } = run;
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = shown.has(key);
      box.onchange = () => {
        if (box.checked) shown.add(key);
        else shown.delete(key);
        void draw(say);
      };
      const name = document.createElement("span");
      name.className = "key";
      name.style.setProperty("--key", COLOURS[place % COLOURS.length] ?? "");
      name.textContent = key;
      const settings = document.createElement("span");
      settings.className = "small";
      settings.textContent = describe(run, runs);
      label.append(box, name, " ", settings);
      return label;
    }),
  );
  await draw(say);
  if (first) setInterval(() => void (document.hidden ? undefined : draw(say)), PERIOD_MS);
}

async function draw(say: (text: string) => void): Promise<void> {
  const logs = new Map<string, Log>();
  for (const key of known.filter((each) => shown.has(each))) {
    try {
      logs.set(key, await ask<Log>("log", { run: key }));
    } catch (problem) {
      say((problem as Error).message);
    }
  }
  await showDetails([...logs.keys()], colourOf, say);
  const state = JSON.stringify([...logs].map(([key, log]) => [key, log["step"]?.length, log["step"]?.slice(-1)]));
  if (state === drawn) return;
  drawn = state;
  const place = document.getElementById("logs");
  if (!place) return;
  place.replaceChildren();
  const names = new Set([...logs.values()].flatMap((log) => Object.keys(log)));
  const ordered = [...FIRST, ...[...names].filter((name) => !FIRST.includes(name)).sort()];
  const steps = [...new Set([...logs.values()].flatMap((log) => log["step"] ?? []))]
    .filter((step): step is number => step !== null)
    .sort((a, b) => a - b);
  for (const name of ordered.filter((each) => names.has(each) && !LEFT_OUT.has(each))) {
    const lines: Line[] = [...logs].map(([key, log]) => {
      const at = new Map((log["step"] ?? []).map((step, round) => [step, log[name]?.[round] ?? null]));
      return {
        label: key,
        colour: colourOf(key),
        values: steps.map((step) => at.get(step) ?? null),
      };
    });
    if (lines.some((line) => line.values.some((value) => value !== null))) {
      drawLines(place, `${name.replaceAll("_", " ")}, over steps`, steps, lines, null, () => [], () => undefined);
    }
  }
  if (!place.children.length) place.textContent = "no round has ended yet";
}
