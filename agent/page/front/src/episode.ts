// One recording: pictures, controls, the network's opinion, and spans that are marked as bad.

import { ask, tell } from "./ask";
import { type Lines, drawLines } from "./lines";
import type { Entry } from "./shelf";

interface Numbers {
  axes: string[];
  time_s: number[];
  label: Record<string, number[]>;
  intervention: number[];
  bad: [number, number][];
}

interface Opinion {
  outputs: string[];
  rows: number;
  values: number[][];
  done: boolean;
  problem: string;
}

const COLOURS: Record<string, string> = { steering: "--steering", throttle: "--throttle", brake: "--brake" };

function element<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

export class EpisodeView {
  private entry: Entry | null = null;
  private numbers: Numbers | null = null;
  private charts: { axis: string; lines: Lines; label: number[]; opinion: (number | null)[] }[] = [];
  private opinion: (number | null)[][] = [];
  private outputs: string[] = [];
  private row = 0;
  private from: number | null = null;
  private playing = 0;
  private busy = false;

  constructor(
    private readonly say: (text: string) => void,
    private readonly changed: () => void,
  ) {
    element<HTMLInputElement>("scrub").oninput = (event) => this.go(Number((event.target as HTMLInputElement).value));
    element("play").onclick = () => this.toggle();
    element("from").onclick = () => {
      this.from = this.row;
      element<HTMLButtonElement>("to").disabled = false;
      this.say(`bad from row ${this.row}: now go to its end`);
    };
    element("to").onclick = () => void this.mark();
    element("part").onclick = () => this.jump();
    element("delete").onclick = () => void this.remove();
    document.addEventListener("keydown", (event) => this.key(event));
  }

  async open(entry: Entry, opinion: boolean): Promise<void> {
    this.stop();
    this.entry = entry;
    this.numbers = await ask<Numbers>("numbers", { episode: entry.key });
    element("episode").hidden = false;
    element("name").textContent = entry.key;
    element<HTMLInputElement>("scrub").max = `${this.rows - 1}`;
    this.from = null;
    this.opinion = [];
    this.outputs = [];
    this.makeCharts();
    this.showSpans();
    this.go(0);
    element("episode").scrollIntoView({ block: "start" });
    if (opinion) void this.listen(entry.key);
  }

  private get rows(): number {
    return this.numbers?.time_s.length ?? 0;
  }

  private makeCharts(): void {
    const { numbers } = this;
    if (!numbers) return;
    const place = element("curves");
    place.replaceChildren();
    this.charts = numbers.axes.map((axis) => {
      const label = numbers.label[axis] ?? [];
      const opinion: (number | null)[] = label.map(() => null);
      const colour = COLOURS[axis] ?? "--other";
      const both = [
        { label: axis, colour, values: label },
        { label: "network", colour: "--ink", dash: [3, 3], values: opinion },
      ];
      const range: [number, number] = [axis === "steering" ? -1.05 : -0.05, 1.05];
      const lines = drawLines(place, axis, numbers.time_s, both, range, () => numbers.bad, (row) => this.go(row));
      return { axis, lines, label, opinion };
    });
    const bars = element("bars");
    bars.replaceChildren(
      ...numbers.axes.map((axis) => {
        const line = document.createElement("div");
        const name = document.createElement("span");
        const bar = document.createElement("meter");
        const value = document.createElement("span");
        name.textContent = axis;
        bar.min = axis === "steering" ? -1 : 0;
        bar.max = 1;
        bar.setAttribute("aria-label", axis);
        line.append(name, bar, value);
        return line;
      }),
    );
  }

  private async listen(key: string): Promise<void> {
    const place = element("opinion");
    while (this.entry?.key === key) {
      let heard: Opinion;
      try {
        heard = await ask<Opinion>("opinion", { episode: key, since: this.opinion.length });
      } catch (problem) {
        place.textContent = (problem as Error).message;
        return;
      }
      if (this.entry?.key !== key) return;
      this.outputs = heard.outputs;
      this.opinion.push(...heard.values);
      for (const chart of this.charts) {
        const column = heard.outputs.indexOf(chart.axis);
        if (column < 0) continue;
        this.opinion.forEach((values, row) => (chart.opinion[row] = values[column] ?? null));
        chart.lines.plot.setData([this.numbers?.time_s ?? [], chart.label, chart.opinion]);
      }
      place.textContent = heard.problem || (heard.done ? "" : `${this.opinion.length} of ${heard.rows} rows`);
      if (heard.done || heard.problem) return;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }

  private go(row: number): void {
    const { numbers, entry } = this;
    if (!numbers || !entry) return;
    this.row = Math.max(0, Math.min(this.rows - 1, row));
    element<HTMLInputElement>("scrub").value = `${this.row}`;
    const controls = numbers.axes.map((axis) => numbers.label[axis]?.[this.row] ?? 0);
    controls.forEach((value, place) => {
      const line = element("bars").children[place];
      const bar = line?.querySelector("meter");
      if (bar) bar.value = value;
      if (line?.lastElementChild) line.lastElementChild.textContent = value.toFixed(2);
    });
    const time = numbers.time_s[this.row] ?? 0;
    const person = numbers.intervention[this.row] ? ", a person drives" : "";
    const bad = numbers.bad.some(([first, last]) => first <= this.row && this.row <= last) ? ", marked as bad" : "";
    element("row").textContent = `row ${this.row} of ${this.rows}, ${time.toFixed(2)} s${person}${bad}`;
    for (const chart of this.charts) chart.lines.setCursor(time);
    void this.draw();
  }

  /** Draw the picture of the row, and the controls on it. */
  private async draw(): Promise<void> {
    if (this.busy || !this.entry || !this.numbers) return;
    this.busy = true;
    let drawn = -1;
    while (drawn !== this.row && this.entry) {
      drawn = this.row;
      const address = `picture?${new URLSearchParams({ episode: this.entry.key, row: `${drawn}`, width: "960" })}`;
      const answer = await fetch(address);
      if (!answer.ok) {
        this.say(((await answer.json()) as { problem: string }).problem);
        continue;
      }
      const bitmap = await createImageBitmap(await answer.blob());
      const canvas = element<HTMLCanvasElement>("picture");
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      const context = canvas.getContext("2d");
      if (!context) break;
      context.drawImage(bitmap, 0, 0);
      this.drawControls(context, drawn);
      canvas.dataset["row"] = `${drawn}`;
    }
    this.busy = false;
  }

  private drawControls(context: CanvasRenderingContext2D, row: number): void {
    const { width, height } = context.canvas;
    const steering = (values: number | null | undefined) => (values ?? 0) * 0.45 * width;
    const bar = (from: number, to: number, top: number, thick: number, colour: string) => {
      context.fillStyle = colour;
      context.fillRect(Math.min(from, to), top, Math.max(2, Math.abs(to - from)), thick);
    };
    const thick = Math.max(3, height / 50);
    bar(0, width, height - 3 * thick, 3 * thick, "rgb(0 0 0 / .55)");
    const label = this.numbers?.label["steering"]?.[row];
    bar(width / 2, width / 2 + steering(label), height - 2.6 * thick, thick, "#6db3ea");
    const column = this.outputs.indexOf("steering");
    const opinion = column < 0 ? null : this.opinion[row]?.[column];
    if (opinion !== null && opinion !== undefined) {
      bar(width / 2, width / 2 + steering(opinion), height - 1.3 * thick, thick, "#ffffff");
    }
  }

  private toggle(): void {
    if (this.playing) return this.stop();
    const started = performance.now();
    const first = this.row >= this.rows - 1 ? 0 : this.row;
    const begin = this.numbers?.time_s[first] ?? 0;
    element("play").textContent = "Stop";
    element("play").setAttribute("aria-pressed", "true");
    this.playing = window.setInterval(() => {
      const speed = Number(element<HTMLSelectElement>("speed").value);
      const now = begin + ((performance.now() - started) / 1e3) * speed;
      const times = this.numbers?.time_s ?? [];
      let row = this.row < first ? first : this.row;
      while (row < times.length - 1 && (times[row + 1] ?? 0) <= now) row += 1;
      this.go(row);
      if (row >= times.length - 1) this.stop();
    }, 40);
  }

  private stop(): void {
    clearInterval(this.playing);
    this.playing = 0;
    element("play").textContent = "Play";
    element("play").setAttribute("aria-pressed", "false");
  }

  /** Go to where label and opinion are furthest apart. */
  private jump(): void {
    let best = -1;
    let most = -1;
    this.opinion.forEach((values, row) => {
      let apart = 0;
      this.outputs.forEach((axis, column) => {
        apart += Math.abs((values[column] ?? 0) - (this.numbers?.label[axis]?.[row] ?? 0));
      });
      if (apart > most) [best, most] = [row, apart];
    });
    if (best < 0) return this.say("the network has no opinion yet");
    this.go(best);
    this.say(`furthest apart in row ${best}: ${most.toFixed(2)} over all controls`);
  }

  private async mark(): Promise<void> {
    if (this.from === null || !this.numbers) return;
    const span: [number, number] = [Math.min(this.from, this.row), Math.max(this.from, this.row)];
    this.from = null;
    element<HTMLButtonElement>("to").disabled = true;
    await this.store([...this.numbers.bad, span]);
  }

  private async store(bad: [number, number][]): Promise<void> {
    if (!this.entry || !this.numbers) return;
    try {
      this.numbers.bad = await tell<[number, number][]>("mark", { episode: this.entry.key, bad });
    } catch (problem) {
      return this.say((problem as Error).message);
    }
    this.showSpans();
    this.go(this.row);
    this.say(bad.length ? "marked: training leaves these rows out" : "nothing is marked any more");
    this.changed();
  }

  private showSpans(): void {
    const { numbers } = this;
    if (!numbers) return;
    element("spans").replaceChildren(
      ...numbers.bad.map(([first, last], place) => {
        const item = document.createElement("li");
        const button = document.createElement("button");
        button.textContent = `rows ${first} to ${last} are bad ✕`;
        button.setAttribute("aria-label", `rows ${first} to ${last} are marked as bad; press to unmark them`);
        button.onclick = () => void this.store(numbers.bad.filter((_, other) => other !== place));
        item.append(button);
        return item;
      }),
    );
  }

  private async remove(): Promise<void> {
    if (!this.entry) return;
    try {
      await tell("delete", { episode: this.entry.key });
      this.say(`${this.entry.key} is deleted; its card brings it back`);
      this.entry = null;
      element("episode").hidden = true;
      this.changed();
    } catch (problem) {
      this.say((problem as Error).message);
    }
  }

  private key(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    if (!this.entry || event.ctrlKey || event.metaKey || event.altKey || target.matches("select, input")) return;
    if (target.matches("button") && event.key === " ") return;
    const second = Math.round(this.entry.rate_hz ?? 25);
    const steps: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, PageUp: -second, PageDown: second };
    if (event.key === " ") this.toggle();
    else if (event.key in steps) this.go(this.row + (steps[event.key] ?? 0));
    else if (event.key === "Home") this.go(0);
    else if (event.key === "End") this.go(this.rows - 1);
    else return;
    event.preventDefault();
  }
}
