// The picture for a stream: no buttons, everything at once, readable at a low bitrate.

import { Chart, controlCurves } from "./charts";
import { Connection } from "./connection";
import { History } from "./history";
import { Instruments, consoleLines } from "./instruments";
import type { Facts, Message, PictureKind } from "./protocol";
import { View } from "./view";

const SHOWN = ["FPS", "PPS", "age of the picture", "missed deadlines"];

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/** How old weights are, in the largest unit. */
function ageOf(madeS: number): string {
  const seconds = Date.now() / 1e3 - madeS;
  const units: [number, string][] = [[86_400, "day"], [3600, "hour"], [60, "minute"]];
  for (const [length, name] of units) {
    const count = Math.floor(seconds / length);
    if (count >= 1) return `${count} ${name}${count === 1 ? "" : "s"} old`;
  }
  return "just made";
}

class Stream {
  private facts: Facts | null = null;
  private history: History | null = null;
  private instruments: Instruments | null = null;
  private chart: Chart | null = null;
  private page = 0;
  private readonly views = new Map<PictureKind, View>();
  private readonly connection: Connection;

  constructor() {
    for (const kind of ["game", "input", "maps"] as const) {
      const canvas = element(kind) as HTMLCanvasElement;
      const label = canvas.getAttribute("aria-label") ?? kind;
      this.views.set(kind, new View(canvas, () => label));
    }
    this.connection = new Connection({
      opened: () => undefined,
      closed: () => this.say("no connection"),
      message: (message) => this.hear(message),
      picture: (picture) => this.views.get(picture.kind)?.show(picture),
    });
    setInterval(() => this.draw(), 100);
  }

  private hear(message: Message): void {
    if (message.type === "hello") {
      this.wish(Boolean(message.insight));
      if (message.page !== this.page) this.begin(message.facts);
      this.page = message.page;
    } else if (message.type === "ticks") {
      this.history?.add(message.rows);
      this.say("");
    } else if (message.type === "notes") {
      for (const note of message.notes) {
        if (note.kind === "end") this.say("the drive has ended");
        if (note.kind === "weights") {
          if (note["name"]) this.nameModel(String(note["name"]), String(note["engine"]), Number(note["made_s"]));
          if (note["folder"]) this.wish(true);
        }
      }
    }
  }

  private begin(facts: Facts): void {
    this.facts = facts;
    this.history = new History(facts);
    this.instruments = new Instruments(element("instruments"), facts);
    element("title").textContent = facts.title;
    this.nameModel(facts.model, facts.engine, facts.made_s);
    const place = element("charts");
    place.replaceChildren();
    const curves = facts.axes.flatMap((axis) => controlCurves(axis));
    this.chart = new Chart(place, curves, [-1.05, 1.05], place.clientHeight, () => this.history, () => undefined, false);
  }

  private wish(maps: boolean): void {
    element("convcam").classList.toggle("off", !maps);
    this.connection.send({ wants: maps ? ["game", "input", "maps"] : ["game", "input"] });
  }

  private nameModel(model: string, engine: string, madeS: number): void {
    const age = madeS ? `, ${ageOf(madeS)}` : "";
    element("model").textContent = [`${model}${age}`, engine, `${this.facts?.rate_hz} Hz`].filter(Boolean).join(" · ");
  }

  private draw(): void {
    const { facts, history } = this;
    const row = history?.newest;
    if (!facts || !history || !row) return;
    this.instruments?.show(history, row);
    const names = new Set([...SHOWN, ...facts.axes]);
    const lines = consoleLines(facts, history, row).filter(({ name }) => names.has(name));
    element("console").replaceChildren(
      ...lines.map(({ name, value }) => {
        const line = document.createElement("div");
        const term = document.createElement("dt");
        const text = document.createElement("dd");
        term.textContent = name === "age of the picture" ? "age" : name === "missed deadlines" ? "missed" : name;
        text.textContent = value;
        line.append(term, text);
        return line;
      }),
    );
    this.chart?.show(history, null);
  }

  private say(text: string): void {
    element("state").textContent = text;
  }
}

new Stream();
