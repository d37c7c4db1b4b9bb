// What trainings were fed, what is in their buffers, and how their stages drive.

import { ask } from "./ask";
import { type Line, drawLines } from "./lines";

interface Histogram {
  low: number;
  high: number;
  counts: number[];
}

export interface Details {
  fed: { step: number; outputs: Record<string, Histogram> } | null;
  buffers: (Record<string, number | string> & { levels: Record<string, number>; age_s: number }) | null;
  clips: string[];
}

const OLD_S = 10;

let playing = false;
let drawnFed = "";
let drawnClips = "";

function place(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

function text(tag: string, content: string, className = ""): HTMLElement {
  const made = document.createElement(tag);
  made.textContent = content;
  made.className = className;
  return made;
}

/** Show what is known of some runs. */
export async function showDetails(
  keys: string[],
  colourOf: (key: string) => string,
  say: (text: string) => void,
): Promise<void> {
  const all = new Map<string, Details>();
  for (const key of keys) {
    try {
      all.set(key, await ask<Details>("run", { run: key }));
    } catch (problem) {
      say((problem as Error).message);
    }
  }
  showFed(all, colourOf);
  showBuffers(all);
  showClips(all);
}

/** A curve for each run: the share of the samples in each bucket of a label. */
function showFed(all: Map<string, Details>, colourOf: (key: string) => string): void {
  const state = JSON.stringify([...all].map(([key, { fed }]) => [key, fed?.step]));
  if (state === drawnFed) return;
  drawnFed = state;
  const section = place("fed");
  const curves = section.querySelector("div")!;
  curves.replaceChildren();
  const names = new Set([...all.values()].flatMap(({ fed }) => Object.keys(fed?.outputs ?? {})));
  section.hidden = names.size === 0;
  for (const name of names) {
    const own = [...all].flatMap(([key, { fed }]) => (fed?.outputs[name] ? [{ key, ...fed.outputs[name] }] : []));
    const centre = ({ low, high, counts }: Histogram, bucket: number) => low + ((bucket + 0.5) * (high - low)) / counts.length;
    const labels = [...new Set(own.flatMap((each) => each.counts.map((_, bucket) => centre(each, bucket))))].sort((a, b) => a - b);
    const lines: Line[] = own.map((each) => {
      const total = each.counts.reduce((sum, count) => sum + count, 0) || 1;
      const at = new Map(each.counts.map((count, bucket) => [centre(each, bucket), (100 * count) / total]));
      return { label: each.key, colour: colourOf(each.key), values: labels.map((label) => at.get(label) ?? null) };
    });
    drawLines(curves, `${name}: % of the samples, by label`, labels, lines, null, () => [], () => undefined);
  }
}

function showBuffers(all: Map<string, Details>): void {
  const section = place("buffers");
  const list = section.querySelector("div")!;
  const live = [...all].filter(([, { buffers }]) => buffers);
  section.hidden = !live.length;
  list.replaceChildren(
    ...live.map(([key, { buffers }]) => {
      const box = text("div", "", "bars");
      if (!buffers) return box;
      const { levels, age_s, capacity } = buffers;
      const number = (name: string, digits = 0) => Number(buffers[name] ?? 0).toFixed(digits);
      const state = age_s > OLD_S ? `not running, last heard of ${age_s.toFixed(0)} s ago` : `${buffers["state"]}`;
      box.append(
        text("strong", `${key}: ${state}`),
        text("p", `round ${number("round")}, ${number("arrived")} samples arrived, ${number("held_out")} held out, ` +
          `${number("corrections")} corrections, each fed ${number("passes", 1)} times; ` +
          `${number("samples_per_second")} samples/s, ${(100 * Number(buffers["processor_share"] ?? 0)).toFixed(0)} % of a core`, "small"),
      );
      for (const [name, level] of Object.entries(levels)) {
        const line = text("div", "");
        const meter = document.createElement("meter");
        meter.max = Number(capacity ?? level) || 1;
        meter.value = level;
        meter.setAttribute("aria-label", `samples in the buffer of ${name}, ${key}`);
        line.append(text("span", name), meter, text("span", `${level}`));
        box.append(line);
      }
      return box;
    }),
  );
}

/** The stages' clips side by side: at rest until they are played. */
function showClips(all: Map<string, Details>): void {
  const state = JSON.stringify([...all].map(([key, { clips }]) => [key, clips]));
  if (state === drawnClips) return;
  drawnClips = state;
  const section = place("clips");
  const clips = [...all].flatMap(([key, details]) => details.clips.map((clip) => ({ key, clip })));
  section.hidden = !clips.length;
  section.querySelector("ul")!.replaceChildren(
    ...clips.map(({ key, clip }) => {
      const item = document.createElement("li");
      const picture = document.createElement("img");
      const step = clip.replace(/\.\w+$/, "");
      const caption = `${key}, ${/^\d+$/.test(step) ? `step ${Number(step)}` : step}`;
      picture.alt = `A drive of ${caption}`;
      picture.dataset["still"] = `clip?${new URLSearchParams({ run: key, clip, still: "1" })}`;
      picture.dataset["film"] = `clip?${new URLSearchParams({ run: key, clip })}`;
      item.append(picture, text("span", caption, "small"));
      return item;
    }),
  );
  const button = place("play-clips");
  button.onclick = () => play(!playing);
  play(playing);
}

function play(wanted: boolean): void {
  playing = wanted;
  for (const picture of document.querySelectorAll<HTMLImageElement>("#clips img")) {
    picture.src = picture.dataset[wanted ? "film" : "still"] ?? "";
  }
  const button = place("play-clips");
  button.textContent = wanted ? "Stop the clips" : "Play the clips";
  button.setAttribute("aria-pressed", String(wanted));
}
