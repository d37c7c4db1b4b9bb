// The live page. agent/page/live.py sends it the messages of protocol.ts; agent/page/records.py has what a drive writes.

import { Chart, controlCurves, latencyCurves } from "./charts";
import { Connection } from "./connection";
import { Events } from "./events";
import { History } from "./history";
import { Instruments, consoleLines } from "./instruments";
import { OcclusionPanel } from "./occlusion";
import type { Facts, Message, Note, Picture, PictureKind } from "./protocol";
import { View } from "./view";

function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as T;
}

class App {
  private facts: Facts | null = null;
  private history: History | null = null;
  private instruments: Instruments | null = null;
  private charts: Chart[] = [];
  private page = 0;
  private noted = 0;
  private pausedAt: number | null = null;
  private state = "connecting";
  private readonly events = new Events(element("events"));
  private readonly views: Record<Exclude<PictureKind, "occlusion">, View>;
  private readonly occlusion: OcclusionPanel;
  private readonly connection: Connection;
  private drawn = "";

  constructor() {
    const view = (kind: PictureKind, text: string) =>
      new View(element<HTMLCanvasElement>(kind), (picture) => `${text}, tick ${picture.stamp}`);
    this.views = {
      game: view("game", "The game's picture"),
      input: view("input", "What the network gets"),
      evidence: view("evidence", "Where the network sees evidence"),
      maps: view("maps", "Maps of a layer"),
    };
    this.occlusion = new OcclusionPanel({ at: () => this.pausedAt, send: (message) => this.connection.send(message) });
    this.listen();
    this.connection = new Connection({
      opened: () => this.setState("connected"),
      closed: () => {
        this.setState(this.state === "ended" ? "ended" : "lost");
        this.occlusion.stop();
      },
      message: (message) => this.hear(message),
      picture: (picture) => this.look(picture),
    });
    setInterval(() => this.draw(), 100);
  }

  private hear(message: Message): void {
    switch (message.type) {
      case "hello":
        this.begin(message.facts, message.page);
        element("insight").hidden = !message.insight;
        break;
      case "ticks":
        this.history?.add(message.rows);
        if (this.history) this.events.watch(this.history, message.rows);
        if (this.state !== "ended") this.setState("driving"); // the last ticks may come after the end was told
        break;
      case "notes":
        for (const note of this.unheard(message.newest, message.notes)) {
          this.events.note(note);
          if (note.kind === "end") this.setState("ended");
          if (note.kind === "kept") this.say(String(note["text"]));
          if (note.kind === "weights") this.takeWeights(String(note["name"]), String(note["engine"]), Boolean(note["folder"]));
          if (note.kind === "hotkey") this.nameHotkey(String(note["key"]));
        }
        break;
      case "layers":
        this.offer("layer", [["the last two", ""], ...message.names.map((name): [string, string] => [name, name])]);
        element("weights").textContent = `as ${message.weights} sees it`;
        break;
      case "insight":
        this.say(message.problem);
        element("weights").textContent = message.problem;
        this.views.evidence.clear(); // of other weights, or of another layer
        this.views.maps.clear();
        break;
      case "occlusion":
        this.occlusion.hear(message);
        break;
      case "kept":
        this.say(message.text);
        this.events.add(message.text, message.failed ? "blind" : "kept");
        break;
    }
  }

  /** The notes that were not heard before: after the connection was lost, all are sent again. */
  private unheard(newest: number, notes: Note[]): Note[] {
    const count = Math.min(notes.length, Math.max(0, newest - this.noted));
    this.noted = newest;
    return notes.slice(notes.length - count);
  }

  private begin(facts: Facts, page: number): void {
    this.wish();
    if (page === this.page) return; // the same drive, seen again
    this.page = page;
    this.noted = 0;
    this.events.begin();
    this.facts = facts;
    this.history = new History(facts);
    this.pausedAt = null;
    this.nameHotkey("");
    this.instruments = new Instruments(element("instruments"), facts);
    document.title = `${facts.title} – Hoodcam`;
    element("title").textContent = facts.title;
    this.nameModel(facts.model, facts.engine);
    element("weights").textContent = "";
    const [height, width, channels] = facts.observation_shape;
    const several = channels > 3 ? `, ${channels / 3} pictures, the newest on the right` : "";
    element("input-size").textContent = `${width} × ${height} px${several}`;
    this.offer("output", facts.outputs.map((name): [string, string] => [name, name]));
    this.offer("occluded", facts.outputs.map((name): [string, string] => [name, name]));
    this.offer("layer", [["the last two", ""]]);
    this.occlusion.update();
    this.makeCharts(facts);
  }

  private nameModel(model: string, engine: string): void {
    element("model").textContent = `${model}${engine && ` on ${engine}`}, ${this.facts?.rate_hz} Hz`;
  }

  /** Other weights drive now. */
  private takeWeights(name: string, engine: string, canBeShown: boolean): void {
    if (name) this.nameModel(name, engine);
    if (canBeShown) element("insight").hidden = false;
    this.wish();
  }

  /** Name the key that keeps the last 30 s from any window; none if keys cannot be heard. */
  private nameHotkey(key: string): void {
    const name = key && key[0]!.toUpperCase() + key.slice(1);
    element("hotkey").textContent = name && ` · ${name}, in any window: the same`;
    element("keep").setAttribute("aria-keyshortcuts", name ? `k ${name}` : "k");
  }

  private makeCharts(facts: Facts): void {
    const place = element("charts");
    place.replaceChildren();
    const add = (title: string, curves: ConstructorParameters<typeof Chart>[1], low: number | null, high: number | null) => {
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      caption.textContent = title;
      for (const curve of curves) {
        const key = document.createElement("span");
        key.className = "key";
        key.style.setProperty("--key", `var(${curve.colour})`);
        key.classList.toggle("dashed", Boolean(curve.dash));
        key.textContent = curve.label;
        caption.append(key);
      }
      figure.append(caption);
      place.append(figure);
      this.charts.push(new Chart(figure, curves, [low, high], 110, () => this.history, (time) => this.pick(time)));
    };
    this.charts = [];
    for (const axis of facts.axes) add(axis, controlCurves(axis), axis === "steering" ? -1.05 : -0.05, 1.05);
    add("latency, ms", latencyCurves(facts), 0, null);
  }

  private look(picture: Picture): void {
    this.history?.addPicture(picture);
    if (picture.kind === "occlusion") this.occlusion.show(picture);
    else if (picture.kind === "evidence" || picture.kind === "maps") {
      // Computed for one tick, live or paused.
      if (this.pausedAt === null || picture.stamp <= this.pausedAt) this.views[picture.kind].show(picture);
    } else if (this.pausedAt === null) this.views[picture.kind].show(picture);
  }

  private draw(): void {
    const { history, facts } = this;
    if (!history || !facts) return;
    const row = this.pausedAt === null ? history.newest : history.rows[history.place(this.pausedAt)];
    if (!row) return;
    const key = `${history.stamp(row)} ${history.rows.length} ${this.pausedAt}`;
    if (key === this.drawn) return;
    this.drawn = key;
    this.instruments?.show(history, row);
    const list = element("console");
    const lines = consoleLines(facts, history, row);
    if (list.children.length !== lines.length) {
      list.replaceChildren(
        ...lines.map(() => {
          const line = document.createElement("div");
          line.append(document.createElement("dt"), document.createElement("dd"));
          return line;
        }),
      );
    }
    lines.forEach(({ name, value }, place) => {
      const line = list.children[place];
      if (line?.firstElementChild) line.firstElementChild.textContent = name;
      if (line?.lastElementChild) line.lastElementChild.textContent = value;
    });
    const cursor = this.pausedAt === null ? null : history.time(row);
    for (const chart of this.charts) chart.show(history, cursor);
  }

  private setState(state: string): void {
    if (state === "connected" && this.state === "driving") return;
    if (state === this.state) return;
    this.state = state;
    const texts: Record<string, string> = {
      connecting: "connecting …",
      connected: "waiting for the drive",
      driving: "live",
      lost: "the connection is lost, or the program has ended; it goes on by itself when there is one again",
      ended: "the drive has ended; what you see is its last 30 s",
    };
    const badge = element("state");
    badge.textContent = texts[state] ?? state;
    badge.dataset["state"] = state;
  }

  private say(text: string): void {
    element("said").textContent = text;
  }

  private wish(): void {
    const wants: PictureKind[] = [];
    if (!document.hidden && this.pausedAt === null) wants.push("game", "input");
    for (const kind of ["evidence", "maps"] as const) {
      const panel = element<HTMLDetailsElement>(`${kind}-panel`);
      if (!document.hidden && panel.open && !element("insight").hidden) wants.push(kind);
    }
    this.connection.send({
      wants,
      output: element<HTMLSelectElement>("output").value,
      layer: element<HTMLSelectElement>("layer").value,
      at: this.pausedAt,
    });
  }

  private offer(id: string, options: [string, string][]): void {
    const select = element<HTMLSelectElement>(id);
    const chosen = select.value;
    select.replaceChildren(...options.map(([text, value]) => new Option(text, value)));
    if (options.some(([, value]) => value === chosen)) select.value = chosen;
  }

  private pause(stamp: number | null): void {
    const { history } = this;
    if (!history) return;
    const wasLive = this.pausedAt === null;
    this.pausedAt = stamp;
    if (stamp === null) {
      history.thaw();
      this.say("live");
    } else {
      history.frozen = true;
      this.views.game.show(history.picture("game", stamp));
      this.views.input.show(history.picture("input", stamp));
    }
    element("pause").textContent = stamp === null ? "Pause" : "Go on";
    element("pause").setAttribute("aria-pressed", String(stamp !== null));
    document.body.classList.toggle("paused", stamp !== null);
    this.occlusion.update();
    if (wasLive || stamp === null || element<HTMLDetailsElement>("evidence-panel").open || element<HTMLDetailsElement>("maps-panel").open) {
      this.wish();
    }
    this.draw();
    if (stamp !== null) this.tell();
  }

  /** Say where the person stands, for those who do not see it. */
  private tell(): void {
    const { history, facts } = this;
    if (!history || !facts || this.pausedAt === null) return;
    const row = history.rows[history.place(this.pausedAt)];
    if (!row) return;
    const ago = history.time(history.newest) - history.time(row);
    const controls = facts.axes.map((axis) => `${axis} ${(history.columns.get(row, `sent_${axis}`) ?? 0).toFixed(2)}`);
    this.say(`paused ${ago.toFixed(2)} s before the newest tick: ${controls.join(", ")}`);
  }

  private step(ticks: number): void {
    const { history } = this;
    if (!history?.newest) return;
    const at = this.pausedAt ?? history.stamp(history.newest);
    const place = Math.max(0, Math.min(history.rows.length - 1, history.place(at) + ticks));
    const row = history.rows[place];
    if (row) this.pause(history.stamp(row));
  }

  private pick(time: number): void {
    const { history } = this;
    if (!history) return;
    let best = history.rows[0];
    for (const row of history.rows) {
      if (Math.abs(history.time(row) - time) < Math.abs(history.time(best) - time)) best = row;
    }
    if (best) this.pause(history.stamp(best));
  }

  private listen(): void {
    const toggle = () => {
      const newest = this.history?.newest;
      this.pause(this.pausedAt === null && newest && this.history ? this.history.stamp(newest) : null);
    };
    const second = () => Math.round(this.facts?.rate_hz ?? 25);
    const keep = () => this.connection.send({ keep: true });
    element("pause").onclick = toggle;
    element("back").onclick = () => this.step(-1);
    element("forward").onclick = () => this.step(1);
    element("keep").onclick = keep;
    for (const id of ["evidence-panel", "maps-panel"]) element(id).addEventListener("toggle", () => this.wish());
    for (const id of ["output", "layer"]) element(id).addEventListener("change", () => this.wish());
    document.addEventListener("visibilitychange", () => this.wish());
    const keys: Record<string, () => void> = {
      " ": toggle,
      ArrowLeft: () => this.step(-1),
      ArrowRight: () => this.step(1),
      PageUp: () => this.step(-second()),
      PageDown: () => this.step(second()),
      Home: () => this.step(-1e9),
      End: () => this.step(1e9),
      Escape: () => this.pause(null),
      k: keep,
    };
    document.addEventListener("keydown", (event) => {
      const target = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (target.matches("select, input, textarea, summary") || (target.matches("button") && event.key === " ")) return;
      const act = keys[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
  }
}

new App();
